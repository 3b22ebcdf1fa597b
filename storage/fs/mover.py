"""Moving clusters under files that are in use: for tiers, pins, and to empty rows of thin spaces.

A piece is at most 1 MiB of clusters that lie one behind the other and have the same owners: the runs, of one
stream or of several that share them, that refer to them.

    new clusters, hidden from commits -> copy, while others read and write -> take the owners' streams
      -> nothing changed since?  no: give the new ones back, try again (the last times with the streams taken
         before the copy, so that a write waits for one piece at most)
      -> yes: all owners' runs show the new clusters, the old ones lose these references: between two calls of
         the port, so one commit holds all of it

Durability is that of any write: the drain flushes the data space before the commit that shows the new
clusters, and the old ones are used again only when that commit is durable and nobody moves bytes of them.
After a power cut every file has the same bytes, here or there.

What changed is seen by `StreamState.stamp`, which grows with each write and each change of runs, by the runs
themselves, and by the count of references.

Source: docs/design-spaces.md, "Tiers". Units: clusters, unless a name says bytes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from storage.errors import PoolFull, StorageError, VolumeFull
from storage.fs.core import Parts
from storage.fs.extents import DATA, HOLE
from storage.fs.limits import CLUSTER_SHIFT, PAGE_BYTES
from storage.fs.port import NodeId, Stream
from storage.fs.ranges import Ranges
from storage.fs.state import StreamState
from storage.units import SpaceOffset

PIECE_CLUSTERS: Final = (1 << 20) >> CLUSTER_SHIFT
ATTEMPTS_FREE: Final = 2
"""How often a piece is copied while others may write to it; afterwards they wait."""
ATTEMPTS_MAX: Final = 4
SCAN_ROWS: Final = 250
"""Rows of `extents` read at once: a millisecond or two of the loop."""
OWNERS_MAX: Final = 256
"""Clusters that more runs refer to stay where they are."""

Pace = Callable[[int], Awaitable[None]]
"""Awaited before so many bytes are moved or trimmed: rate, pause and cancellation are the caller's."""
Areas = Sequence[tuple[int, int]]
"""(first, end) of clusters: where to, the better ones first."""


class Piece(NamedTuple):
    cluster: int
    length: int
    owners: tuple[tuple[int, int], ...]
    """(stream id, first cluster in the stream)."""


class ExtentRow(NamedTuple):
    stream: int
    first: int
    length: int
    cluster: int


@dataclass(slots=True)
class MoveResult:
    """`left_bytes`: what could not be moved, for want of room (`is_full`) or because it was unreadable or
    changed all the time."""

    moved_bytes: int = 0
    left_bytes: int = 0
    is_full: bool = False
    is_stopped: bool = False


async def no_pace(length: int) -> None:
    """As fast as it goes."""


