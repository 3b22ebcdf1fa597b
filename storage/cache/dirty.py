"""The blocks that the write-back cache holds: which version of each, and where it lies. Pure.

    put -> YOUNG (memory only) -> take_young -> under way -> stored -> STORED (in the journal, durable;
                                                                       in memory too while there is room)
    a newer version of a block that is under way or STORED keeps that one as `older` until it is stored itself

A block is found in the map until its content is durable behind the cache: so a miss means that the backing
has it. Other threads look blocks up (`find`): a version's `data` may go at any moment, but then either
`place` tells where it is or the map holds a newer one. Invariants: `young` holds exactly the versions put
since the last `take_young`; `memory_blocks` counts versions whose data is here. Numbers are 4 KiB blocks of
the space.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from storage.cache.journal import Run, runs_of


class Version:
    """Of one block. `place`: block of the journal, 0 until stored; `sequence`: of its record."""

    __slots__ = ("data", "older", "place", "sequence")

    def __init__(self, data: bytes | None, older: Version | None) -> None:
        self.data = data
        self.place = 0
        self.sequence = -1
        self.older = older


Taken = list[tuple[int, Version]]


class DirtyMap:
    def __init__(self) -> None:
        self.blocks: dict[int, Version] = {}
        self.young: dict[int, Version] = {}
        self.memory_blocks = 0
        self.absorbed = 0
        """Overwrites of data that was not in the journal yet."""
        self._evictable: deque[Version] = deque()

    def __len__(self) -> int:
        return len(self.blocks)

    # -- writing -------------------------------------------------------------------------------------------

    def put(self, number: int, data: bytes) -> None:
        version = self.young.get(number)
        if version is not None:
            version.data = data
            self.absorbed += 1
            return
        older = self.blocks.get(number)
        if older is not None and older.place:
            self._forget_content(older)
        self.blocks[number] = self.young[number] = Version(data, older)
        self.memory_blocks += 1

    def take_young(self) -> Taken:
        """All that isn't in the journal yet, by address; from now on it is under way."""
        taken = sorted(self.young.items())
        self.young = {}
        return taken

    def stored(self, taken: Iterable[tuple[int, Version]], place: int, sequence: int) -> list[int]:
        """These versions lie in the journal from `place` on, one behind the other, durably. Returns the
        numbers of those that still count."""
        numbers: list[int] = []
        for number, version in taken:
            if self.holds(number, version):
                version.sequence = sequence
                version.place = place
                version.older = None
                numbers.append(number)
                if self.blocks[number] is not version:  # a newer one is young
                    self._forget_content(version)
                elif version.data is not None:
                    self._evictable.append(version)
            place += 1
        return numbers

    def restore(self, run: Run, place: int, sequence: int) -> None:
        """At opening: a record of the journal holds these blocks."""
        for index in range(run.length):
            version = Version(None, None)
            version.place = place + index
            version.sequence = sequence
            self.blocks[run.block + index] = version

    # -- memory --------------------------------------------------------------------------------------------

    def evict(self, blocks_max: int) -> None:
        """Forget the content of the oldest stored ones; it is in the journal."""
        queue = self._evictable
        while queue and (self.memory_blocks > blocks_max or queue[0].data is None):
            self._forget_content(queue.popleft())

    # -- going away ----------------------------------------------------------------------------------------

    def drop(self, first: int, end: int) -> int:
        """Forget blocks [first, end); returns how many there were."""
        numbers = self.inside(first, end)
        for number in numbers:
            self._release(self.blocks.pop(number))
            self.young.pop(number, None)
        return len(numbers)

    def destaged(self, taken: Taken) -> None:
        """These versions are durable behind the cache."""
        for number, version in taken:
            newest = self.blocks.get(number)
            if newest is version:
                del self.blocks[number]
                self._release(version)
                continue
            while newest is not None:
                if newest.older is version:
                    newest.older = None
                    self._release(version)
                newest = newest.older

    def _release(self, version: Version | None) -> None:
        while version is not None:
            self._forget_content(version)
            version = version.older

    def _forget_content(self, version: Version) -> None:
        if version.data is not None:
            version.data = None
            self.memory_blocks -= 1

    # -- looking -------------------------------------------------------------------------------------------

    def inside(self, first: int, end: int) -> list[int]:
        """Numbers of the blocks held in [first, end), in no order."""
        if end - first <= len(self.blocks):
            return [number for number in range(first, end) if number in self.blocks]
        return [number for number in self.blocks if first <= number < end]

    def is_clear(self, first: int, end: int) -> bool:
        blocks = self.blocks
        if not blocks:
            return True
        if end - first <= len(blocks):
            return blocks.keys().isdisjoint(range(first, end))
        return not any(first <= number < end for number in blocks)

    def stored_version(self, number: int) -> Version | None:
        """The newest version that is in the journal."""
        version = self.blocks.get(number)
        while version is not None and not version.place:
            version = version.older
        return version

    def holds(self, number: int, wanted: Version) -> bool:
        version = self.blocks.get(number)
        while version is not None:
            if version is wanted:
                return True
            version = version.older
        return False

    def runs(self, first: int, end: int) -> Iterator[Run]:
        yield from runs_of(sorted(self.inside(first, end)))
