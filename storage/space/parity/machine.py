"""A parity space: one column a disk, P and Q rotating; `SpaceMachine` to the pool, `Backing` to the cache.

    write-back cache --prepare/apply/flush--> writing.py --> columns (data, P, Q)     truth.py --> `#checks`
                     --read-----------------> here, inline; reconstruct.py if a block is missing or bad
    pool             --refill, scrub--------> repair.py

Every block is verified against the truth, whatever disk it comes from; a block that doesn't fit is put
together from the other columns, verified, and rewritten. What is written in place can be redone from the
cache's journal (redo.py), or was "never written" before. Order of a flush (F1): data on the disks, absent
columns durably stale, truth. Claims (claims.py) keep writers, repair and reads with a missing column apart.

Invariants
  M1 A slice whose entries are durable has its data, P and Q durable on every column that isn't stale.
  M2 Between a change of a slice in place and the flush after it, either the journal can redo it, or its
     durable truth says "never written".
  M3 A column's `written` or `flushing` is set while its row has a change that isn't durable: the pool marks
     it stale the moment its disk goes.
  M4 `unflushed` and `flushing` name every stripe whose truth in memory differs from the durable one.
Units: bytes; stripes are counted through the space. Owner: the loop's thread, but `read_blocking` (any
thread; changes nothing). Source: docs/design-spaces.md, docs/formats/parity.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from crc32c import crc32c

from storage.errors import BlockCorrupt, DiskFailed, SlabLost
from storage.pool.batcher import Batcher, detached
from storage.pool.metadata import CopyRecord, SpaceState
from storage.runtime import Event
from storage.space.blocks import BLOCK_SHIFT, EDGE, ZEROS, edges
from storage.space.checksums import next_generation, slab_seed
from storage.space.host import SpaceHost
from storage.space.parity import fresh, hints, reconstruct, repair, replay, writing
from storage.space.parity.claims import Claims
from storage.space.parity.codec import Codec
from storage.space.parity.hints import Hints
from storage.space.parity.map import ParityMap
from storage.space.parity.redo import HEAD, segment_bytes_max
from storage.space.parity.truth import Truth, fits, is_never_written
from storage.space.port import Space, SpaceUsage
from storage.space.resiliency import Provisioning
from storage.space.slabset import SlabSet
from storage.units import BLOCK_BYTES, DiskOffset, SpaceOffset

if TYPE_CHECKING:
    from storage.cache.port import Batch
    from storage.space.blocks import Buffers
    from storage.space.machine import Pace, ScrubResult
    from storage.space.parity.writing import Segment
    from storage.space.slabset import Place

BLOCKING_QUIET_MAX = 16
"""Failed reads in another thread, while nobody held the stripe, before the error is believed;"""
BLOCKING_ATTEMPTS_MAX = 100_000
"""and with writers at work on it, each a race lost to them."""


class ParityMachine:
    """`truth`: the space `#checks`, at least `ParityMap.truth_bytes` large. Made by the pool."""

    def __init__(self, host: SpaceHost, state: SpaceState, slab_bytes: int, seed: int, truth: Space) -> None:
        record = state.record
        self.host = host
        self.state = state
        self.seed = seed
        self.slab_bytes = slab_bytes
        self.map = ParityMap(record.columns, record.parity_columns, record.interleave_bytes, slab_bytes)
        self.codec = Codec(self.map.data_columns, self.map.parities)
        self.truth = Truth(truth, self.map, host.runtime)
        self.claims = Claims(host.runtime)
        self.rows: dict[int, list[SlabSet]] = {}
        self.dirty: dict[SlabSet, None] = {}
        """Always empty: nothing of a parity space is the pool's to flush."""
        self.flush_failure: str | None = None
        self.is_deleted = False
        self.allocating: dict[int, Event] = {}
        self.prepared: dict[int, list[Segment]] = {}
        """Stripe -> what `apply` will write there."""
        self.wanted: Counter[int] = Counter()
        """Rows that somebody makes ready to write to, though nothing may be written in them yet."""
        self.unflushed: dict[int, None] = {}
        """Stripes changed since the last flush began,"""
        self.flushing: dict[int, None] = {}
        """and those that it makes durable."""
        self.unflushed_disks: set[int] = set()
        self.hints = Hints(host.runtime.now())
        self.suspects: dict[tuple[int, int, int], None] = {}
        """(row, first slice, slices) that a read in another thread found bad."""
        self._row_bytes = self.map.row_bytes
        self._unit_shift = self.map.interleave_bytes.bit_length() - 1
        self._unit_mask = self.map.interleave_bytes - 1
        self._data = self.map.data_columns
        self._columns = self.map.columns
        self._page_slices = self.map.page_slices
        self._birth = crc32c(host.runtime.random_bytes(16)) or 1
        self._flushes = Batcher(host.runtime, "parity flush", self._flush_work)

    # -- what it is ----------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        return self.state.record.name

    @property
    def size_bytes(self) -> int:
        return self.state.record.size_bytes

    @property
    def stripe_bytes(self) -> int:
        return self.map.stripe_bytes

    @property
    def tolerance(self) -> int:
        return self.map.parities

    def usage(self) -> SpaceUsage:
        row_bytes, size = self.map.row_bytes, self.size_bytes
        allocated = len(self.state.rows) * row_bytes
        could = self.host.rows_available(self) * row_bytes
        rest = max(0, -(-size // row_bytes) * row_bytes - allocated)
        footprint = len(self.state.rows) * self.map.columns * self.slab_bytes
        gives_back = row_bytes if self.state.record.provisioning is Provisioning.THIN else 0
        return SpaceUsage(size, min(allocated, size), min(could, rest), footprint, gives_back)

    # -- rows ----------------------------------------------------------------------------------------------

    def is_wanted(self, row: int) -> bool:
        """Somebody is about to write to it: it is not to be released."""
        return self.wanted[row] > 0 or any(one // self.map.row_stripes == row for one in self.prepared)

    @contextmanager
    def wanting(self, stripes: Iterable[int]) -> Iterator[list[int]]:
        """Their rows are not released meanwhile; gives the rows, in order."""
        rows = sorted({number // self.map.row_stripes for number in stripes})
        self.wanted.update(rows)
        try:
            yield rows
        finally:
            self.wanted.subtract(rows)
            for row in rows:
                if not self.wanted[row]:
                    del self.wanted[row]

    def row(self, number: int) -> list[SlabSet] | None:
        sets = self.rows.get(number)
        if sets is None:
            columns = self.state.columns(number)
            if columns is not None:
                sets = self.attach_row(number, columns)
        return sets

    def attach_row(self, number: int, columns: list[list[CopyRecord]]) -> list[SlabSet]:
        space_id = self.state.record.space_id
        sets = [
            SlabSet(space_id, number, column, copies, slab_seed(self.seed, number, column))
            for column, copies in enumerate(columns)
        ]
        for slabs in sets:
            self.host.resolve(slabs)
        self.rows[number] = sets
        return sets

    def detach_row(self, number: int) -> None:
        for slabs in self.rows.pop(number, ()):
            slabs.is_dead = True
            slabs.logged = slabs.written = 0
        self.truth.forget_row(number)
        self.hints.forget_row(number)

    def is_row_lost(self, number: int) -> bool:
        sets = self.row(number)
        return sets is not None and sum(1 for slabs in sets if not slabs.readers) > self.tolerance

    def may_mark_stale(self, slabs: SlabSet) -> bool:
        return slabs.row in self.rows and not self.is_row_lost(slabs.row)

    async def prepare_row(self, number: int) -> None:
        await self.truth.clear_row(number)

    async def recover(self, logged: Mapping[int, Mapping[int, int]]) -> None:
        """Nothing: what a crash left torn is redone by the cache (`redo`), whose journal knows of it."""

    def is_durable(self, stripe_number: int) -> bool:
        """Is the truth of the stripe durable as it is in memory?"""
        return stripe_number not in self.unflushed and stripe_number not in self.flushing

    def is_row_durable(self, number: int) -> bool:
        stripes = range(number * self.map.row_stripes, (number + 1) * self.map.row_stripes)
        return not any(one in stripes for one in (*self.unflushed, *self.flushing))

    def note_change(self, stripe_number: int) -> None:
        """The truth of the stripe has changed in memory (M3, M4)."""
        self.unflushed[stripe_number] = None
        for slabs in self.rows.get(stripe_number // self.map.row_stripes, ()):
            slabs.written = 1

    def stripe_number(self, row: int, stripe: int) -> int:
        return row * self.map.row_stripes + stripe

    def birth_generation(self) -> int:
        """Of a block that was never written, or not since it was trimmed. They begin anywhere, so that an
        entry is never the same as one that the block had in an earlier life."""
        self._birth = next_generation(self._birth)
        return self._birth

    # -- reading -------------------------------------------------------------------------------------------

    def check_range(self, offset: int, length: int) -> None:
        if offset < 0 or length < 0 or offset + length > self.size_bytes:
            raise ValueError(f"bytes {offset}+{length} are outside of space {self.name} of {self.size_bytes}")

    def check_blocks(self, offset: int, length: int) -> None:
        self.check_range(offset, length)
        if (offset | length) & EDGE:
            raise ValueError(f"bytes {offset}+{length} of space {self.name} are no whole blocks")

    def place_of(self, offset: int, length: int) -> tuple[int, int, int, int, int]:
        """(row, stripe, column, first slice, bytes): of the range, what is consecutive in one slab and in one
        page of the truth. The map, unrolled for the hot path."""
        row, within = divmod(offset, self._row_bytes)
        stripe, role = divmod(within >> self._unit_shift, self._data)
        rest = within & self._unit_mask
        first = ((stripe << self._unit_shift) + rest) >> BLOCK_SHIFT
        run = self._unit_mask + 1 - rest
        page_rest = (self._page_slices - first % self._page_slices) << BLOCK_SHIFT
        return row, stripe, (stripe + role) % self._columns, first, min(run, length, page_rest)

    def read_now(self, offset: SpaceOffset, into: memoryview) -> bool:
        self.check_range(offset, len(into))
        if not (offset | len(into)) & EDGE:
            return self._read_aligned_now(offset, into)
        for block, skip, begin, finish in edges(offset, len(into)):
            if not skip and finish - begin & EDGE == 0:
                if not self._read_aligned_now(block, into[begin:finish]):
                    return False
                continue
            buffer = memoryview(bytearray(BLOCK_BYTES))
            if not self._read_aligned_now(block, buffer):
                return False
            into[begin:finish] = buffer[skip : skip + finish - begin]
        return True

    def _read_aligned_now(self, offset: int, into: memoryview) -> bool:
        done, length = 0, len(into)
        while done < length:
            row, _, column, first, run = self.place_of(offset + done, length - done)
            view = into if run == length else into[done : done + run]
            sets = self.rows.get(row) or self.row(row)
            if sets is None:
                view[:] = ZEROS[:run]
            elif not self._read_run_now(sets[column], first, view):
                return False
            done += run
        return True

    def _read_run_now(self, slabs: SlabSet, first: int, view: memoryview) -> bool:
        number, within = divmod(first, self._page_slices)
        number += slabs.row * self.map.row_pages
        page = self.truth.pages.get(number) or self.truth.now(number)
        if page is None:
            return False
        step = self.map.group * 2
        at = within * step + 2 * slabs.column
        if is_never_written(page, at, step, len(view) >> BLOCK_SHIFT):
            view[:] = ZEROS[: len(view)]
            return True
        if not slabs.readers:
            return False
        place = slabs.readers[0]
        try:
            if not place.disk.read_now(DiskOffset(place.data + (first << BLOCK_SHIFT)), (view,)):
                return False
        except DiskFailed:  # the slow way meets it too, and tells the pool
            return False
        return fits(page, at, step, slabs.seed, first, view)

    async def read(self, offset: SpaceOffset, into: memoryview) -> None:
        """Raises: BlockCorrupt, SlabLost, and what the truth's space raises."""
        if self.read_now(offset, into):
            return
        for block, skip, begin, finish in edges(offset, len(into)):
            if not skip and finish - begin & EDGE == 0:
                await self._read_aligned(block, into[begin:finish])
            else:
                buffer = memoryview(bytearray(BLOCK_BYTES))
                await self._read_aligned(block, buffer)
                into[begin:finish] = buffer[skip : skip + finish - begin]

    async def _read_aligned(self, offset: int, into: memoryview) -> None:
        done, length = 0, len(into)
        while done < length:
            row, stripe, column, first, run = self.place_of(offset + done, length - done)
            view = into[done : done + run]
            sets = self.row(row)
            if sets is None:
                view[:] = ZEROS[:run]
            elif not await self._read_run(sets[column], first, view):
                number = self.stripe_number(row, stripe)
                claim = await self.claims.acquire(number, number + 1)
                try:
                    await self._read_held(row, column, first, view)
                finally:
                    self.claims.release(claim)
            done += run

    async def _read_run(self, slabs: SlabSet, first: int, view: memoryview) -> bool:
        """Without a claim: the blocks as they are, if they fit."""
        page = await self.truth.load(self.map.page_of(slabs.row, first))
        if self._read_run_now(slabs, first, view):
            return True
        if not slabs.readers or slabs.is_dead:
            return False
        place = slabs.readers[0]
        try:
            await place.disk.read(DiskOffset(place.data + (first << BLOCK_SHIFT)), (view,))
        except DiskFailed:  # met again under the claim, and told to the pool there
            return False
        page = self.truth.pages.get(self.map.page_of(slabs.row, first), page)
        at, step = self.truth.base(first) + 2 * slabs.column, self.map.group * 2
        return not slabs.is_dead and fits(page, at, step, slabs.seed, first, view)

    async def _read_held(self, row: int, column: int, first: int, view: memoryview) -> None:
        sets = self.row(row)
        if sets is None:  # trimmed while we waited
            view[:] = ZEROS[: len(view)]
            return

        slices = await reconstruct.fetch(self, sets, first, len(view) >> BLOCK_SHIFT, (column,))
        view[:] = slices.blocks[column]

    def read_blocking(self, offset: SpaceOffset, into: memoryview) -> None:
        """From any thread."""
        self.check_range(offset, len(into))
        for block, skip, begin, finish in edges(offset, len(into)):
            if not skip and finish - begin & EDGE == 0:
                self._read_aligned_blocking(block, into[begin:finish])
            else:
                buffer = memoryview(bytearray(BLOCK_BYTES))
                self._read_aligned_blocking(block, buffer)
                into[begin:finish] = buffer[skip : skip + finish - begin]

    def _read_aligned_blocking(self, offset: int, into: memoryview) -> None:
        done, length = 0, len(into)
        while done < length:
            row, _, column, first, run = self.place_of(offset + done, length - done)
            self._read_run_blocking(row, column, first, into[done : done + run])
            done += run

    def _read_run_blocking(self, row: int, column: int, first: int, view: memoryview) -> None:
        trouble: BlockCorrupt | SlabLost | None = None
        number = self.stripe_number(row, first // self.map.unit_blocks)
        quiet = 0
        for attempt in range(BLOCKING_ATTEMPTS_MAX):
            sets = self.rows.get(row) or self._transient_row(row)
            if sets is None:
                view[:] = ZEROS[: len(view)]
                return
            is_quiet = self.claims.is_free(number, number + 1)
            try:
                slices = reconstruct.fetch_blocking(self, sets, first, len(view) >> BLOCK_SHIFT, (column,))
            except (BlockCorrupt, SlabLost) as error:
                trouble = error
                quiet += is_quiet and self.claims.is_free(number, number + 1)
                if quiet == BLOCKING_QUIET_MAX:
                    break
                continue
            view[:] = slices.blocks[column]
            if attempt or slices.bad:
                self.suspects[row, first, len(view) >> BLOCK_SHIFT] = None
            return
        assert trouble is not None
        raise trouble

    def _transient_row(self, row: int) -> list[SlabSet] | None:
        """For other threads: the row, not kept."""
        columns = self.state.columns(row)
        if columns is None:
            return None
        sets = [SlabSet(0, row, c, copies, slab_seed(self.seed, row, c)) for c, copies in enumerate(columns)]
        for slabs in sets:
            self.host.resolve(slabs)
        return sets

    # -- writing (writing.py) ------------------------------------------------------------------------------

    async def prepare(self, batch: Batch) -> Sequence[bytes]:
        return await writing.prepare(self, batch)

    def redo_bytes_max(self, blocks: int) -> int:
        return blocks * (segment_bytes_max(self.map) + HEAD.size)

    async def apply(self, batch: Batch) -> None:
        await detached(self.host.runtime, lambda: writing.apply(self, batch), "parity apply")

    async def redo(self, records: Sequence[bytes], batch: Batch) -> None:
        """Raises LabelCorrupt if the records make no sense."""
        await detached(self.host.runtime, lambda: replay.redo(self, records, batch), "parity redo")

    def may_pass(self, offset: int, length: int) -> bool:
        return length > 0 and not offset % self.stripe_bytes and not length % self.stripe_bytes

    def pass_ranges(self, offset: int, length: int) -> Sequence[tuple[int, int]]:
        """None: stripes are "never written", durably, until their data is there (M2)."""
        return ()

    def write_fresh_now(self, offset: SpaceOffset, data: Buffers) -> bool:
        return fresh.write_fresh_now(self, offset, data)

    async def write_fresh(self, offset: SpaceOffset, data: Buffers) -> None:
        await detached(self.host.runtime, lambda: fresh.write_fresh(self, offset, data), "parity write")

    async def settle(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Nothing: a stripe that was being written is "never written" (M2)."""

    async def trim(self, offset: SpaceOffset, length: int) -> None:
        """Whole stripes of the range read as zeros; rows in which nothing else is written go back."""
        await fresh.trim(self, offset, length)

    async def flush(self) -> None:
        """Raises: SlabLost (more columns are gone than tolerated), PoolUnavailable, what the truth's space
        raises."""
        if self.suspects:
            await self.repair_suspects()
        if self.unflushed or self.unflushed_disks or self._flushes.is_active:
            await self._flushes.run()

    async def _flush_work(self) -> None:
        stripes, self.unflushed = self.unflushed, {}
        self.flushing = stripes
        disks, self.unflushed_disks = self.unflushed_disks, set()
        images = self.truth.take_images()
        rows = {number // self.map.row_stripes for number in stripes}
        sets = [slabs for row in sorted(rows) for slabs in self.rows.get(row, ())]
        for slabs in sets:
            slabs.written, slabs.flushing = 0, 1
        try:
            await self.host.flush_disks(sorted(disks))
            await self._settle_rows(rows)
            await self.truth.write_images(images)
        except BaseException:
            self.truth.give_back(images)
            self.unflushed = {**stripes, **self.unflushed}
            self.unflushed_disks |= disks
            for slabs in sets:
                slabs.written = 1
            raise
        finally:
            self.flushing = {}
            for slabs in sets:
                slabs.flushing = 0
        if self.hints.is_due(self.host.runtime.now()):
            await hints.write_some(self)

    async def _settle_rows(self, rows: set[int]) -> None:
        """P1: absent columns of rows that were written to are durably stale; and the rows durably exist."""
        is_young = False
        for number in sorted(rows):
            sets = self.rows.get(number)
            if sets is None:
                continue
            if any(len(slabs.readers) < len(slabs.copies) for slabs in sets):
                await self.host.mark_stale(self, number)
            is_young |= sets[0].is_young
        if is_young:
            await self.host.commit()

    # -- repair (repair.py) --------------------------------------------------------------------------------

    async def refill(self, slabs: SlabSet, target: Place, pace: Pace) -> int:
        return await repair.refill(self, slabs, target, pace)

    async def scrub_row(self, number: int, pace: Pace) -> ScrubResult:
        return await repair.scrub_row(self, number, pace)

    async def repair_suspects(self) -> None:
        await repair.repair_suspects(self)

    @property
    def is_thin(self) -> bool:
        return self.state.record.provisioning is Provisioning.THIN
