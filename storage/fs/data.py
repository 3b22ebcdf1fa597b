"""Bytes: read, write, zero, trim, clone.

A write is planned first, without effect: which bytes go where in the data space, in which clusters (new
ones taken from the allocator), what must be read for it. The plan is then carried out, at once
(`write_now`) or awaiting (`write`), and only after the last byte is written do the runs and sizes change. A
plan that fails gives its clusters back; nothing a reader could see has changed.

Bytes a cluster holds below `valid_bytes` must be the stream's: when a cluster gets its first bytes the rest
of it up to `valid_bytes` is written as zeros along with them. Past `valid_bytes` nothing is written (but to
the end of the block, which saves the space a read): a file of 1 KiB costs one block, not a cluster.

Shared clusters are not written in place: the write moves to new ones, with the bytes around it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from storage.errors import PoolFull, QuotaExceeded, VolumeFull
from storage.fs.extents import DATA, HOLE, UNWRITTEN, Run
from storage.fs.limits import (
    CLUSTER_BYTES,
    CLUSTER_MASK,
    CLUSTER_SHIFT,
    PAGE_BYTES,
    QUEUE_BYTES_MAX,
    WRITE_NOW_MAX,
)
from storage.fs.placement import READ, WRITE
from storage.fs.port import Stream
from storage.fs.state import ATTRIBUTE_SPARSE, NodeState, StreamState
from storage.fs.streams import Streams, clusters_for
from storage.units import FileOffset, SpaceOffset

_ZEROS = memoryview(bytes(1 << 20))
_ZERO_CLUSTER = _ZEROS[:CLUSTER_BYTES]
Part = Callable[[int, int], list[memoryview | bytes]]
"""The bytes to be written of the range [low, high) of a stream."""


def _fill_zeros(into: memoryview) -> None:
    for at in range(0, len(into), len(_ZEROS)):
        part = into[at : at + len(_ZEROS)]
        part[:] = _ZEROS[: len(part)]


_WRITE_ATTEMPTS = 2
"""Once for clusters that are being released, once for the other tier; a third time decides."""


class _OtherTier(VolumeFull):
    """The pool of one tier is full; the other one has not been tried."""


@dataclass(slots=True)
class Plan:
    """What a write will do. `taken` clusters go back if it fails; `installs` are put into the map if it
    does not."""

    reads: list[tuple[int, memoryview]] = field(default_factory=list)
    writes: list[tuple[int, list[memoryview | bytes], bool]] = field(default_factory=list)
    """(byte offset in the space, buffers, fresh)"""
    taken: list[tuple[int, int]] = field(default_factory=list)
    installs: list[Run] = field(default_factory=list)
    growth: int = 0
    """Clusters that the stream has not had."""


class Data(Streams):
    """Reading and writing streams."""

    # reading --------------------------------------------------------------------------------------
    def read_now(self, stream: Stream, offset: FileOffset, into: memoryview) -> bool:
        state: StreamState | None = stream.private  # type: ignore[assignment]
        end = offset + len(into)
        if state is not None and state.begin <= offset < state.end >= end and end <= stream.valid_bytes:
            if self._recent is None:
                return self._data.read_now(SpaceOffset(offset + state.delta), into)
            return state.space.read_now(SpaceOffset(offset + state.delta), into) and self._used_run(
                state, offset, end, READ
            )
        parts = self._parts(stream, offset, into)
        done = all(self._data.read_now(where, part) for where, part in parts)
        if done and self._recent is not None:
            self._note_read(stream, offset, parts)
        return done

    async def read(self, stream: Stream, offset: FileOffset, into: memoryview) -> None:
        parts = self._parts(stream, offset, into)
        epoch = self._begin_move()
        try:
            for where, part in parts:
                await self._data.read(where, part)
        finally:
            self._end_move(epoch)
        if self._recent is not None:
            self._note_read(stream, offset, parts)

    def _note_read(self, stream: Stream, offset: int, parts: list[tuple[SpaceOffset, memoryview]]) -> None:
        sizes = [(where, len(part)) for where, part in parts]
        total = sum(size for _, size in sizes)
        self._used_parts(self._stream_state(stream), offset, total, sizes, READ)

    def _note_write(self, state: StreamState, offset: int, length: int, plan: Plan) -> None:
        if self._recent is None:
            return
        sizes = [(where, min(sum(map(len, buffers)), length)) for where, buffers, _ in plan.writes]
        self._used_parts(state, offset, length, sizes, WRITE)

    def _parts(self, stream: Stream, offset: int, into: memoryview) -> list[tuple[SpaceOffset, memoryview]]:
        """What must be read from the space for this range; the rest is filled with zeros here."""
        end = offset + len(into)
        valid_end = min(end, max(stream.valid_bytes, offset))
        if valid_end < end:
            _fill_zeros(into[valid_end - offset :])
        out: list[tuple[SpaceOffset, memoryview]] = []
        if valid_end == offset:
            return out
        state = self._stream_state(stream)
        for piece in self._extents(stream).pieces(offset >> CLUSTER_SHIFT, clusters_for(valid_end)):
            begin = piece.first << CLUSTER_SHIFT
            low, high = max(offset, begin), min(valid_end, begin + (piece.length << CLUSTER_SHIFT))
            part = into[low - offset : high - offset]
            if piece.state == DATA:
                out.append((SpaceOffset((piece.space << CLUSTER_SHIFT) + low - begin), part))
            else:
                _fill_zeros(part)
        if len(out) == 1 and not state.busy:
            self._remember_run(stream, state, offset >> CLUSTER_SHIFT)
        return out

    def _remember_run(self, stream: Stream, state: StreamState, cluster: int) -> None:
        """Make the next access in this run quick."""
        run = self._extents(stream).find(cluster)
        if run is None or run.state != DATA:
            return
        state.begin = run.first << CLUSTER_SHIFT
        state.end = (run.first + run.length) << CLUSTER_SHIFT
        state.delta = (run.space - run.first) << CLUSTER_SHIFT
        if self._recent is not None:
            zone = self._allocator.zone_of(run.space + cluster - run.first)
            self._remember_tier(state, zone)
        state.writable = self._shared.is_empty() or all(
            references == 1 for _, _, references in self._shared.guarded(run.space, run.length)
        )

    # writing --------------------------------------------------------------------------------------
    def write_now(self, stream: Stream, offset: FileOffset, data: memoryview) -> bool:
        state = self._stream_state(stream)
        end = offset + len(data)
        if state.busy or self._failure is not None:
            return False
        if state.begin <= offset < state.end >= end and end <= stream.valid_bytes and state.writable:
            space = self._data if self._recent is None else state.space
            if not space.write_now(SpaceOffset(offset + state.delta), (data,)):
                return False
            self._wrote(stream)
            return self._recent is None or self._used_run(state, offset, end, WRITE)
        if end - offset > WRITE_NOW_MAX or self._overlay.queued_bytes() > QUEUE_BYTES_MAX:
            return False
        if not len(data):
            return True
        self._admit()
        try:
            plan = self._plan(stream, offset, data)
        except VolumeFull as error:
            if self._allocator.pending and not isinstance(error, QuotaExceeded):
                return False
            raise
        done = False
        try:
            done = all(self._data.read_now(SpaceOffset(where), into) for where, into in plan.reads) and all(
                self._data.write_now(SpaceOffset(where), buffers, fresh)
                for where, buffers, fresh in plan.writes
            )
        except PoolFull as error:
            if not (self._allocator.pending or self._hand_over(plan.taken)):  # else `write` may find some
                raise VolumeFull(
                    f"the pool has no room for {end - offset} bytes at {offset}: {error}"
                ) from error
        finally:
            if not done:
                self._abandon(plan)
        if done:
            self._apply(stream, state, plan, end)
            self._note_write(state, offset, end - offset, plan)
        return done

    async def write(self, stream: Stream, offset: FileOffset, data: memoryview) -> None:
        await self._wait_for_queue()
        state = await self._take(stream)
        try:
            self._admit()
            if len(data) and not state.gone():
                await self._write(stream, state, offset, data)
        finally:
            self._let_go(stream)

    async def _write(self, stream: Stream, state: StreamState, offset: int, data: memoryview) -> None:
        """A write by whoever has taken the stream."""
        end = offset + len(data)
        for _ in range(_WRITE_ATTEMPTS):
            try:
                plan = self._plan(stream, offset, data)
                await self._carry_out(stream, state, plan, end)
                self._note_write(state, offset, end - offset, plan)
                return
            except _OtherTier:
                pass
            except VolumeFull as error:
                if not self._allocator.pending or isinstance(error, QuotaExceeded):
                    raise
                await self._wait_for_clusters()
            if state.gone():
                return
        plan = self._plan(stream, offset, data)
        await self._carry_out(stream, state, plan, end)

    async def _carry_out(self, stream: Stream, state: StreamState, plan: Plan, end: int) -> None:
        """Perform a plan by whoever has taken the stream. Its new clusters are hidden from commits until it
        is done."""
        allocator = self._allocator
        for first, count in plan.taken:
            allocator.hide(first, count)
        done = False
        charged = self._charged(stream.node, stream.node.private.security)  # type: ignore[attr-defined]
        growth = plan.growth << CLUSTER_SHIFT
        if charged is not None:
            charged.promised += growth
        epoch = self._begin_move()
        try:
            for where, into in plan.reads:
                await self._data.read(SpaceOffset(where), into)
            for where, buffers, fresh in plan.writes:
                await self._data.write(SpaceOffset(where), buffers, fresh)
            done = not state.gone()
        except PoolFull as error:
            kind = _OtherTier if self._hand_over(plan.taken) else VolumeFull
            raise kind(f"the pool has no room for a write that ends at {end}: {error}") from error
        finally:
            self._end_move(epoch)
            if charged is not None:
                charged.promised -= growth
            for first, count in plan.taken:
                if done:
                    allocator.use_reserved(first, count)
                else:
                    allocator.unreserve(first, count)
        if done:
            self._apply(stream, state, plan, end)

    def _abandon(self, plan: Plan) -> None:
        for first, count in plan.taken:
            self._allocator.give_back(first, count)

    def _wrote(self, stream: Stream) -> None:
        """Bytes were written in place, nothing else changed."""
        self._data_dirty = True
        stream.private.stamp += 1  # type: ignore[attr-defined]
        holder: NodeState = stream.node.private  # type: ignore[assignment]
        self._changes = holder.changed_at = self._changes + 1
        if not self._armed:
            self._arm()

    def _apply(self, stream: Stream, state: StreamState, plan: Plan, end: int) -> None:
        """The bytes are written: let the stream show them."""
        self._wrote(stream)
        if plan.installs:
            state.begin = state.end = 0
            extents = self._extents(stream)
            for run in plan.installs:
                for gone in extents.put(*run):
                    if gone.space != run.space + gone.first - run.first:
                        self._unreference(gone.space, gone.length)
            allocated = extents.allocated << CLUSTER_SHIFT
            self._charge(stream.node, allocated - stream.allocated_bytes)
            stream.allocated_bytes = allocated
        elif end <= stream.valid_bytes:
            return
        if end > stream.valid_bytes:
            stream.valid_bytes = end
            if end > stream.size_bytes:
                stream.size_bytes = end
        self._touch_stream(stream)
        if end:
            self._remember_run(stream, state, (end - 1) >> CLUSTER_SHIFT)

    # planning -------------------------------------------------------------------------------------
    def _plan(self, stream: Stream, offset: int, data: memoryview) -> Plan:
        """Plan the write of `data` at `offset`. Raises VolumeFull with nothing changed."""
        plan = Plan()
        valid = stream.valid_bytes
        extents = self._extents(stream)
        begin = offset
        lead = 0
        try:
            if offset > valid:
                tail = extents.find(valid >> CLUSTER_SHIFT) if valid & CLUSTER_MASK else None
                if tail is not None and tail.state == DATA:
                    if valid >> CLUSTER_SHIFT == offset >> CLUSTER_SHIFT:
                        begin, lead = valid, offset - valid
                    else:
                        self._plan_range(
                            plan, stream, valid, (valid | CLUSTER_MASK) + 1 - valid, _ZERO_CLUSTER[:0]
                        )
                if not stream.node.attributes & ATTRIBUTE_SPARSE:
                    self._plan_gap(plan, stream, clusters_for(stream.size_bytes), offset >> CLUSTER_SHIFT)
            self._plan_range(plan, stream, begin, lead, data)
            self._check_quota(stream.node, plan.growth)
        except VolumeFull:
            self._abandon(plan)
            raise
        return plan

    def _plan_gap(self, plan: Plan, stream: Stream, first: int, end: int) -> None:
        """A file that is not sparse has clusters everywhere below its end."""
        if end <= first:
            return
        for piece in self._extents(stream).pieces(first, end):
            if piece.state == HOLE:
                at = piece.first
                for cluster, count in self._take_for(plan, stream, piece, growing=False):
                    plan.installs.append(Run(at, count, cluster, UNWRITTEN))
                    at += count

    def _take_for(self, plan: Plan, stream: Stream, piece: Run, growing: bool) -> list[tuple[int, int]]:
        last = plan.installs[-1] if plan.installs else None
        if last is not None and last.first + last.length == piece.first:
            hint = last.space + last.length
        else:
            before = self._extents(stream).find(piece.first - 1) if piece.first else None
            hint = -1 if before is None else before.space + (piece.first - before.first)
        runs = self._clusters(stream, piece.length, hint, growing)
        plan.taken += runs
        if piece.state == HOLE:
            plan.growth += piece.length
        return runs

    def _plan_range(self, plan: Plan, stream: Stream, begin: int, lead: int, data: memoryview) -> None:
        """Plan `lead` zeros at `begin` (less than a cluster), then `data`."""
        middle = begin + lead
        end = middle + len(data)
        valid = stream.valid_bytes
        is_growing = end > stream.size_bytes

        def part(low: int, high: int) -> list[memoryview | bytes]:
            out: list[memoryview | bytes] = []
            if low < middle:
                out.append(_ZERO_CLUSTER[: min(high, middle) - low])
            if high > middle:
                out.append(data[max(low, middle) - middle : high - middle])
            return out

        for piece in self._extents(stream).pieces(begin >> CLUSTER_SHIFT, clusters_for(end)):
            if piece.state != DATA:
                self._plan_new(plan, stream, piece, begin, end, part, is_growing)
                continue
            for cluster, count, references in self._shared.guarded(piece.space, piece.length):
                first = piece.first + cluster - piece.space
                if references > 1:
                    self._plan_new(plan, stream, Run(first, count, cluster, DATA), begin, end, part, False)
                    continue
                at = first << CLUSTER_SHIFT
                low, high = max(begin, at), min(end, at + (count << CLUSTER_SHIFT))
                buffers = part(low, high)
                if high == end and end > valid and end % PAGE_BYTES:
                    pad = min(-end % PAGE_BYTES, CLUSTER_BYTES)
                    buffers.append(_ZERO_CLUSTER[:pad])
                plan.writes.append(((cluster << CLUSTER_SHIFT) + low - at, buffers, False))

    def _plan_new(
        self, plan: Plan, stream: Stream, piece: Run, begin: int, end: int, part: Part, growing: bool
    ) -> None:
        """The clusters of `piece` get their first bytes, or (shared ones, state DATA) new places."""
        valid = stream.valid_bytes
        at = piece.first << CLUSTER_SHIFT
        if piece.state == UNWRITTEN:
            runs = [(piece.space, piece.length)]
            # In place. Only past valid_bytes it is sure that no durable state shows these clusters as data.
            fresh = at >= valid
        else:
            runs = self._take_for(plan, stream, piece, growing)
            fresh = True
        first = piece.first
        for cluster, count in runs:
            plan.installs.append(Run(first, count, cluster, DATA))
            at = first << CLUSTER_SHIFT
            stop = at + (count << CLUSTER_SHIFT)
            low, high = max(begin, at), min(end, stop)
            old = (piece.space + first - piece.first) << CLUSTER_SHIFT if piece.state == DATA else -1
            buffers: list[memoryview | bytes] = []
            if low > at:
                buffers.append(self._around(plan, old, low - at))
            buffers += part(low, high)
            if high < stop:
                upto = min(stop, max(valid, high))
                if upto > high:
                    buffers.append(self._around(plan, old + high - at if old >= 0 else -1, upto - high))
                pad = -upto % PAGE_BYTES
                if pad:
                    buffers.append(_ZERO_CLUSTER[:pad])
            plan.writes.append((cluster << CLUSTER_SHIFT, buffers, fresh))
            first += count

    def _around(self, plan: Plan, old: int, length: int) -> memoryview:
        """`length` bytes beside the written ones: zeros, or what the shared cluster holds at `old`."""
        if old < 0:
            return _ZERO_CLUSTER[:length]
        copy = memoryview(bytearray(length))
        plan.reads.append((old, copy))
        return copy
