"""Which disks must agree before a pool opens, and before a change of its metadata counts.

Votes: one per disk whose state is OK in the newest metadata found; the server that has the pool open has one
more while it runs. So
    open:    more than half of the voters must be found (a lone half cannot know what the other did since);
    change:  acknowledged votes, plus the server's own, must be more than half of voters + 1: of the voters
             before the change and of those after it.
Any set that opens a pool overlaps any set that accepted a change, so the newest epoch found is the newest
that counts. A disk that fails while the pool runs loses its vote with the change that records its loss;
that's how a pool can go down to its last disk step by step, and still open from that disk alone.

Two openings: each first makes the disks promise a new term (in their labels), on more than half of the
voters, before it writes metadata with that term in the upper half of the epoch. So a change which an
interrupted opening left on too few disks never wins over a later, complete one.

    epoch (u64) = term (u32) : change (u32)

Source: docs/formats/pool-metadata.md; the pool quorum of Storage Spaces (one vote a drive, one for the owner
of the pool). No I/O.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from storage.errors import PoolUnavailable
from storage.pool.metadata import DiskState, PoolState


def voters(state: PoolState) -> set[int]:
    return {number for number, disk in state.disks.items() if disk.state is DiskState.OK}


def can_open(voting: Collection[int], found: Collection[int]) -> bool:
    return 2 * len(set(voting) & set(found)) > len(voting)


def change_counts(voting: Collection[int], acknowledged: Collection[int]) -> bool:
    return 2 * (len(set(voting) & set(acknowledged)) + 1) > len(voting) + 1


def require_open(name: str, state: PoolState, found: Collection[int], troubles: Mapping[int, str]) -> None:
    """Raises PoolUnavailable, saying which disks are there and which are not."""
    voting = voters(state)
    if can_open(voting, found):
        return
    there = ", ".join(state.disks[number].name for number in sorted(voting & set(found))) or "none"
    gone = ", ".join(
        state.disks[number].name + (f" ({troubles[number]})" if number in troubles else "")
        for number in sorted(voting - set(found))
    )
    raise PoolUnavailable(
        f"pool {name} cannot be opened: {len(voting & set(found))} of its {len(voting)} disks are there, "
        f"more than half are needed. Found: {there}. Missing: {gone}. "
        "Bring the missing disks back and try again."
    )


def next_term(promised: Collection[int], epoch: int) -> int:
    return max([epoch >> 32, *promised]) + 1
