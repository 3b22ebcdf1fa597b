"""Which ranges go up and down, and where new data goes. Pure.

    density = heat / bytes the range has stored: how often each of its bytes was used lately

A pass of the plan:
  1. the fast tier is filled beyond `high` (85 %): its coldest ranges go down until `target` (75 %) is kept;
  2. pinned ranges go where they are pinned to, whatever it takes;
  3. ranges of the slow tier with a density of `promote` and more go up, the hottest first: into what is free
     below `target`, else in place of colder ones, but only if these are colder by a factor of `hysteresis`;
  4. ranges of the fast tier below `demote` go down while it is filled beyond `idle` (50 %).
What went down in a pass does not go up in it, nor the other way round; both count against the budget.

Source: reserve and thresholds as in docs/design-spaces.md, "Tiers"; rotation of ReFS begins at 85 % too.
Units: bytes; heat in bytes (storage/tier/heat.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from storage.tier.space import Tier

BULK_BYTES: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class Policy:
    """Shares of the fast tier, and densities."""

    reserve: float = 0.15
    """New data leaves so much of the fast tier free."""
    target: float = 0.75
    idle: float = 0.50
    promote: float = 0.5
    demote: float = 0.05
    hysteresis: float = 1.5

    def __post_init__(self) -> None:
        if not (0 <= self.reserve < 1 and 0 < self.idle <= self.target <= 1 - self.reserve):
            raise ValueError(f"shares out of order: {self}")
        if not (0 <= self.demote < self.promote and self.hysteresis >= 1):
            raise ValueError(f"densities out of order: {self}")

    @property
    def high(self) -> float:
        return 1 - self.reserve


@dataclass(frozen=True, slots=True)
class RangeUse:
    """A range of a stream: its heat, and how many of its bytes lie in each tier."""

    stream: int
    number: int
    heat_bytes: float
    fast_bytes: int
    slow_bytes: int
    pin: Tier | None = None

    @property
    def density(self) -> float:
        return self.heat_bytes / max(self.fast_bytes + self.slow_bytes, 1)


class Move(NamedTuple):
    stream: int
    number: int
    tier: Tier
    length: int
    """Bytes that have to be moved."""


def place_new(
    fast_free: int, fast_size: int, burst_bytes: int, is_fast_short: bool, policy: Policy
) -> Tier:  # fmt: skip
    """Where new clusters go. `burst_bytes`: how much was written at once, in order, with these;
    `is_fast_short`: the pool has no slab for the fast tier."""
    if is_fast_short or fast_free <= fast_size * policy.reserve:
        return Tier.SLOW
    if burst_bytes > BULK_BYTES and fast_free < fast_size / 2:
        return Tier.SLOW
    return Tier.FAST


class _Planner:
    def __init__(self, capacity: int, taken: int, budget: int, policy: Policy) -> None:
        self.moves: list[Move] = []
        self.capacity = capacity
        self.taken = taken
        self.budget = budget
        self.policy = policy

    def down(self, item: RangeUse) -> bool:
        return self._move(item, Tier.SLOW, item.fast_bytes)

    def up(self, item: RangeUse) -> bool:
        return self._move(item, Tier.FAST, item.slow_bytes)

    def _move(self, item: RangeUse, tier: Tier, length: int) -> bool:
        if length > self.budget:
            return False
        self.budget -= length
        self.taken += length if tier is Tier.FAST else -length
        self.moves.append(Move(item.stream, item.number, tier, length))
        return True

    def above(self, share: float) -> bool:
        return self.taken > self.capacity * share


def plan_moves(
    ranges: Iterable[RangeUse],
    capacity: int,
    taken: int,
    budget: int,
    policy: Policy | None = None,
) -> list[Move]:
    """The moves of one pass, in the order in which they should be made. `capacity`, `taken`: of the fast
    tier. `budget`: bytes to be moved at most."""
    policy = policy or Policy()
    planner = _Planner(capacity, taken, budget, policy)
    residents: list[RangeUse] = []
    rising: list[RangeUse] = []
    for item in ranges:
        if item.pin is Tier.SLOW:
            if item.fast_bytes and not planner.down(item):
                return planner.moves
        elif item.pin is Tier.FAST:
            if item.slow_bytes:
                rising.append(item)
        elif item.slow_bytes and item.density >= policy.promote:
            rising.append(item)
        elif item.fast_bytes:
            residents.append(item)
    residents.sort(key=lambda item: (-item.density, item.stream, item.number))
    rising.sort(key=lambda item: (item.pin is None, -item.density, item.stream, item.number))
    if planner.above(policy.high):
        while residents and planner.above(policy.target):
            if not planner.down(residents.pop()):
                return planner.moves
    for item in rising:
        if not _raise(planner, item, residents):
            break
    while residents and residents[-1].density < policy.demote and planner.above(policy.idle):
        if not planner.down(residents.pop()):
            break
    return planner.moves


def _raise(planner: _Planner, item: RangeUse, residents: list[RangeUse]) -> bool:
    """Plan one range up, colder ones down before it. False: neither this nor a colder one."""
    policy = planner.policy
    share = policy.target if item.pin is None else 1.0
    limit = planner.capacity * share
    going: list[RangeUse] = []
    room = limit - planner.taken
    while room < item.slow_bytes and residents:
        coldest = residents[-1]
        if item.pin is None and coldest.density * policy.hysteresis >= item.density:
            break
        going.append(residents.pop())
        room += coldest.fast_bytes
    cost = item.slow_bytes + sum(gone.fast_bytes for gone in going)
    if room < item.slow_bytes or cost > planner.budget:
        residents += reversed(going)
        return False
    return all(planner.down(gone) for gone in going) and planner.up(item)
