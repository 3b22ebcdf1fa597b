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
stream. Every decision takes log(locks) steps, as thousands are one client's right. No I/O.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
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


class _Ranges:
    """A set of ranges that is asked how many of it overlap another, in time log(n): those that begin before
    its end, less those that end before it begins. `points` are the ranges without length."""

    __slots__ = ("ends", "points", "starts")

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.points: list[int] = []

    def add(self, lock: Lock) -> None:
        if lock.offset == lock.end:
            insort(self.points, lock.offset)
        else:
            insort(self.starts, lock.offset)
            insort(self.ends, lock.end)

    def remove(self, lock: Lock) -> None:
        if lock.offset == lock.end:
            del self.points[bisect_left(self.points, lock.offset)]
        else:
            del self.starts[bisect_left(self.starts, lock.offset)]
            del self.ends[bisect_left(self.ends, lock.end)]

    def covering(self, offset: int, end: int) -> int:
        """How many share a byte with [offset, end), or hold `offset` strictly inside if that is empty."""
        return bisect_left(self.starts, end) - bisect_right(self.ends, offset)

    def overlapping(self, offset: int, end: int) -> int:
        """The same, and those without length that lie strictly inside."""
        points = bisect_left(self.points, end) - bisect_right(self.points, offset) if self.points else 0
        return self.covering(offset, end) + max(0, points)


_NONE: Final = _Ranges()


class LockTable:
    """All locks of a stream. An owner is compared by identity."""

    __slots__ = ("_all", "_exclusive", "_exclusive_of", "_named", "held", "waiting")

    def __init__(self) -> None:
        self.held: dict[Lock, None] = {}
        """In the order they were granted."""
        self.waiting: list[Waiter] = []
        self._all = _Ranges()
        self._exclusive = _Ranges()
        self._exclusive_of: dict[int, _Ranges] = {}
        """By the owner's identity, and so `_named`."""
        self._named: dict[tuple[int, int, int], list[Lock]] = {}

    def is_idle(self) -> bool:
        return not self.held and not self.waiting

    def _add(self, lock: Lock) -> None:
        self.held[lock] = None
        self._named.setdefault((id(lock.owner), lock.offset, lock.end), []).append(lock)
        self._all.add(lock)
        if lock.exclusive:
            self._exclusive.add(lock)
            self._exclusive_of.setdefault(id(lock.owner), _Ranges()).add(lock)

    def _remove(self, lock: Lock) -> None:
        del self.held[lock]
        name = id(lock.owner), lock.offset, lock.end
        self._named[name].remove(lock)
        if not self._named[name]:
            del self._named[name]
        self._all.remove(lock)
        if lock.exclusive:
            self._exclusive.remove(lock)
            self._exclusive_of[id(lock.owner)].remove(lock)

    def _conflict(self, wanted: Lock) -> bool:
        offset, end = wanted.offset, wanted.end
        if wanted.exclusive:
            return self._all.overlapping(offset, end) > 0
        own = self._exclusive_of.get(id(wanted.owner), _NONE)
        return self._exclusive.overlapping(offset, end) > own.overlapping(offset, end)

    def lock(self, owner: object, ranges: Sequence[RangeLock]) -> None:
        """Grant all, or none and raise LOCK_NOT_GRANTED. Raises INVALID_LOCK_RANGE."""
        wanted = [_make(owner, one) for one in ranges]
        if len(self.held) + len(self.waiting) + len(wanted) > LOCKS_MAX:
            raise StatusError(Status.INSUFFICIENT_RESOURCES, f"over {LOCKS_MAX} locks on one stream")
        for count, one in enumerate(wanted):
            if self._conflict(one):
                for granted in wanted[:count]:
                    self._remove(granted)
                raise StatusError(Status.LOCK_NOT_GRANTED, f"[{one.offset}, {one.end}) is locked")
            self._add(one)

    def enqueue(self, owner: object, wanted: RangeLock, on_settled: Callable[[], None]) -> Waiter:
        """Wait for a range that `lock` refused."""
        waiter = Waiter(_make(owner, wanted), on_settled)
        self.waiting.append(waiter)
        return waiter

    def withdraw(self, waiter: Waiter) -> None:
        """Give up waiting; if it was granted meanwhile the lock goes too."""
        if waiter.is_granted and waiter.lock in self.held:
            self._remove(waiter.lock)
            self._serve()
        elif waiter in self.waiting:
            self.waiting.remove(waiter)

    def unlock(self, owner: object, ranges: Sequence[RangeLock]) -> None:
        """Each exactly as it was locked. Raises RANGE_NOT_LOCKED at the first that was not; earlier ones
        are gone."""
        try:
            for one in ranges:
                made = _make(owner, one)
                found = self._named.get((id(owner), made.offset, made.end))
                if found is None:
                    raise StatusError(Status.RANGE_NOT_LOCKED, f"[{made.offset}, {made.end}) is not locked")
                self._remove(found[0])
        finally:
            self._serve()

    def release(self, owner: object) -> None:
        """The owner closes: all of its locks go; its waiters are settled without a grant."""
        gone = [waiter for waiter in self.waiting if waiter.lock.owner is owner]
        self.waiting = [waiter for waiter in self.waiting if waiter.lock.owner is not owner]
        stay = [lock for lock in self.held if lock.owner is not owner]
        is_less = len(stay) < len(self.held)
        if is_less:
            self.held, self._named, self._exclusive_of = {}, {}, {}
            self._all, self._exclusive = _Ranges(), _Ranges()
            for lock in stay:
                self._add(lock)
        for waiter in gone:
            waiter.on_settled()
        if is_less:
            self._serve()

    def _serve(self) -> None:
        still: list[Waiter] = []
        settled: list[Waiter] = []
        for waiter in self.waiting:
            if self._conflict(waiter.lock):
                still.append(waiter)
            else:
                self._add(waiter.lock)
                waiter.is_granted = True
                settled.append(waiter)
        self.waiting = still
        for waiter in settled:
            waiter.on_settled()

    def forbids_read(self, owner: object, offset: int, length: int) -> bool:
        """Another's exclusive lock is in the way."""
        if not length:
            return False
        own = self._exclusive_of.get(id(owner), _NONE)
        end = offset + length
        return self._exclusive.covering(offset, end) > own.covering(offset, end)

    def forbids_write(self, owner: object, offset: int, length: int) -> bool:
        """Another's exclusive lock, or anyone's shared lock, is in the way."""
        if not length:
            return False
        own = self._exclusive_of.get(id(owner), _NONE)
        end = offset + length
        return self._all.covering(offset, end) > own.covering(offset, end)

    def owns(self, owner: object) -> bool:
        return any(held.owner is owner for held in self.held)

    def are_of_others(self, holder: object) -> bool:
        """Some lock belongs to an open that does not share this oplock or lease."""
        return any(getattr(held.owner, "holder", None) is not holder for held in self.held)
