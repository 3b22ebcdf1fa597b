"""What is to be done to which slab: pure decisions of the repair and the optimize job.

    repair    a column's copies, the disks there, the disks retired -> the next step, or nothing
                 stale, its disk is there and not retired    -> REFILL in place (only what differs is copied)
                 on a retired disk, there or not             -> REPLACE by a new copy elsewhere
                 joining, but nothing is left to replace     -> DROP
              a copy on a disk that is away and not retired is left alone: the disk may come back
    optimize  how full each disk is -> the fewest moves after which no move would even them out further

Balance: each disk should be filled in proportion to its size. A pool is Suboptimal once some disk is off by
more than a twentieth of its size and at least two slabs; then slabs move from the fullest disk to the
emptiest that may hold them, as long as that lessens the sum of used^2 / size, which is least when all are
filled alike. A disk that gives takes nothing and the other way round. So a pool is brought well inside its
hysteresis, and stays there. No I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from storage.pool.jobs.port import Key
from storage.pool.metadata import CopyRecord

HYSTERESIS: Final = 0.05
HYSTERESIS_SLABS: Final = 2
ROUND_MOVES_MAX: Final = 4096
"""Moves planned at once; the next survey plans on."""


class Action(Enum):
    REFILL = "refill"
    REPLACE = "replace"
    DROP = "drop"


class Step(NamedTuple):
    """`onto`: a joining copy that was begun already, for REPLACE."""

    action: Action
    copy: CopyRecord
    onto: CopyRecord | None = None


def next_step(
    copies: Collection[CopyRecord], there: Collection[int], retired: Collection[int]
) -> Step | None:
    """The most useful thing to do for one column."""
    own = [copy for copy in copies if not copy.joining]
    refillable = [copy for copy in own if copy.stale and copy.disk in there and copy.disk not in retired]
    leaving = sorted(
        (copy for copy in own if copy.disk in retired),
        key=lambda copy: (copy.disk in there, not copy.stale, copy.disk),
    )
    joining = [copy for copy in copies if copy.joining]
    for copy in joining:
        if copy.disk not in there or copy.disk in retired or not leaving:
            return Step(Action.DROP, copy)
    if refillable:
        return Step(Action.REFILL, refillable[0])
    if leaving:
        return Step(Action.REPLACE, leaving[0], joining[0] if joining else None)
    return None


def steps_left(copies: Collection[CopyRecord], there: Collection[int], retired: Collection[int]) -> int:
    """Slabs to be written before the column is whole."""
    own = [copy for copy in copies if not copy.joining]
    return sum(1 for copy in own if copy.disk in retired or (copy.stale and copy.disk in there))


# -- balance -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Load:
    """One disk's slabs."""

    used: int
    count: int

    @property
    def ratio(self) -> float:
        return self.used / self.count if self.count else 1.0


class Held(NamedTuple):
    """A copy that could move: what it belongs to, and the disks that hold what must not share a disk with
    it."""

    key: Key
    copy: CopyRecord
    beside: frozenset[int]


class Move(NamedTuple):
    key: Key
    copy: CopyRecord
    onto: int


MayHold = Callable[[Held, int], bool]


def imbalance(loads: Mapping[int, Load]) -> float:
    """How far the worst disk is off, in terms of its hysteresis: above 1 is Suboptimal."""
    total, used = sum(load.count for load in loads.values()), sum(load.used for load in loads.values())
    if not total:
        return 0.0
    mean = used / total
    worst = 0.0
    for load in loads.values():
        allowed = max(HYSTERESIS * load.count, float(HYSTERESIS_SLABS))
        worst = max(worst, abs(load.used - mean * load.count) / allowed)
    return worst


def plan_moves(loads: Mapping[int, Load], held: Iterable[Held], may_hold: MayHold) -> list[Move]:
    """The moves that even the disks out; none while they are even enough. Each copy moves at most once."""
    if imbalance(loads) <= 1:
        return []
    used = {number: load.used for number, load in loads.items()}
    counts = {number: load.count for number, load in loads.items()}
    on_disk: dict[int, list[Held]] = {number: [] for number in loads}
    for one in held:
        if one.copy.disk in on_disk:
            on_disk[one.copy.disk].append(one)
    moves: list[Move] = []
    moved: set[Key] = set()
    """Columns of which a copy moves: none of its others may follow it."""
    spent: set[int] = set()
    gave: set[int] = set()
    took: set[int] = set()
    while len(moves) < ROUND_MOVES_MAX:
        givers = [number for number in used if number not in spent and number not in took]
        if not givers:
            break
        giver = max(givers, key=lambda n: (used[n] / max(1, counts[n]), n))
        takers = [number for number in used if number != giver and number not in gave]
        move = _best_move(giver, takers, on_disk[giver], used, counts, moved, may_hold)
        if move is None:
            spent.add(giver)
            continue
        moves.append(move)
        gave.add(giver)
        took.add(move.onto)
        moved.add(move.key)
        used[giver] -= 1
        used[move.onto] += 1
    return moves


def _best_move(
    giver: int,
    takers: list[int],
    held: list[Held],
    used: Mapping[int, int],
    counts: Mapping[int, int],
    moved: set[Key],
    may_hold: MayHold,
) -> Move | None:
    open_to = [number for number in takers if used[number] < counts[number]]
    for taker in sorted(open_to, key=lambda n: (used[n] / counts[n], n)):
        if (2 * used[taker] + 1) * counts[giver] >= (2 * used[giver] - 1) * counts[taker]:
            continue
        for position, one in enumerate(held):
            if one.key in moved or taker in one.beside or not may_hold(one, taker):
                continue
            del held[position]
            return Move(one.key, one.copy, taker)
    return None
