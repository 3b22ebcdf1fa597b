"""Streams of a node, and the clusters that lie under them: allocation, sizes, which ranges are allocated.

Invariants, for a stream:
  * no DATA run begins at or past the cluster that follows `valid_bytes`: what lies beyond is a hole or
    UNWRITTEN;
  * below `valid_bytes`, a DATA run holds the stream's bytes; holes and UNWRITTEN runs read as zeros;
  * past `valid_bytes` everything reads as zeros, whatever the clusters hold;
  * `allocated_bytes` is the number of clusters of all its runs.

Operations that may wait take the stream (`_take`/`_let_go`): one at a time; `write_now` steps aside for them.

Source: [MS-FSA] 2.1.1.7 Per Stream; 2.1.5.15 Server Requests Setting of File Information.
"""

from __future__ import annotations

from storage.errors import VolumeFull
from storage.fs import limits
from storage.fs.extents import DATA, HOLE, UNWRITTEN, ExtentMap
from storage.fs.limits import CLUSTER_BYTES, CLUSTER_MASK, CLUSTER_SHIFT
from storage.fs.placement import Placement
from storage.fs.port import Node, Stream
from storage.fs.state import ATTRIBUTE_SPARSE, HAS_STREAMS, NodeState, StreamState
from storage.units import FileOffset


def clusters_for(length: int) -> int:
    """Clusters that hold `length` bytes."""
    return (length + CLUSTER_MASK) >> CLUSTER_SHIFT


