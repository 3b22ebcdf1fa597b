"""Importing this module declares every administrative call."""

from __future__ import annotations

from cluster.admin import (
    disk,
    file,
    health,
    job,
    open_,
    pool,
    quota,
    session,
    share,
    status,
    user,
    volume,
)

__all__ = [
    "disk",
    "file",
    "health",
    "job",
    "open_",
    "pool",
    "quota",
    "session",
    "share",
    "status",
    "user",
    "volume",
]
