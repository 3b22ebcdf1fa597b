"""Ranges of streams: zero, trim, valid data length, clone.

Source: [MS-FSA] 2.1.5.10.37 FSCTL_SET_ZERO_DATA; 2.1.5.10.4 FSCTL_DUPLICATE_EXTENTS_TO_FILE;
storage/fs/port.py."""

from __future__ import annotations

from storage.errors import VolumeFull
from storage.fs.data import Data, Plan
from storage.fs.extents import DATA, HOLE, UNWRITTEN
from storage.fs.limits import CLUSTER_BYTES, CLUSTER_MASK, CLUSTER_SHIFT
from storage.fs.port import Stream
from storage.fs.state import ATTRIBUTE_SPARSE, StreamState
from storage.fs.streams import clusters_for
from storage.units import FileOffset

_NOTHING = memoryview(b"")


class Ranges(Data):
    """What can be done to a range without its bytes."""

    async def zero(self, stream: Stream, offset: FileOffset, length: int) -> None:
        await self._erase(stream, offset, length, bool(stream.node.attributes & ATTRIBUTE_SPARSE))

    async def trim(self, stream: Stream, offset: FileOffset, length: int) -> None:
        await self._erase(stream, offset, length, True)

    async def _erase(self, stream: Stream, offset: int, length: int, give_back: bool) -> None:
        state = await self._take(stream)
        try:
            self._admit()
            end = min(offset + length, stream.size_bytes)
            if end <= offset or state.gone():
                return
            # The last cluster of the stream counts as whole if the range reaches the end.
            first = clusters_for(offset)
            last = clusters_for(end) if end == stream.size_bytes else end >> CLUSTER_SHIFT
            if first > last:
                await self._fill(stream, state, offset, end)
                return
            await self._fill(stream, state, offset, min(first << CLUSTER_SHIFT, end))
            await self._fill(stream, state, last << CLUSTER_SHIFT, end)
            if state.gone():
                return
            extents = self._extents(stream)
            if give_back:
                self._cut_clusters(stream, first, last)
            else:
                self._unwrite(stream, state, first, last)
            self._resized(stream, extents)
        finally:
            self._let_go(stream)

    async def _fill(self, stream: Stream, state: StreamState, low: int, high: int) -> None:
        """Zeros over [low, high), within one cluster, where it holds data. Sizes stay as they are."""
        high = min(high, max(stream.valid_bytes, low))
        await self._blank(stream, state, low, high)

    async def _blank(self, stream: Stream, state: StreamState, low: int, high: int) -> None:
        """As `_fill`, past the valid bytes too."""
        if low >= high:
            return
        run = self._extents(stream).find(low >> CLUSTER_SHIFT)
        if run is None or run.state != DATA:
            return
        plan = Plan()
        self._plan_range(plan, stream, low, high - low, _NOTHING)
        await self._carry_out(stream, state, plan, 0)

    def _unwrite(self, stream: Stream, state: StreamState, first: int, end: int) -> None:
        """Clusters of a stream that is not sparse read as zeros and stay its own; shared ones become holes.
        Long runs of a thin space are exchanged for others, so that what was written goes back to the pool."""
        extents = self._extents(stream)
        state.begin = state.end = 0
        is_thin = self._data.usage().row_bytes > 0
        for run in extents.remove(first, end):
            for cluster, count, references in self._shared.guarded(run.space, run.length):
                at = run.first + cluster - run.space
                if references > 1:
                    self._unreference(cluster, count)
                    continue
                others = [(cluster, count)]
                if is_thin and run.state == DATA and count << CLUSTER_SHIFT >= self.trim_bytes_min:
                    others = self._exchange(stream, cluster, count)
                for other, length in others:
                    extents.put(at, length, other, UNWRITTEN)
                    at += length

    def _exchange(self, stream: Stream, cluster: int, count: int) -> list[tuple[int, int]]:
        """Other clusters for these, which are freed; the same ones if there are none."""
        try:
            others = self._clusters(stream, count, -1, growing=False)
        except VolumeFull:
            return [(cluster, count)]
        self._unreference(cluster, count)
        return others

    async def set_valid(self, stream: Stream, valid_bytes: int) -> None:
        state = await self._take(stream)
        try:
            self._admit()
            valid_bytes = min(valid_bytes, stream.size_bytes)
            old = stream.valid_bytes
            if valid_bytes > old and not state.gone():
                await self._blank(stream, state, old, min(valid_bytes, (old | CLUSTER_MASK) + 1))
                stream.valid_bytes = max(valid_bytes, stream.valid_bytes)
                self._touch_stream(stream)
        finally:
            self._let_go(stream)

    # clone ----------------------------------------------------------------------------------------
    async def clone(
        self,
        source: Stream,
        source_offset: FileOffset,
        target: Stream,
        target_offset: FileOffset,
        length: int,
    ) -> bool:
        source_end, target_end = source_offset + length, target_offset + length
        if (source_offset | target_offset) & CLUSTER_MASK or source_end > source.size_bytes:
            return False
        if length & CLUSTER_MASK and (source_end != source.size_bytes or target_end < target.size_bytes):
            return False
        if source is target and abs(source_offset - target_offset) < length + CLUSTER_MASK:
            return False
        both = sorted({self._stream_state(s).id: s for s in (source, target)}.items())
        taken: list[Stream] = []
        try:
            for _, stream in both:
                await self._take(stream)
                taken.append(stream)
            self._admit(2)
            return await self._clone(source, source_offset, target, target_offset, length)
        finally:
            for stream in taken:
                self._let_go(stream)

    async def _clone(
        self, source: Stream, source_offset: int, target: Stream, target_offset: int, length: int
    ) -> bool:
        own, other = self._stream_state(source), self._stream_state(target)
        source_end, target_end = source_offset + length, target_offset + length
        if own.gone() or other.gone() or source_end > source.size_bytes:
            return False
        # What lies past the valid bytes in the last shared cluster must be zeros in both.
        valid = source.valid_bytes
        if source_offset < valid < clusters_for(source_end) << CLUSTER_SHIFT and valid & CLUSTER_MASK:
            await self._blank(source, own, valid, (valid | CLUSTER_MASK) + 1)
        old = target.valid_bytes
        if old < target_offset and old & CLUSTER_MASK:
            await self._blank(target, other, old, min((old | CLUSTER_MASK) + 1, target_offset))
        if own.gone() or other.gone():
            return False
        first, end = source_offset >> CLUSTER_SHIFT, clusters_for(source_end)
        shift = (target_offset >> CLUSTER_SHIFT) - first
        pieces = [run for run in self._extents(source).pieces(first, end) if run.state == DATA]
        held = sum(run.length for run in self._extents(target).pieces(first + shift, end + shift)
                   if run.state != HOLE)  # fmt: skip
        self._check_quota(target.node, sum(run.length for run in pieces) - held)
        for run in pieces:
            self._shared.add(run.space, run.length)
        self._cut_clusters(target, first + shift, end + shift)
        extents = self._extents(target)
        for run in pieces:
            extents.put(run.first + shift, run.length, run.space, DATA)
        own.begin = own.end = 0
        target.valid_bytes = max(target.valid_bytes, target_end)
        target.size_bytes = max(target.size_bytes, target_end)
        self._resized(target, extents)
        return True


assert CLUSTER_BYTES == CLUSTER_MASK + 1
