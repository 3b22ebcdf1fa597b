"""Byte-range locks of one stream.

  request -> GRANTED ---------------> released (unlock, close)
     |  \\__ refused (fail immediately)
     '----> WAITING --(conflict gone)--> GRANTED
               '-----(cancel, close)--> gone

Sources: [MS-FSA] 2.1.4.10 Algorithm for Determining If a Range Access Conflicts with Byte-Range Locks;
2.1.5.8 Server Requests a Byte-Range Lock; 2.1.5.9 Server Requests an Unlock of a Byte-Range; [MS-SMB2]
3.3.5.14 Receiving an SMB2 LOCK Request.
What it does: decides, and keeps a first-come queue of those who wait. It does not wait itself:
`on_granted` is called. A zero-length lock conflicts only with a lock of another that it lies strictly
inside of. Offsets and lengths are bytes; ranges are kept as [offset, end). Owner: the StreamState of that
stream. No I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from smbproto.status import Status, StatusError
from storage.volume import RangeLock

LOCKS_MAX: Final = 65536
"""Ours: locks of one stream, granted and waiting."""
BEYOND: Final = 1 << 64


class Lock:
    """A granted range."""

    __slots__ = ("end", "exclusive", "offset", "owner")

    def __init__(self, owner: object, offset: int, end: int, exclusive: bool) -> None:
        self.owner = owner
        self.offset = offset
        self.end = end
        self.exclusive = exclusive


class Waiter:
    """A range someone waits for."""

    __slots__ = ("is_granted", "lock", "on_settled")

    def __init__(self, lock: Lock, on_settled: Callable[[], None]) -> None:
        self.lock = lock
        self.on_settled = on_settled
        self.is_granted = False


def _make(owner: object, wanted: RangeLock) -> Lock:
    end = wanted.offset + wanted.length
    if end > BEYOND or wanted.offset < 0 or wanted.length < 0:
        raise StatusError(Status.INVALID_LOCK_RANGE, f"a lock of {wanted.length} bytes at {wanted.offset}")
    return Lock(owner, wanted.offset, end, wanted.exclusive)


def _overlaps(held: Lock, offset: int, end: int) -> bool:
    if held.offset == held.end:
        return offset < held.offset < end
    if offset == end:
        return held.offset < offset < held.end
    return held.offset < end and offset < held.end


def _covers(held: Lock, offset: int, end: int) -> bool:
    """Some byte of [offset, end) is in it; a zero-length lock holds none."""
    return held.offset < end and offset < held.end and held.offset != held.end


class LockTable:
    """All locks of a stream. An owner is compared by identity."""

    __slots__ = ("held", "waiting")

    def __init__(self) -> None:
        self.held: list[Lock] = []
        self.waiting: list[Waiter] = []

    def is_idle(self) -> bool:
        return not self.held and not self.waiting

    def _conflict(self, wanted: Lock) -> bool:
        for held in self.held:
            if _overlaps(held, wanted.offset, wanted.end) and (
                wanted.exclusive or (held.exclusive and held.owner is not wanted.owner)
            ):
                return True
        return False

    def lock(self, owner: object, ranges: Sequence[RangeLock]) -> None:
        """Grant all, or none and raise LOCK_NOT_GRANTED. Raises INVALID_LOCK_RANGE."""
        wanted = [_make(owner, one) for one in ranges]
        if len(self.held) + len(self.waiting) + len(wanted) > LOCKS_MAX:
            raise StatusError(Status.INSUFFICIENT_RESOURCES, f"over {LOCKS_MAX} locks on one stream")
        for count, one in enumerate(wanted):
            if self._conflict(one):
                del self.held[len(self.held) - count :]
                raise StatusError(Status.LOCK_NOT_GRANTED, f"[{one.offset}, {one.end}) is locked")
            self.held.append(one)

    def enqueue(self, owner: object, wanted: RangeLock, on_settled: Callable[[], None]) -> Waiter:
        """Wait for a range that `lock` refused."""
        waiter = Waiter(_make(owner, wanted), on_settled)
        self.waiting.append(waiter)
        return waiter

    def withdraw(self, waiter: Waiter) -> None:
        """Give up waiting; if it was granted meanwhile the lock goes too."""
        if waiter.is_granted and waiter.lock in self.held:
            self.held.remove(waiter.lock)
            self._serve()
        elif waiter in self.waiting:
            self.waiting.remove(waiter)

    def unlock(self, owner: object, ranges: Sequence[RangeLock]) -> None:
        """Each exactly as it was locked. Raises RANGE_NOT_LOCKED at the first that was not; earlier ones
        are gone."""
        try:
            for one in ranges:
                made = _make(owner, one)
                for index, held in enumerate(self.held):
                    if held.owner is owner and held.offset == made.offset and held.end == made.end:
                        del self.held[index]
                        break
                else:
                    raise StatusError(Status.RANGE_NOT_LOCKED, f"[{made.offset}, {made.end}) is not locked")
        finally:
            self._serve()

    def release(self, owner: object) -> None:
        """The owner closes: all of its locks go; its waiters are settled without a grant."""
        gone = [waiter for waiter in self.waiting if waiter.lock.owner is owner]
        self.waiting = [waiter for waiter in self.waiting if waiter.lock.owner is not owner]
        before = len(self.held)
        self.held = [held for held in self.held if held.owner is not owner]
        for waiter in gone:
            waiter.on_settled()
        if len(self.held) != before:
            self._serve()

    def _serve(self) -> None:
        still: list[Waiter] = []
        settled: list[Waiter] = []
        for waiter in self.waiting:
            if self._conflict(waiter.lock):
                still.append(waiter)
            else:
                self.held.append(waiter.lock)
                waiter.is_granted = True
                settled.append(waiter)
        self.waiting = still
        for waiter in settled:
            waiter.on_settled()

    def forbids_read(self, owner: object, offset: int, length: int) -> bool:
        """Another's exclusive lock is in the way."""
        end = offset + length
        return any(
            held.exclusive and held.owner is not owner and _covers(held, offset, end)
            for held in self.held
            if length
        )

    def forbids_write(self, owner: object, offset: int, length: int) -> bool:
        """Another's exclusive lock, or anyone's shared lock, is in the way."""
        end = offset + length
        return any(
            (held.owner is not owner or not held.exclusive) and _covers(held, offset, end)
            for held in self.held
            if length
        )

    def owns(self, owner: object) -> bool:
        return any(held.owner is owner for held in self.held)
