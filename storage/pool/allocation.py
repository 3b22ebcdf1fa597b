"""Which slabs a new row gets, what is free, and how many rows would still fit.

A row needs `sets` sets of `apart` slabs; the slabs of a set lie in different fault domains. A mirror has a
set a column (its copies), parity has one set a row (its columns), a simple space sets of one slab.

With n slabs left in a domain counted as min(n, f), f sets fit if and only if the sum is at least f x apart,
and taking from the fullest domains first always gets there. But the fullest first would leave small disks
idle, so the disks with the largest *share* free are tried first, those that the row doesn't use yet before
all (a stripe keeps all its disks busy), and the choice is kept if it costs no more than one set of those that
still fit. So uneven disks fill in proportion, to the last possible row: `rows_available` is exact for one
space alone (with `preferred` disks it is a lower bound). Ties are broken by row number, so that first copies
(which serve the reads) spread too.

Invariants: a slab is free, taken or in limbo (released, but the release isn't durable): never two of them.
Owner: Pool. No I/O, no chance.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from storage.errors import PoolFull
from storage.pool.metadata import Awareness, CopyRecord, DiskRecord


class FreeSlabs:
    """The free slabs of one disk: those below `high` that were given back, and all from `high` on."""

    __slots__ = ("count", "free_list", "high")

    def __init__(self, count: int, taken: Iterable[int]) -> None:
        used = set(taken)
        self.count = count
        self.high = max(used, default=-1) + 1
        self.free_list = sorted(set(range(self.high)) - used, reverse=True)

    @property
    def free(self) -> int:
        return self.count - self.high + len(self.free_list)

    def take(self) -> int:
        if self.free_list:
            return self.free_list.pop()
        assert self.high < self.count
        self.high += 1
        return self.high - 1

    def give(self, slab: int) -> None:
        assert 0 <= slab < self.high and slab not in self.free_list
        self.free_list.append(slab)


def domain_of(disk: DiskRecord, awareness: Awareness) -> str:
    """What fails together with that disk at this level. Paths are rack/chassis/node or the end of one; disks
    that don't say are one domain, and nothing is taken to be apart that isn't known to be."""
    if awareness is Awareness.DISK:
        return str(disk.number)
    parts = [part for part in disk.fault_domain.split("/") if part]
    return "/".join(parts[: max(0, len(parts) - (awareness - Awareness.NODE))])


def sets_that_fit(free: Collection[int], apart: int) -> int:
    """How many sets of `apart` slabs in different domains can be made, with this many slabs free in each."""
    low, high = 0, sum(free) // apart
    while low < high:
        middle = (low + high + 1) // 2
        if _fit(free, apart, middle):
            low = middle
        else:
            high = middle - 1
    return low


def _fit(free: Iterable[int], apart: int, sets: int) -> bool:
    return sum(one if one < sets else sets for one in free) >= apart * sets


class Chooser:
    """Plans slabs of one row out of `disks`; takes nothing."""

    def __init__(self, disks: Mapping[int, FreeSlabs], domains: Mapping[int, str], turn: int) -> None:
        self._left = {number: slabs.free for number, slabs in sorted(disks.items())}
        self._share = {number: max(1, slabs.count) for number, slabs in disks.items()}
        self._domains = domains
        self._position = {number: at for at, number in enumerate(self._left)}
        self._turn = turn
        self._used: dict[int, int] = {}
        self._free: dict[str, int] = {}
        for number, left in self._left.items():
            self._free[domains[number]] = self._free.get(domains[number], 0) + left

    def fits(self, apart: int) -> int:
        return sets_that_fit(self._free.values(), apart)

    def pick(self, apart: int) -> list[int] | None:
        """Disks for one more set, in different domains; None if there is none."""
        fits = self.fits(apart)
        if not fits:
            return None
        every = sorted((number for number, left in self._left.items() if left), key=self._preference)
        picked = self._first_of_each_domain(every, apart)
        domains = [self._domains[number] for number in picked]
        rest = dict(self._free)
        for domain in domains:
            rest[domain] -= 1
        if not _fit(rest.values(), apart, fits - 1):
            fullest = sorted(every, key=lambda number: -self._free[self._domains[number]])
            picked = self._first_of_each_domain(fullest, apart)
        for number in picked:
            self._left[number] -= 1
            self._free[self._domains[number]] -= 1
            self._used[number] = self._used.get(number, 0) + 1
        self._turn += 1
        return picked

    def _preference(self, number: int) -> tuple[int, float, int]:
        order = (self._position[number] - self._turn) % len(self._position)
        return self._used.get(number, 0), -self._left[number] / self._share[number], order

    def _first_of_each_domain(self, numbers: Sequence[int], apart: int) -> list[int]:
        picked: list[int] = []
        domains: set[str] = set()
        for number in numbers:
            if len(picked) < apart and self._domains[number] not in domains:
                picked.append(number)
                domains.add(self._domains[number])
        return picked


def choose_row(
    disks: Mapping[int, FreeSlabs],
    domains: Mapping[int, str],
    sets: int,
    apart: int,
    row: int,
    preferred: Collection[int] = (),
) -> list[list[CopyRecord]]:
    """Take slabs for one row; from the `preferred` disks alone if they have room for all of it. Raises
    PoolFull, with nothing taken."""
    pools = [{number: disks[number] for number in preferred}, disks] if preferred else [disks]
    for some in pools:
        chooser = Chooser(some, domains, row * sets % max(1, len(some)))
        plan = [picked for picked in (chooser.pick(apart) for _ in range(sets)) if picked]
        if len(plan) == sets:
            return [[CopyRecord(number, disks[number].take()) for number in picked] for picked in plan]
    free = sum(slabs.free for slabs in disks.values())
    raise PoolFull(
        f"no free slab for a row of {sets} x {apart} slabs on different disks (or fault domains): "
        f"{free} slabs are free, on {sum(1 for one in disks.values() if one.free)} disks; "
        "add a disk or free space"
    )


def choose_one(
    disks: Mapping[int, FreeSlabs], domains: Mapping[int, str], avoid: Collection[str], turn: int
) -> CopyRecord:
    """Take one slab outside of the domains to avoid. Raises PoolFull."""
    there = {number: slabs for number, slabs in disks.items() if domains[number] not in avoid}
    picked = Chooser(there, domains, turn).pick(1) if there else None
    if picked is None:
        raise PoolFull(
            f"no free slab outside of the {len(avoid)} disks (or fault domains) that the row is on already; "
            "add a disk or free space"
        )
    return CopyRecord(picked[0], disks[picked[0]].take())


def rows_available(
    disks: Mapping[int, FreeSlabs],
    domains: Mapping[int, str],
    sets: int,
    apart: int,
    preferred: Collection[int] = (),
) -> int:
    """How many rows could still be allocated, by `choose_row` and nobody else. With `preferred` disks at
    least so many: they are used up first, and what they leave over might not be."""
    if preferred:
        fast = {number: disks[number] for number in preferred}
        slow = {number: slabs for number, slabs in disks.items() if number not in fast}
        return rows_available(fast, domains, sets, apart) + rows_available(slow, domains, sets, apart)
    free: dict[str, int] = {}
    for number, slabs in disks.items():
        free[domains[number]] = free.get(domains[number], 0) + slabs.free
    return sets_that_fit(free.values(), apart) // sets
