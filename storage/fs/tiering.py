"""Tiers of a mounted volume: the task that keeps hot data on the fast tier, pins, and what is told of them.

    every TICK_S heat is folded; every `pass_s` a pass within the bandwidth limit; every SAVE_S heat is saved
    pass: hot ranges + what lies on the fast tier -> storage/tier/plan.py -> mover.py

One pass at a time, whoever asked for it. A pin is stored before anything is moved for it, and obeyed by later
writes, by every pass, and at once by `pin` itself.

Source: docs/design-spaces.md, "Tiers"; Set-FileStorageTier, Get-FileStorageTier, Optimize-Volume
-TierOptimize are Windows' names. Units: bytes, seconds. Owner: the catalog file system."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Final, NamedTuple

from storage.errors import StorageError, VolumeFull
from storage.fs import limits
from storage.fs.core import Parts
from storage.fs.limits import CLUSTER_SHIFT
from storage.fs.mover import ExtentRow, MoveResult, Pace, Piece, no_pace
from storage.fs.placement import TierSettings
from storage.fs.port import Node, NodeId, Stream
from storage.fs.thin import Thin
from storage.space.port import Space
from storage.tier.heat import RANGE_BYTES, RANGE_SHIFT, pack
from storage.tier.plan import Move, RangeUse, plan_moves
from storage.tier.space import Tier

TICK_S: Final = 15.0
SAVE_S: Final = 300.0
BUDGET_MIN_BYTES: Final = 8 * RANGE_BYTES
"""A pass may always exchange a few ranges, however slowly."""
COLD_MAX: Final = 8192
"""Ranges without heat that one pass looks at for the way down."""
ROUNDS_MAX: Final = 3
"""How often `pin` looks again for what changed under it."""
_RANGE_CLUSTERS_SHIFT: Final = RANGE_SHIFT - CLUSTER_SHIFT


class FileHeat(NamedTuple):
    """`path` from the root, with backslashes; the first name of a file with several."""

    path: str
    node: NodeId
    heat_bytes: float


class PinnedFile(NamedTuple):
    path: str
    node: NodeId
    tier: Tier
    allocated_bytes: int
    elsewhere_bytes: int
    """What of it does not lie on its tier (yet)."""


@dataclass(frozen=True, slots=True)
class TierUsage:
    """`taken_bytes`: in use, or not reusable yet."""

    tier: Tier
    size_bytes: int
    taken_bytes: int
    reads: int
    read_bytes: int
    writes: int
    write_bytes: int


@dataclass(frozen=True, slots=True)
class TierStatus:
    """`tiers` is empty on a volume without tiers. Counted since the volume was mounted; `last_pass` is a
    FILETIME, 0 if there was none."""

    tiers: tuple[TierUsage, ...]
    moved_up_bytes: int
    moved_down_bytes: int
    moved_within_bytes: int
    failed_pieces: int
    passes: int
    last_pass: int
    is_running: bool
    pins: int

    @property
    def hit_rate(self) -> float:
        """The share of the bytes read that the fast tier had; 1.0 if nothing was read."""
        total = sum(tier.read_bytes for tier in self.tiers)
        fast = sum(tier.read_bytes for tier in self.tiers if tier.tier is Tier.FAST)
        return fast / total if total else 1.0


class Tiering(Thin):
    """Tiers."""

    def __init__(self, *parts: *Parts) -> None:
        super().__init__(*parts)
        self._is_optimizing = False
        self._optimized = self._runtime.event()
        self._is_watching = False

    @property
    def has_tiers(self) -> bool:
        return self._heat is not None

    # the task ---------------------------------------------------------------------------------------
    def _watch_tiers(self) -> None:
        """Begin to keep the tiers in order, if there are two."""
        if self._heat is not None and not self._is_watching:
            self._is_watching = True
            self._runtime.spawn(self._tier_task, "tier optimisation")

    async def _tier_task(self) -> None:
        passed = saved = self._runtime.now()
        while self._may_go_on():
            await self._runtime.sleep(TICK_S)
            now = self._runtime.now()
            if not self._may_go_on() or self._heat is None:
                return
            self._heat.fold(now)
            self._measure_fast()
            try:
                if now - saved >= SAVE_S:
                    saved = now
                    await self._save_heat()
                if now - passed >= self._settings.pass_s:
                    budget = int(self._settings.rate_bytes_s * self._settings.pass_s / 2)
                    passed = now
                    await self.optimize_tiers(max(budget, BUDGET_MIN_BYTES), self._background_pace)
                    passed = self._runtime.now()
            except StorageError:
                if self._failure is not None:
                    return  # Every flush and change tells of it.
                self._moved_bytes.failed += 1

    async def _background_pace(self, length: int) -> None:
        await self._runtime.sleep(length / self._settings.rate_bytes_s)

    @property
    def tier_settings(self) -> TierSettings:
        return self._settings

    def set_tier_settings(self, settings: TierSettings) -> None:
        """Kept with the volume, in use at once."""
        self._admit(3)
        rows: list[tuple[object, ...]] = [("tier_" + key, value) for key, value in asdict(settings).items()]
        self._run("insert or replace into meta values(?,?)", rows)
        if self._heat is not None and settings.half_life_s != self._settings.half_life_s:
            self._heat.set_half_life(self._runtime.now(), settings.half_life_s)
        self._settings = settings
        self._changes += 1
        if not self._armed:
            self._arm()

    async def _save_heat(self) -> None:
        """Raises: VolumeFull if the catalog has no room for it."""
        heat = self._heat
        if heat is None or self._ended():
            return
        snapshot = heat.snapshot(self._runtime.now())
        pieces = await self._runtime.blocking(lambda: pack(snapshot, limits.HEAT_SAVED_MAX))
        if self._ended():
            return
        self._admit(8 * len(pieces) + 1)
        self._run("insert or replace into heat values(?,?)", list(enumerate(pieces)))
        self._run("delete from heat where id >= ?", [(len(pieces),)])
        self._run("insert or replace into meta values('heat_saved', ?)", [(self._runtime.filetime(),)])
        self._changes += 1
        if not self._armed:
            self._arm()

    async def grow(self, data: Space | None = None) -> int:
        grown = await super().grow(data)
        if len({zone.tier for zone in self._allocator.zones}) > 1:
            self._begin_counting()
            self._measure_fast()
            self._watch_tiers()
        return grown

    async def close(self) -> None:
        await self._stop_moving()
        if not self._closed:
            try:
                await self._save_heat()
            except StorageError:
                pass  # Heat is a hint; if it is more than want of room, closing fails by itself.
        await super().close()

    # passes -----------------------------------------------------------------------------------------
    async def optimize_tiers(self, budget_bytes: int | None = None, pace: Pace = no_pace) -> MoveResult:
        """Bring hot ranges up, colder ones down, pinned ones where they belong; no more bytes than the
        budget. Waits for a pass that is under way, then makes its own."""
        result = MoveResult()
        while self._is_optimizing:
            await self._optimized.wait()
        if self._heat is None or not self._may_go_on():
            return result
        self._is_optimizing = True
        try:
            self._heat.fold(self._runtime.now())
            allocator = self._allocator
            self._measure_fast()
            size = self._fast_clusters << CLUSTER_SHIFT
            taken = allocator.taken_of(Tier.FAST) << CLUSTER_SHIFT
            budget = 2 * (size + taken) if budget_bytes is None else budget_bytes
            uses = await self._uses()
            moves = await self._runtime.blocking(lambda: plan_moves(uses, size, taken, budget, self.policy))
            await self._carry_out_moves(moves, pace, result)
            self._moved_bytes.passes += 1
            self._moved_bytes.last_pass = self._runtime.filetime()
        finally:
            self._is_optimizing = False
            event, self._optimized = self._optimized, self._runtime.event()
            event.set()
        return result

    async def _carry_out_moves(self, moves: list[Move], pace: Pace, result: MoveResult) -> None:
        """In order, those to one tier together: clusters that several ranges share move once."""
        at = 0
        while at < len(moves) and self._may_go_on():
            tier = moves[at].tier
            ranges: list[tuple[int, int, int]] = []
            while at < len(moves) and moves[at].tier is tier:
                stream, number, _, _ = moves[at]
                first = number << _RANGE_CLUSTERS_SHIFT
                ranges.append((stream, first, first + (RANGE_BYTES >> CLUSTER_SHIFT)))
                at += 1
            part = MoveResult()
            await self._move_to_tier(ranges, tier, pace, part)
            result.moved_bytes += part.moved_bytes
            result.left_bytes += part.left_bytes
            result.is_full = result.is_full or part.is_full
            result.is_stopped = result.is_stopped or part.is_stopped

    async def _uses(self) -> list[RangeUse]:
        """Every range with heat or a pin, and a bounded number of cold ones on the fast tier."""
        assert self._heat is not None
        hot: dict[int, dict[int, float]] = {}
        for stream, number, heat in self._heat.ranges(self._runtime.now()):
            hot.setdefault(stream, {})[number] = heat
        pins = self._pinned_streams()
        found: dict[tuple[int, int], list[int]] = {}
        cold = 0
        async for rows in self._extent_rows():
            for row in rows:
                warm = hot.get(row.stream, {})
                pin = pins.get(row.stream)
                for number, tier, length in self._in_ranges(row, warm, pin, cold < COLD_MAX):
                    if (row.stream, number) not in found:
                        if pin is None and number not in warm:
                            cold += 1
                        found[row.stream, number] = [0, 0]
                    found[row.stream, number][tier] += length << CLUSTER_SHIFT
        alive = {stream for stream, _ in found}
        self._heat.forget(stream for stream in hot if stream not in alive)
        return [
            RangeUse(stream, number, hot.get(stream, {}).get(number, 0.0), fast, slow, pins.get(stream))
            for (stream, number), (fast, slow) in found.items()
        ]

    def _in_ranges(
        self, row: ExtentRow, warm: dict[int, float], pin: Tier | None, with_cold: bool
    ) -> list[tuple[int, int, int]]:
        """(range, tier, clusters) of a run: what is not where it is pinned to; of other files what is warm,
        and if wanted what is cold and lies on the fast tier."""
        out: list[tuple[int, int, int]] = []
        at, end = row.first, row.first + row.length
        shift = _RANGE_CLUSTERS_SHIFT
        while at < end:
            zone = self._allocator.zone_of(row.cluster + at - row.first)
            upto = min(end, at + zone.end - (row.cluster + at - row.first))
            first, last = at >> shift, upto - 1 >> shift
            numbers: Iterable[int]
            if pin is not None:
                numbers = range(first, min(last + 1, first + COLD_MAX)) if zone.tier != pin else ()
            elif with_cold and zone.tier == Tier.FAST:
                numbers = range(first, min(last + 1, first + COLD_MAX))
            elif len(warm) < last - first:
                numbers = [number for number in warm if first <= number <= last]
            else:
                numbers = [number for number in range(first, last + 1) if number in warm]
            for number in numbers:
                low, high = max(at, number << shift), min(upto, number + 1 << shift)
                out.append((number, zone.tier, high - low))
            at = upto
        return out

    def _pinned_streams(self) -> dict[int, Tier]:
        """Every stream of every pinned file."""
        out: dict[int, Tier] = {}
        for node_id, tier in self._pins.items():
            node = self.node(NodeId(node_id))
            for stream in [] if node is None else self.streams(node):
                out[self._stream_state(stream).id] = tier
        return out

    def _agreed(self, pieces: list[Piece], tier: int) -> list[Piece]:
        """Who shares clusters may want them on different tiers: a pin to the fast one comes first, then one
        to the slow one, then that anybody's use of them is worth the fast one. So they do not go to and
        fro."""
        pins = self._pinned_streams()
        out: list[Piece] = []
        for piece in pieces:
            wishes = {pins[stream] for stream, _ in piece.owners if stream in pins}
            if wishes:
                home = Tier.FAST if Tier.FAST in wishes else Tier.SLOW
            elif any(self._is_hot(*owner) for owner in piece.owners):
                home = Tier.FAST
            else:
                home = Tier(tier)
            if home == tier:
                out.append(piece)
        return out

    def _is_hot(self, stream: int, first: int) -> bool:
        """Is the range that the stream's cluster lies in worth the fast tier?"""
        heat = self._heat
        if heat is None:
            return False
        bytes_used = heat.of(stream, first >> _RANGE_CLUSTERS_SHIFT, self._runtime.now())
        return bytes_used >= self.policy.promote * RANGE_BYTES

    # pins -------------------------------------------------------------------------------------------
    async def pin(self, node: Node, tier: Tier, pace: Pace = no_pace) -> MoveResult:
        """From now on the file belongs on this tier; what there is of it is moved there at once. If the tier
        has no room for all of it, colder files make some; `left_bytes` tells what still lies elsewhere.

        Raises: ValueError without tiers; VolumeFull if too many files are pinned, or the catalog is full."""
        if self._heat is None:
            raise ValueError("the volume has no tiers to pin a file to")
        if not self._may_go_on():
            return MoveResult(is_stopped=True)
        found = self.node(node.id)
        if found is None:
            return MoveResult()  # It was deleted before this began.
        node = found
        if node.id not in self._pins and len(self._pins) >= limits.PINS_MAX:
            raise VolumeFull(f"{limits.PINS_MAX} files are pinned, which is the most")
        self._admit(1)
        self.hold(node)
        try:
            self._pins[node.id] = tier
            self._run("insert or replace into pins values(?,?)", [(node.id, int(tier))])
            self._touch(node, node.private)  # type: ignore[arg-type]
            await self.flush(node)
            result = await self._bring_home(node, tier, pace)
            if self._may_go_on():
                await self.sync()
            return result
        finally:
            self.drop(node)

    async def _bring_home(self, node: Node, tier: Tier, pace: Pace) -> MoveResult:
        result = MoveResult()
        for _ in range(ROUNDS_MAX):
            streams = self.streams(node)
            ranges = [(self._stream_state(s).id, 0, self._extents(s).end()) for s in streams]
            part = MoveResult()
            await self._move_to_tier(ranges, tier, pace, part)
            result.moved_bytes += part.moved_bytes
            result.is_stopped = part.is_stopped
            left = sum(self._elsewhere_bytes(stream, tier) for stream in self.streams(node))
            if not left or part.is_stopped:
                break
            if part.is_full:
                result.is_full = True
                await self.optimize_tiers(pace=pace)  # pinned ranges first, colder ones make room
        result.left_bytes = sum(self._elsewhere_bytes(stream, tier) for stream in self.streams(node))
        result.is_full = result.is_full and result.left_bytes > 0
        return result

    def _elsewhere_bytes(self, stream: Stream, tier: Tier) -> int:
        total = 0
        for run in self._extents(stream):
            total += sum(high - low for low, high in self._elsewhere(run.space, run.length, tier))
        return total << CLUSTER_SHIFT

    async def unpin(self, node: Node) -> None:
        """The file is treated as any other again; nothing is moved now."""
        if not self._may_go_on():
            return
        found = self.node(node.id)
        if found is None or self._pins.pop(node.id, None) is None:
            return
        node = found
        self._admit(0)
        self._run("delete from pins where node=?", [(node.id,)])
        self._touch(node, node.private)  # type: ignore[arg-type]
        await self.flush(node)

    def pin_of(self, node: Node) -> Tier | None:
        return self._pins.get(node.id)

    def tier_bytes(self, node: Node, tier: Tier) -> int:
        """What of the file lies on that tier."""
        streams = self.streams(node)
        return sum(stream.allocated_bytes - self._elsewhere_bytes(stream, tier) for stream in streams)

    def pinned_files(self) -> list[PinnedFile]:
        out: list[PinnedFile] = []
        for node_id, tier in sorted(self._pins.items()):
            node = self.node(NodeId(node_id))
            if node is not None:
                streams = self.streams(node)
                allocated = sum(stream.allocated_bytes for stream in streams)
                elsewhere = sum(self._elsewhere_bytes(stream, tier) for stream in streams)
                out.append(PinnedFile(self._path(node), node.id, tier, allocated, elsewhere))
        return out

    # telling ----------------------------------------------------------------------------------------
    def tier_status(self) -> TierStatus:
        allocator, moved = self._allocator, self._moved_bytes
        tiers: list[TierUsage] = []
        for tier in Tier if self._heat is not None else ():
            size, taken = (n << CLUSTER_SHIFT for n in (allocator.size_of(tier), allocator.taken_of(tier)))
            tiers.append(TierUsage(tier, size, taken, *self._tallies[tier]))
        return TierStatus(
            tuple(tiers), moved.up_bytes, moved.down_bytes, moved.within_bytes, moved.failed, moved.passes,
            moved.last_pass, self._is_optimizing, len(self._pins),
        )  # fmt: skip

    def reset_tier_statistics(self) -> None:
        """Count from nothing again."""
        for tally in self._tallies:
            tally[:] = [0] * len(tally)

    def hottest_files(self, count: int = 20) -> list[FileHeat]:
        """The files most bytes of which were read and written lately, the hottest first."""
        if self._heat is None:
            return []
        now = self._runtime.now()
        self._heat.fold(now)
        by_stream = sorted(self._heat.streams(now).items(), key=lambda item: (-item[1], item[0]))
        by_node: dict[int, tuple[Node, float]] = {}
        for stream_id, heat in by_stream[: 4 * count]:
            stream = self._stream_of(stream_id)
            if stream is not None:
                node = stream.node
                by_node[node.id] = node, heat + by_node.get(node.id, (node, 0.0))[1]
        hottest = sorted(by_node.values(), key=lambda item: (-item[1], item[0].id))[:count]
        return [FileHeat(self._path(node), node.id, heat) for node, heat in hottest]

    def _path(self, node: Node) -> str:
        """The first path that leads to the file; empty if it has no name left."""
        names: list[str] = []
        at = node
        while found := self.names(at):
            at, name = found[0]
            names.append(name)
        return "\\" + "\\".join(reversed(names)) if names else ""
