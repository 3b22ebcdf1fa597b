"""What becomes of an open whose client is gone.

      (client lost)          reclaim()
  LIVE ------------> KEPT ---------------> LIVE
                      | expire() / a conflict that needs an answer from the client
                      v
                    PURGED

Sources: [MS-SMB2] 3.3.7.1 Handling Loss of a Connection; 3.3.2.2 Durable Open Scavenger Timer; 3.3.5.9.6
Handling the SMB2_CREATE_DURABLE_HANDLE_REQUEST Create Context; 3.3.5.9.10 Handling the
SMB2_CREATE_DURABLE_HANDLE_REQUEST_V2 Create Context.
Grants: only with HANDLE caching (batch oplock, lease with H) on a file; a directory never.
Purges: an open that must give up caching and cannot answer; a share-mode conflict; the end of its time.
Must not purge: for a newcomer that shares fully or only stats; a resilient open before its time.
Invariants: KEPT implies deadline_s is set; a purged open is closed and never comes back.
Times are seconds on the injected clock. Owner: the volume. No I/O.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from storage.objectstore import caching
from storage.volume import DurableRequest

VERSION_1_TIMEOUT_MS: Final = 960_000
"""[MS-SMB2] 3.3.2.2: Windows keeps an open of version 1 for 16 minutes."""
VERSION_2_DEFAULT_MS: Final = 60_000
VERSION_2_MAX_MS: Final = 300_000
"""[MS-SMB2] 3.3.5.9.10: Windows gives 60 seconds when nothing is asked for, and 300 at most."""
KEPT_MAX: Final = 65536
"""Ours: kept opens of one volume; over it the client's loss closes the open."""


class State(Enum):
    LIVE = auto()
    KEPT = auto()
    PURGED = auto()


class Happening(Enum):
    CLIENT_LOST = auto()
    RECLAIM = auto()
    EXPIRE = auto()
    CONFLICT = auto()


TRANSITIONS: Final = {  # (state, event) -> next; anything absent is a programming error
    (State.LIVE, Happening.CLIENT_LOST): State.KEPT,
    (State.KEPT, Happening.RECLAIM): State.LIVE,
    (State.KEPT, Happening.EXPIRE): State.PURGED,
    (State.KEPT, Happening.CONFLICT): State.PURGED,
}


class Keeping:
    """The durable side of one open."""

    __slots__ = ("deadline_s", "is_resilient", "state", "timeout_ms")

    def __init__(self, timeout_ms: int) -> None:
        self.timeout_ms = timeout_ms
        self.is_resilient = False
        """[MS-SMB2] 3.3.5.15.9 Handling a Resiliency Request: kept whatever it caches, given up to nobody."""
        self.state = State.LIVE
        self.deadline_s: float | None = None

    def advance(self, happening: Happening, now_s: float) -> None:
        self.state = TRANSITIONS[self.state, happening]
        self.deadline_s = now_s + self.timeout_ms / 1000 if self.state is State.KEPT else None


def may_purge(keeping: Keeping | None) -> bool:
    """Whether a kept open must give way to another."""
    return keeping is not None and keeping.state is State.KEPT and not keeping.is_resilient


def timeout_of(request: DurableRequest) -> int:
    """How long an open is kept, in milliseconds."""
    if request.version == 1:
        return VERSION_1_TIMEOUT_MS
    if not request.timeout_ms:
        return VERSION_2_DEFAULT_MS
    return min(request.timeout_ms, VERSION_2_MAX_MS)


def may_grant(holder: caching.Holder | None, is_directory: bool) -> bool:
    return holder is not None and not is_directory and bool(holder.state & caching.HANDLE)


def may_keep(keeping: Keeping | None, holder: caching.Holder | None, has_locks: bool) -> bool:
    """[MS-SMB2] 3.3.7.1: resilient; or durable, and its oplock or lease is held with HANDLE caching, no break
    in progress. With byte-range locks it needs WRITE caching too, so that nobody meets the locks of one who
    is gone.
    """
    if keeping is None or keeping.state is not State.LIVE:
        return False
    return keeping.is_resilient or (
        holder is not None
        and not holder.is_breaking
        and bool(holder.state & caching.HANDLE)
        and (not has_locks or bool(holder.state & caching.WRITE))
    )
