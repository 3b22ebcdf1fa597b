"""Importing this module declares every administrative call."""

from __future__ import annotations

from cluster.admin import open_, pool, quota, session, share, status, user, volume

__all__ = ["open_", "pool", "quota", "session", "share", "status", "user", "volume"]
