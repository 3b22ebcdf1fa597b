"""Letting some time pass between two looks of the command line."""

from __future__ import annotations

import time


def pause(seconds: float) -> None:
    time.sleep(seconds)
