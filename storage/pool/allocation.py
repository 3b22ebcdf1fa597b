"""Which slabs a new row gets, and what is free.

For each column the copies go to the disks with the most free slabs, in different fault domains, preferring
disks that the row doesn't use yet (so that a stripe keeps all its disks busy). Taking from the fullest supply
first is what fills uneven disks to the end: with k copies n rows fit if and only if sum(min(free, n)) >= k n.
Ties are broken by row number, so that first copies (which serve the reads) spread too.

Invariants: a slab is free, taken or in limbo (released, but the release isn't durable): never two of them.
Owner: Pool. No I/O, no chance.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from storage.errors import PoolFull
from storage.pool.metadata import CopyRecord


class FreeSlabs:
    """The free slabs of one disk: those below `high` that were given back, and all from `high` on."""

    __slots__ = ("count", "domain", "free_list", "high")

    def __init__(self, count: int, taken: Iterable[int], domain: str) -> None:
        used = set(taken)
        self.count = count
        self.domain = domain
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


def choose_row(disks: dict[int, FreeSlabs], columns: int, copies: int, row: int) -> list[list[CopyRecord]]:
    """Take slabs for one row. Raises PoolFull, with nothing taken."""
    budget = {number: slabs.free for number, slabs in disks.items()}
    numbers = sorted(budget)
    position = {number: at for at, number in enumerate(numbers)}
    used: dict[int, int] = {}
    plan: list[list[int]] = []
    for column in range(columns):
        turn = (row * columns + column) % max(1, len(numbers))
        order = sorted(
            (number for number in numbers if budget[number] > 0),
            key=lambda n: (used.get(n, 0), -budget[n], (position[n] - turn) % len(numbers)),  # noqa: B023
        )
        picked: list[int] = []
        domains: set[str] = set()
        for number in order:
            domain = disks[number].domain or f"disk {number}"
            if domain not in domains and len(picked) < copies:
                picked.append(number)
                domains.add(domain)
        if len(picked) < copies:
            free = sum(slabs.free for slabs in disks.values())
            raise PoolFull(
                f"no free slab for {columns} columns of {copies} copies on different disks: "
                f"{free} slabs are free, on {sum(1 for s in disks.values() if s.free)} disks; "
                "add a disk or free space"
            )
        for number in picked:
            budget[number] -= 1
            used[number] = used.get(number, 0) + 1
        plan.append(picked)
    return [[CopyRecord(number, disks[number].take()) for number in picked] for picked in plan]


def rows_available(free: Sequence[int], columns: int, copies: int) -> int:
    """How many rows could still be allocated out of these free slabs per disk (each its own fault domain)."""
    low, high = 0, sum(free) // copies
    while low < high:
        middle = (low + high + 1) // 2
        if sum(min(one, middle) for one in free) >= copies * middle:
            low = middle
        else:
            high = middle - 1
    return low // columns
