"""Where new clusters go on a volume of two tiers, and what is counted of reads and writes.

    new clusters   pinned: the pin's tier; else the fast one above its reserve, bulk to the slow one (plan.py)
                   a tier that is full, or whose pool is, hands over to the other
    read, write    tally of the tier the bytes lie on; heat of the 1 MiB range they belong to

On a volume without tiers `_heat` and `_recent` are None, and nothing is counted.

Source: docs/design-spaces.md, "Tiers". Units: bytes. Owner: the catalog file system."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from storage.errors import CatalogCorrupt
from storage.fs.allocator import Zone
from storage.fs.attributes import Attributes
from storage.fs.core import Parts
from storage.fs.limits import CLUSTER_BYTES, CLUSTER_SHIFT
from storage.fs.port import Node, Stream
from storage.fs.state import NodeState, StreamState
from storage.tier.heat import HALF_LIFE_S, KEY_SHIFT, RANGE_SHIFT, Heat
from storage.tier.plan import Policy, place_new
from storage.tier.space import Tier, TieredSpace

BURST_GAP_S: Final = 2.0
"""Clusters asked for within this time of each other were written at once."""
SHORT_S: Final = 30.0
"""How long a tier whose pool had no slab left is passed over."""
_HEAT_SAVED: Final = "heat_saved"
_SETTING: Final = "tier_"
_SETTINGS: Final = ("half_life_s", "pass_s", "rate_bytes_s")
"""Fields of TierSettings; the catalog has them in `meta` with `tier_` before."""


@dataclass(frozen=True, slots=True)
class TierSettings:
    """`rate_bytes_s`: what the background task moves at most; `pass_s`: how often it looks."""

    half_life_s: float = HALF_LIFE_S
    pass_s: float = 300.0
    rate_bytes_s: int = 32 << 20

    def __post_init__(self) -> None:
        if not (self.half_life_s > 0 and self.pass_s > 0 and self.rate_bytes_s > 0):
            raise ValueError(f"settings of tiers are positive numbers: {self}")


READ: Final = 0
WRITE: Final = 2
"""Where a tally counts operations; bytes are behind."""


@dataclass(slots=True)
class Moved:
    """Bytes the mover has moved since the volume was mounted."""

    up_bytes: int = 0
    down_bytes: int = 0
    within_bytes: int = 0
    failed: int = 0
    """Pieces that could not be moved: unreadable, or changed each time they were tried."""
    last_pass: int = 0
    """FILETIME of the end of the last optimisation; 0: there was none."""
    passes: int = 0


class Placement(Attributes):
    """Tiers, as far as reads, writes and allocation have to do with them."""

    def __init__(self, *parts: *Parts) -> None:
        super().__init__(*parts)
        self.policy = Policy()
        self._settings = self._stored_settings()
        self._tallies: tuple[list[int], list[int]] = ([0] * 4, [0] * 4)
        """What clients read and wrote on each tier since the volume was mounted: reads, bytes, writes,
        bytes."""
        self._moved_bytes = Moved()
        self._short_until = [0.0, 0.0]
        self._packing_until = 0.0
        self._pins: dict[int, Tier] = {}
        self._heat: Heat | None = None
        self._recent: dict[int, int] | None = None
        self._fast_clusters = 0
        """What the fast tier can hold, as it was measured last."""
        try:
            self._pins = {node: Tier(tier) for node, tier in self._rows("select node, tier from pins")}
        except ValueError as error:
            raise CatalogCorrupt(f"a file is pinned to an unknown tier: {error}") from error
        if len({zone.tier for zone in self._allocator.zones}) > 1:
            self._begin_counting()

    def _stored_settings(self) -> TierSettings:
        known = {key: self._meta[_SETTING + key] for key in _SETTINGS if _SETTING + key in self._meta}
        try:
            return TierSettings(**known)
        except (TypeError, ValueError) as error:
            raise CatalogCorrupt(f"the settings of the tiers make no sense: {error}") from error

    def _begin_counting(self) -> None:
        """The volume has two tiers: from now on heat is kept."""
        if self._heat is not None:
            return
        heat = Heat(self._runtime.now(), self._settings.half_life_s)
        age = self._runtime.filetime() - int(self._meta.get(_HEAT_SAVED, 0))
        heat.load((bytes(row[0]) for row in self._rows("select ranges from heat order by id")), age / 1e7)
        self._heat, self._recent = heat, heat.recent
        self._measure_fast()

    def _measure_fast(self) -> None:
        """What the fast tier really can hold: its pool may not have slabs for all of it."""
        size = self._allocator.size_of(Tier.FAST)
        part = self._data.part(Tier.FAST) if isinstance(self._data, TieredSpace) else None
        if part is not None:
            usage = part.usage()
            size = min(size, (usage.allocated_bytes + usage.available_bytes) >> CLUSTER_SHIFT)
        self._fast_clusters = size

    def _purge(self, node: Node, state: NodeState) -> None:
        if self._pins.pop(node.id, None) is not None:
            self._run("delete from pins where node=?", [(node.id,)])
        super()._purge(node, state)

    # where to ---------------------------------------------------------------------------------------
    def _tier_for(self, stream: Stream, state: StreamState, count: int, growing: bool) -> Tier | None:
        """Where `count` new clusters of the stream should lie; None: there is no choice."""
        if self._heat is None:
            return None
        now = self._runtime.now()
        if not growing or now - state.burst_at > BURST_GAP_S:
            state.burst_clusters = 0
        state.burst_clusters += count
        state.burst_at = now
        pin = self._pins.get(stream.node.id)
        if pin is not None:
            return Tier(1 - pin) if self._short_until[pin] > now else pin
        size = self._fast_clusters
        return place_new(
            size - self._allocator.taken_of(Tier.FAST),
            size,
            state.burst_clusters << CLUSTER_SHIFT,
            self._short_until[Tier.FAST] > now >= self._short_until[Tier.SLOW],
            self.policy,
        )

    def _pack(self) -> bool:
        """A pool has no slab left: for a while new clusters are looked for where others were before. True if
        that is news."""
        now = self._runtime.now()
        is_news = now >= self._packing_until
        self._packing_until = now + SHORT_S
        self._allocator.is_packing = True
        return is_news

    def _is_packing(self) -> bool:
        if self._allocator.is_packing and self._runtime.now() >= self._packing_until:
            self._allocator.is_packing = False
        return self._allocator.is_packing

    def _hand_over(self, taken: Iterable[tuple[int, int]]) -> bool:
        """The pool had no slab for these new clusters. True: try again, there may be room where slabs are, or
        on a tier that was passed over until now."""
        if self._pack():
            return True
        if self._heat is None or not isinstance(self._data, TieredSpace):
            return False
        needed: dict[Tier, int] = {}
        for first, count in taken:
            tier = Tier(self._allocator.zone_of(first).tier)
            needed[tier] = needed.get(tier, 0) + (count << CLUSTER_SHIFT)
        now = self._runtime.now()
        short = [tier for tier, n in needed.items() if len(needed) == 1 or self._obtainable(tier) < n]
        self._measure_fast()
        for tier in short:
            self._short_until[tier] = now + SHORT_S
        others = [tier for tier in Tier if tier not in short and self._obtainable(tier) >= CLUSTER_BYTES]
        for tier in others:
            self._short_until[tier] = 0.0
        return bool(short and others)

    def _obtainable(self, tier: Tier) -> int:
        """Bytes that the pool could still give to the tier's space."""
        part = self._data.part(tier) if isinstance(self._data, TieredSpace) else None
        return 0 if part is None else part.usage().available_bytes

    # counting ---------------------------------------------------------------------------------------
    def _remember_tier(self, state: StreamState, zone: Zone) -> None:
        """The run that the stream remembers is cut to a zone, and found in the tier's own space."""
        data = self._data
        assert isinstance(data, TieredSpace)
        state.begin = max(state.begin, (zone.first << CLUSTER_SHIFT) - state.delta)
        state.end = min(state.end, (zone.end << CLUSTER_SHIFT) - state.delta)
        state.tally = self._tallies[zone.tier]
        state.space, state.delta = data.locate(state.delta, zone.first << CLUSTER_SHIFT)

    def _used_run(self, state: StreamState, offset: int, end: int, kind: int) -> bool:
        """Bytes of the run that the stream remembers were read or written. Always True."""
        length = end - offset
        tally = state.tally
        tally[kind] += 1
        tally[kind + 1] += length
        recent: dict[int, int] = self._recent  # type: ignore[assignment]
        number = offset >> RANGE_SHIFT
        key = (state.id << KEY_SHIFT) + number
        if key in recent and number == end - 1 >> RANGE_SHIFT:
            recent[key] += length
        else:
            self._heat.touch_range(state.id, offset, length)  # type: ignore[union-attr]
        return True

    def _used_parts(
        self, state: StreamState, offset: int, length: int, parts: Iterable[tuple[int, int]], kind: int
    ) -> None:
        """The same for a range in (space offset, length) parts."""
        if self._heat is None:
            return
        self._heat.touch_range(state.id, offset, length)
        for where, size in parts:
            tally = self._tallies[self._allocator.zone_of(where >> CLUSTER_SHIFT).tier]
            tally[kind] += 1
            tally[kind + 1] += size