class Streams(Placement):
    """Streams and their clusters."""

    # which streams there are ----------------------------------------------------------------------
    def streams(self, node: Node) -> list[Stream]:
        state: NodeState = node.private  # type: ignore[assignment]
        default = [] if node.data is None else [node.data]
        if not state.has & HAS_STREAMS:
            return default
        named = self._named_streams(node)
        return default + [named[fold] for fold in sorted(named)]

    def stream(self, node: Node, name: str) -> Stream | None:
        if not name:
            return node.data
        state: NodeState = node.private  # type: ignore[assignment]
        if not state.has & HAS_STREAMS:
            return None
        return self._named_streams(node).get(self.fold(name))

    def make_stream(self, node: Node, name: str) -> Stream:
        self._admit(2)
        state: NodeState = node.private  # type: ignore[assignment]
        named = self._named_streams(node)
        stream = Stream(node, name)
        stream.private = StreamState(self._next_id)
        self._next_id += 1
        named[self.fold(name)] = stream
        state.has |= HAS_STREAMS
        self._touch_stream(stream)
        return stream

    def remove_stream(self, stream: Stream) -> None:
        self._admit(0)
        node = stream.node
        state: NodeState = node.private  # type: ignore[assignment]
        named = self._named_streams(node)
        if named.get(self.fold(stream.name)) is not stream:
            return  # It went with its node, or by another call.
        del named[self.fold(stream.name)]
        self._free_stream(stream)
        if not named:
            state.has &= ~HAS_STREAMS
        self._touch(node, state)

    def rename_stream(self, stream: Stream, name: str) -> None:
        self._admit(2)
        if not stream.name or not name:
            self._exchange_default(stream, name)
            return
        named = self._named_streams(stream.node)
        del named[self.fold(stream.name)]
        replaced = named.get(self.fold(name))
        if replaced is not None:
            self.remove_stream(replaced)
        stream.name = name
        named[self.fold(name)] = stream
        # The row of a removed stream of the new name must go before this one is written.
        self.write_out()
        self._touch_stream(stream)

    def _exchange_default(self, stream: Stream, name: str) -> None:
        """The default stream gets a name (and an empty one takes its place), or a named one becomes the
        default: the bytes change places, the objects stay what they are."""
        other = self.stream(stream.node, name)
        if other is None:
            other = self.make_stream(stream.node, name)
        mine, others = self._extents(stream), self._extents(other)
        own, theirs = self._stream_state(stream), self._stream_state(other)
        for state in (own, theirs):
            self._drop_ahead(state)
            state.begin = state.end = 0
        runs, other_runs = list(mine), list(others)
        for extents, new in ((mine, other_runs), (others, runs)):
            extents.remove(0, extents.end())
            for run in new:
                extents.put(*run)
        for field in ("size_bytes", "valid_bytes", "allocated_bytes"):
            value = getattr(stream, field)
            setattr(stream, field, getattr(other, field))
            setattr(other, field, value)
        self._touch_stream(stream)
        self._touch_stream(other)

    def _touch_stream(self, stream: Stream) -> None:
        """Its sizes or its runs changed."""
        state: StreamState = stream.private  # type: ignore[assignment]
        state.stamp += 1
        self._dirty_streams[state.id] = stream
        node = stream.node
        self._touch(node, node.private)  # type: ignore[arg-type]

    # one at a time --------------------------------------------------------------------------------
    async def _take(self, stream: Stream) -> StreamState:
        state = self._stream_state(stream)
        while state.busy:
            event = self._runtime.event()
            state.waiters.append(event)
            await event.wait()
        state.busy = True
        self.hold(stream.node)
        return state

    def _let_go(self, stream: Stream) -> None:
        state = self._stream_state(stream)
        state.busy = False
        self.drop(stream.node)
        waiters, state.waiters = state.waiters, []
        for event in waiters:
            event.set()

    # clusters -------------------------------------------------------------------------------------
    def _clusters(self, stream: Stream, count: int, hint: int, growing: bool) -> list[tuple[int, int]]:
        """`count` new clusters, following `hint` if possible; a growing stream keeps some more back behind
        them."""
        state = self._stream_state(stream)
        allocator = self._allocator
        runs: list[tuple[int, int]] = []
        tier = self._tier_for(stream, state, count, growing)
        if allocator.is_packing and self._is_packing():
            hint, growing = -1, False
        first, spare = state.ahead
        if spare and first == hint and (tier is None or allocator.zone_of(first).tier == tier):
            used = min(spare, count)
            allocator.use_reserved(first, used)
            state.ahead = (first + used, spare - used)
            runs.append((first, used))
            if used == count:
                return runs
            hint = first + used
        if spare:
            self._drop_ahead(state)
        try:
            left = count - (runs[0][1] if runs else 0)
            if left > allocator.free() and self._ahead:
                self._release_ahead(only_unheld=False)
            runs += allocator.allocate(left, hint, tier)
        except VolumeFull:
            for cluster, length in runs:
                allocator.give_back(cluster, length)
            raise
        total = stream.allocated_bytes >> CLUSTER_SHIFT
        if growing and total >= limits.AHEAD_FROM_CLUSTERS:
            want = min(max(total // 2, count), limits.AHEAD_CLUSTERS_MAX, allocator.free() // 16)
            behind = runs[-1][0] + runs[-1][1]
            got = allocator.reserve(behind, want) if want else 0
            if got:
                state.ahead = (behind, got)
                self._ahead[state.id] = (stream.node, state)
        return runs

    def _reserve(self, stream: Stream, first: int, end: int) -> None:
        """Holes in [first, end) get UNWRITTEN clusters. Raises VolumeFull with nothing changed."""
        extents = self._extents(stream)
        holes = [piece for piece in extents.pieces(first, end) if piece.state == HOLE] if end > first else []
        wanted = sum(hole.length for hole in holes)
        if not wanted:
            return
        self._check_quota(stream.node, wanted)
        before = extents.find(first - 1) if first else None
        hint = -1 if before is None else before.space + (first - before.first)
        runs = self._clusters(stream, wanted, hint, growing=False)
        place, used = 0, 0
        for hole in holes:
            at = hole.first
            while at < hole.first + hole.length:
                cluster, length = runs[place]
                part = min(length - used, hole.first + hole.length - at)
                extents.put(at, part, cluster + used, UNWRITTEN)
                at += part
                used += part
                if used == length:
                    place, used = place + 1, 0

    def _cut_clusters(self, stream: Stream, first: int, end: int) -> None:
        """Give the clusters of [first, end) back."""
        state = self._stream_state(stream)
        for run in self._extents(stream).remove(first, end):
            self._unreference(run.space, run.length)
        state.begin = state.end = 0
        self._drop_ahead(state)

    def _resized(self, stream: Stream, extents: ExtentMap) -> None:
        allocated = extents.allocated << CLUSTER_SHIFT
        self._charge(stream.node, allocated - stream.allocated_bytes)
        stream.allocated_bytes = allocated
        self._touch_stream(stream)

    # sizes ----------------------------------------------------------------------------------------
    async def set_size(self, stream: Stream, size_bytes: int) -> None:
        state = await self._take(stream)
        try:
            self._admit()
            if state.gone():
                return
            if size_bytes > stream.size_bytes and not stream.node.attributes & ATTRIBUTE_SPARSE:
                first, end = clusters_for(stream.size_bytes), clusters_for(size_bytes)
                await self._until_room(end - first)
                if state.gone():
                    return
                self._reserve(stream, first, end)
            self._set_size(stream, size_bytes)
        finally:
            self._let_go(stream)

    def _set_size(self, stream: Stream, size_bytes: int) -> None:
        extents = self._extents(stream)
        if size_bytes < stream.size_bytes:
            self._cut_clusters(stream, clusters_for(size_bytes), extents.end())
            stream.valid_bytes = min(stream.valid_bytes, size_bytes)
        stream.size_bytes = size_bytes
        self._resized(stream, extents)

    async def _until_room(self, clusters: int) -> None:
        """If clusters are short, wait for those that were freed and not released yet."""
        allocator = self._allocator
        if clusters > allocator.free() and self._ahead:
            self._release_ahead(only_unheld=False)
        if clusters > allocator.free() and allocator.pending:
            await self._wait_for_clusters()

    async def set_allocation(self, stream: Stream, allocated_bytes: int) -> None:
        state = await self._take(stream)
        try:
            self._admit()
            if allocated_bytes < stream.size_bytes:
                self._set_size(stream, allocated_bytes)
                return
            extents = self._extents(stream)
            first, end = clusters_for(stream.size_bytes), clusters_for(allocated_bytes)
            await self._until_room(end - first)
            if state.gone():
                return
            self._cut_clusters(stream, end, extents.end())
            self._reserve(stream, first, end)
            self._resized(stream, extents)
        finally:
            self._let_go(stream)

    def allocated_ranges(self, stream: Stream, offset: FileOffset, length: int) -> list[tuple[int, int]]:
        end = min(offset + length, stream.size_bytes)
        if end <= offset:
            return []
        out: list[tuple[int, int]] = []
        for piece in self._extents(stream).pieces(offset >> CLUSTER_SHIFT, clusters_for(end)):
            if piece.state != DATA:
                continue
            low = max(offset, piece.first << CLUSTER_SHIFT)
            high = min(end, (piece.first + piece.length) << CLUSTER_SHIFT)
            if out and out[-1][0] + out[-1][1] == low:
                out[-1] = (out[-1][0], out[-1][1] + high - low)
            else:
                out.append((low, high - low))
        return out


assert CLUSTER_BYTES == CLUSTER_MASK + 1
