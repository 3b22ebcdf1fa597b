"""Change notification of directory opens.

  (first watch)         report               watch
   ARMED ----------> COLLECTING(records) ----------> ARMED
      |                  '--(too much to say)--> OVERFLOWED --(watch)--> ARMED, and NOTIFY_ENUM_DIR
      '------ end(status): the open closes, or the directory goes; all that wait are told ------> ENDED

Sources: [MS-FSA] 2.1.5.11 Server Requests Change Notifications for a Directory; 2.1.4.1 Algorithm for
Reporting a Change Notification for a Directory; [MS-SMB2] 3.3.5.19 Receiving an SMB2 CHANGE_NOTIFY Request.
Filter, depth and buffer size are those of the first call of an open, as in Windows. Between calls changes
are kept up to that size. Sizes are bytes of FILE_NOTIFY_INFORMATION. Owner: the open
(`OpenFile.watch_state`). No I/O, no waiting.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from smbproto.status import Status, StatusError

BUFFER_BYTES_MAX: Final = 1 << 20
"""Ours: what one watch may keep."""
WAITERS_MAX: Final = 1024
"""Ours: CHANGE_NOTIFY requests outstanding on one open."""


def record_bytes(name: str) -> int:
    """[MS-FSCC] 2.7.1 FILE_NOTIFY_INFORMATION: 12 bytes and the name, padded to 4."""
    return 12 + 2 * len(name) + 3 & ~3


class Watch:
    """What one directory open watches, and what has happened since it was last told."""

    __slots__ = (
        "buffer_bytes",
        "ended",
        "filter",
        "is_overflowed",
        "is_tree",
        "records",
        "size_bytes",
        "waiters",
    )

    def __init__(self, completion_filter: int, is_tree: bool, buffer_bytes: int) -> None:
        self.filter = completion_filter
        self.is_tree = is_tree
        self.buffer_bytes = min(buffer_bytes, BUFFER_BYTES_MAX)
        self.records: list[tuple[int, str]] = []
        self.size_bytes = 0
        self.is_overflowed = False
        self.ended: Status | None = None
        self.waiters: list[Callable[[], None]] = []

    @property
    def has_news(self) -> bool:
        return bool(self.records) or self.is_overflowed or self.ended is not None

    def report(self, action: int, name: str) -> None:
        """Add a record; wakes the caller that has waited longest."""
        if self.ended is not None:
            return
        if not self.is_overflowed:
            self.size_bytes += record_bytes(name)
            if self.size_bytes > self.buffer_bytes:
                self.is_overflowed = True
                self.records.clear()
            else:
                self.records.append((action, name))
        self._wake_one()

    def end(self, status: Status) -> None:
        self.ended = status
        waiters, self.waiters = self.waiters, []
        for wake in waiters:
            wake()

    def _wake_one(self) -> None:
        if self.waiters:
            self.waiters.pop(0)()

    def take(self, output_bytes: int) -> list[tuple[int, str]]:
        """What happened, and forget it. Raises NOTIFY_ENUM_DIR when that is too much, or the status of
        the end."""
        if self.ended is not None and not self.records:
            raise StatusError(self.ended)
        records, size_bytes, is_overflowed = self.records, self.size_bytes, self.is_overflowed
        self.records, self.size_bytes, self.is_overflowed = [], 0, False
        if is_overflowed or size_bytes > output_bytes:
            raise StatusError(
                Status.NOTIFY_ENUM_DIR, f"{size_bytes} bytes of changes do not fit in {output_bytes}"
            )
        return records