class Mover(Ranges):
    """Relocation of clusters."""

    def __init__(self, *parts: *Parts) -> None:
        super().__init__(*parts)
        self._stopping = False
        self._moving_pieces = 0
        self._piece_done = self._runtime.event()

    def _may_go_on(self) -> bool:
        return not (self._stopping or self._ended())

    async def _stop_moving(self) -> None:
        """No piece is under way, and none will be."""
        self._stopping = True
        while self._moving_pieces:
            self._piece_done = self._runtime.event()
            await self._piece_done.wait()

    # who has what -----------------------------------------------------------------------------------
    def _stream_of(self, stream_id: int) -> Stream | None:
        """The stream of an id, if it still is there."""
        node = self.node(NodeId(stream_id))
        if node is not None:
            return node.data
        self.write_out()
        rows = self._rows("select node from streams where id=?", (stream_id,))
        node = self.node(NodeId(rows[0][0])) if rows else None
        if node is not None:
            for stream in self._named_streams(node).values():
                if self._stream_state(stream).id == stream_id:
                    return stream
        return None

    async def _extent_rows(self) -> AsyncIterator[list[ExtentRow]]:
        """Every run of every stream, in order, in parts; others work in between, so it is no snapshot. Ends
        early if moving has to stop."""
        stream, first = -1, -1
        while self._may_go_on():
            self.write_out()
            rows = self._rows(
                "select stream, first, count, cluster from extents where (stream, first) > (?, ?) "
                "order by stream, first limit ?",
                (stream, first, SCAN_ROWS),
            )
            if rows:
                stream, first = rows[-1][:2]
                yield [ExtentRow(*row) for row in rows]
            if len(rows) < SCAN_ROWS:
                return
            await self._runtime.sleep(0)

    async def _owned(self, wanted: Areas) -> list[Piece]:
        """The clusters of these sorted, disjoint areas that streams have, in pieces with all their owners."""
        starts = [low for low, _ in wanted]
        found: list[tuple[int, int, int, int]] = []
        async for rows in self._extent_rows():
            for row in rows:
                end = row.cluster + row.length
                index = max(bisect_right(starts, row.cluster) - 1, 0)
                while index < len(wanted) and wanted[index][0] < end:
                    low, high = max(row.cluster, wanted[index][0]), min(end, wanted[index][1])
                    if low < high:
                        found.append((low, high, row.stream, row.first + low - row.cluster))
                    index += 1
        return cut_pieces(found)

    def _state_of(self, piece: Piece, owners: Sequence[Stream | None]) -> int | None:
        """DATA or UNWRITTEN if exactly these streams have the piece; None if that has changed."""
        state = HOLE
        for stream, (_, first) in zip(owners, piece.owners, strict=True):
            if stream is None or self._stream_state(stream).gone():
                return None
            for run in self._extents(stream).pieces(first, first + piece.length):
                if run.space != piece.cluster + run.first - first or state not in (HOLE, run.state):
                    return None
                state = run.state
        counts = self._shared.pieces(piece.cluster, piece.length)
        if any(references != len(owners) for _, _, references in counts):
            return None
        return None if state == HOLE else state

    # moving one piece -------------------------------------------------------------------------------
    async def _move_piece(self, piece: Piece, areas: Areas, result: MoveResult) -> None:
        """Move the piece into the areas. What happened is added to the result."""
        length = piece.length << CLUSTER_SHIFT
        try:
            for attempt in range(ATTEMPTS_MAX):
                if not self._may_go_on():
                    result.is_stopped = True
                    return
                try:
                    done = await self._try_move(piece, areas, attempt >= ATTEMPTS_FREE)
                except PoolFull:
                    pending = self._allocator.pending
                    if not (self._pack() or pending) or attempt == ATTEMPTS_MAX - 1:
                        raise
                    if pending:
                        await self._wait_for_clusters()
                    continue
                except VolumeFull:
                    if attempt or not self._allocator.pending:
                        raise
                    await self._wait_for_clusters()
                    continue
                if done:
                    result.moved_bytes += length
                    self._count_move(piece, areas, length)
                    return
                if done is None:
                    return  # It is somebody else's, or nobody's, by now.
        except (VolumeFull, PoolFull):
            result.is_full = True
        except StorageError:
            if self._failure is not None:
                raise  # The file system has ended. Otherwise it is this piece that cannot be read or written.
            self._moved_bytes.failed += 1
        result.left_bytes += length

    def _count_move(self, piece: Piece, areas: Areas, length: int) -> None:
        source, target = (self._allocator.zone_of(at).tier for at in (piece.cluster, areas[0][0]))
        if source == target:
            self._moved_bytes.within_bytes += length
        elif target < source:
            self._moved_bytes.up_bytes += length
        else:
            self._moved_bytes.down_bytes += length

    async def _try_move(self, piece: Piece, areas: Areas, is_exclusive: bool) -> bool | None:
        """True: done. False: it changed meanwhile. None: there is nothing to move."""
        owners = [stream for sid, _ in piece.owners if (stream := self._stream_of(sid)) is not None]
        if len(owners) < len(piece.owners) or len(owners) > OWNERS_MAX:
            return None
        state = self._state_of(piece, owners)
        if state is None:
            return None
        self._admit(3 * len(owners))
        allocator = self._allocator
        runs = allocator.allocate_within(piece.length, areas)
        for run in runs:
            allocator.hide(*run)
        for stream in owners:
            self.hold(stream.node)
        self._moving_pieces += 1
        taken: list[Stream] = []
        done = False
        try:
            if is_exclusive:
                await self._take_all(owners, taken)
            stamps = self._stamps(owners)
            if is_exclusive and self._state_of(piece, owners) != state:
                return False
            if state == DATA:
                await self._copy(piece, owners, runs)
            if not is_exclusive:
                await self._take_all(owners, taken)
            done = (
                self._failure is None
                and self._stamps(owners) == stamps
                and self._state_of(piece, owners) == state
            )
        finally:
            for run in runs:
                if done:
                    allocator.use_reserved(*run)
                else:
                    allocator.unreserve(*run)
            if done:
                self._show(piece, owners, runs, state)
            for stream in taken:
                self._let_go(stream)
            for stream in owners:
                self.drop(stream.node)
            self._moving_pieces -= 1
            self._piece_done.set()
        return done

    async def _take_all(self, owners: Iterable[Stream], taken: list[Stream]) -> None:
        """In the order in which `clone` takes two, so that nobody waits in a circle."""
        unique = {self._stream_state(stream).id: stream for stream in owners}
        for _, stream in sorted(unique.items()):
            await self._take(stream)
            taken.append(stream)

    def _stamps(self, owners: Iterable[Stream]) -> list[int]:
        return [self._stream_state(stream).stamp for stream in owners]

    async def _copy(self, piece: Piece, owners: Sequence[Stream], runs: list[tuple[int, int]]) -> None:
        length = piece.length << CLUSTER_SHIFT
        if len(owners) == 1:  # past the valid bytes nobody looks; of shared clusters another's may go further
            used = owners[0].valid_bytes - (piece.owners[0][1] << CLUSTER_SHIFT)
            length = min(length, max(-(-used // PAGE_BYTES) * PAGE_BYTES, 0))
        buffer = memoryview(bytearray(length))
        epoch = self._begin_move()
        try:
            where = SpaceOffset(piece.cluster << CLUSTER_SHIFT)
            if length and not self._data.read_now(where, buffer):
                await self._data.read(where, buffer)
            at = 0
            for first, count in runs:
                part = buffer[at : at + (count << CLUSTER_SHIFT)]
                at += count << CLUSTER_SHIFT
                where = SpaceOffset(first << CLUSTER_SHIFT)
                if len(part) and not self._data.write_now(where, (part,), True):
                    await self._data.write(where, (part,), True)
        finally:
            self._end_move(epoch)

    def _show(
        self, piece: Piece, owners: Sequence[Stream], runs: list[tuple[int, int]], state: int
    ) -> None:  # fmt: skip
        """The owners have the new clusters in place of the old ones."""
        for stream, (_, first) in zip(owners, piece.owners, strict=True):
            extents = self._extents(stream)
            for cluster, count in runs:
                extents.put(first, count, cluster, state)
                first += count
            own: StreamState = stream.private  # type: ignore[assignment]
            own.begin = own.end = 0
            self._unreference(piece.cluster, piece.length)
            self._touch_stream(stream)
        for _ in owners[1:]:
            for cluster, count in runs:
                self._shared.add(cluster, count)
        self._data_dirty = True

    # moving more ------------------------------------------------------------------------------------
    async def _move_pieces(
        self, pieces: Iterable[Piece], areas: Areas, pace: Pace, result: MoveResult
    ) -> None:  # fmt: skip
        for piece in pieces:
            await pace(piece.length << CLUSTER_SHIFT)
            await self._move_piece(piece, areas, result)
            if result.is_full or result.is_stopped:
                return

    def _tier_areas(self, tier: int) -> Areas:
        return [(zone.first, zone.end) for zone in self._allocator.zones if zone.tier == tier]

    def _astray(
        self, stream_id: int, first: int, end: int, tier: int
    ) -> tuple[list[Piece], list[tuple[int, int]]]:
        """What of a stream's range lies on another tier: its own pieces, and (low, high) of clusters that it
        shares."""
        own: list[tuple[int, int, int, int]] = []
        shared: list[tuple[int, int]] = []
        stream = self._stream_of(stream_id)
        if stream is None:
            return [], []
        for run in self._extents(stream).pieces(first, end):
            if run.state == HOLE:
                continue
            for low, high in self._elsewhere(run.space, run.length, tier):
                for cluster, count, references in self._shared.pieces(low, high - low):
                    if references > 1:
                        shared.append((cluster, cluster + count))
                    else:
                        at = run.first + cluster - run.space
                        own.append((cluster, cluster + count, stream_id, at))
        return cut_pieces(own), shared

    def _elsewhere(self, cluster: int, count: int, tier: int) -> list[tuple[int, int]]:
        """The parts of a run that do not lie on the tier."""
        out: list[tuple[int, int]] = []
        at, end = cluster, cluster + count
        while at < end:
            zone = self._allocator.zone_of(at)
            upto = min(end, zone.end)
            if zone.tier != tier:
                out.append((at, upto))
            at = upto
        return out

    async def _move_to_tier(
        self, ranges: Iterable[tuple[int, int, int]], tier: int, pace: Pace, result: MoveResult
    ) -> None:
        """Bring (stream, first, end) ranges to a tier. Clusters that several streams share move once, for all
        of them."""
        areas = self._tier_areas(tier)
        shared: list[tuple[int, int]] = []
        for stream_id, first, end in ranges:
            if not self._may_go_on():
                result.is_stopped = True
                return
            own, others = self._astray(stream_id, first, end, tier)
            shared += others
            await self._move_pieces(own, areas, pace, result)
            if result.is_full or result.is_stopped:
                return
        if shared:
            pieces = await self._owned(merged(shared))
            await self._move_pieces(self._agreed(pieces, tier), areas, pace, result)

    def _agreed(self, pieces: list[Piece], tier: int) -> list[Piece]:
        """Those that may go to the tier although they are not one stream's alone (tiering.py)."""
        return pieces


def merged(areas: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same clusters as sorted areas that do not overlap."""
    out: list[tuple[int, int]] = []
    for low, high in sorted(areas):
        if out and low <= out[-1][1]:
            out[-1] = (out[-1][0], max(out[-1][1], high))
        else:
            out.append((low, high))
    return out


def cut_pieces(found: Iterable[tuple[int, int, int, int]]) -> list[Piece]:
    """(low, high, stream, first) of runs as pieces: the same owners all through, PIECE_CLUSTERS at most."""
    runs = sorted(found)
    borders = sorted({low for low, *_ in runs} | {high for _, high, *_ in runs})
    out: list[Piece] = []
    alive: list[tuple[int, int, int, int]] = []
    index = 0
    for low, high in zip(borders, borders[1:], strict=False):
        alive = [run for run in alive if run[1] > low]
        while index < len(runs) and runs[index][0] <= low:
            alive.append(runs[index])
            index += 1
        if not alive:
            continue
        for at in range(low, high, PIECE_CLUSTERS):
            owners = tuple(sorted((stream, first + at - begin) for begin, _, stream, first in alive))
            out.append(Piece(at, min(PIECE_CLUSTERS, high - at), owners))
    return out
