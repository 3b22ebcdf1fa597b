"""A space of equal copies: simple (one copy) and mirror (two or more), striped over columns.

    read   map -> checksum page in memory? -> first reader, page cache -> verify              (`read_now`)
           any "no" on the way -> slow.py: wait, load, repair from the other copy
    write  map -> region in the intent log? -> new checksums -> every writer -> page dirty    (`write_now`)
           any "no" -> slow.py: allocate the row, mark absent copies stale, log the region, wait for the disks
    flush  the pool: dirty checksum pages, then disks, then (if rows are new) the slab map

Checksum pages change in memory only once the data is written to all writers; they reach the disk at a flush.
In between a power cut leaves blocks that don't match: the intent log says where to look, reconcile.py makes
them match. Claims: an asynchronous write or repair claims its byte range; inline calls that overlap one say
False, others wait. `fresh` writes log a run of regions ahead, so that sequential allocation waits once per 16
regions, and need no second disk flush (core.py, P4). They don't skip the log: that would leave blocks behind
that fail their checksum after a power cut. Invariants: S1..S4 of slabset.py; bytes that failed their checksum
are never returned. Units: bytes. Owner: the loop's thread, except `read_blocking` (any thread; changes
nothing). Source: docs/formats/slab.md.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping

from crc32c import crc32c

from storage.errors import DiskFailed
from storage.pool.intents import region_bytes
from storage.pool.metadata import CopyRecord, SpaceState
from storage.runtime import Event
from storage.space import blocking, reconcile, slow, upkeep
from storage.space.blocks import (
    BLOCK_SHIFT,
    EDGE,
    PAGE_SHIFT,
    ZEROS,
    Buffers,
    Claim,
    edges,
    one_view,
    verify_mixed,
)
from storage.space.checksums import (
    GENERATION_STEP,
    MASK,
    PAGE_BYTES,
    new_page,
    put,
    slab_seed,
    stamp,
    verify,
)
from storage.space.host import SpaceHost
from storage.space.machine import Pace, ScrubResult
from storage.space.port import SpaceUsage
from storage.space.resiliency import Provisioning
from storage.space.slabset import Place, SlabSet
from storage.space.stripemap import PAGE_BLOCKS, StripeMap
from storage.units import BLOCK_BYTES, DiskOffset, SpaceOffset


class MirrorSpace:
    """`storage.space.port.Space`. Made by the pool."""

    def __init__(self, host: SpaceHost, state: SpaceState, slab_bytes: int, seed: int) -> None:
        self.host = host
        self.state = state
        self.slab_bytes = slab_bytes
        self.map = StripeMap(state.record.columns, state.record.interleave_bytes, slab_bytes)
        self.seed = seed
        self.region_shift = region_bytes(slab_bytes).bit_length() - 1
        self.rows: dict[int, list[SlabSet]] = {}
        self.dirty: dict[SlabSet, None] = {}
        """In the order in which they became so: the same run makes the same flushes."""
        self.claims: list[Claim] = []
        self.allocating: dict[int, Event] = {}
        self.suspects: set[tuple[int, int, int, int]] = set()
        """Runs (row, column, slab offset, length) that `read_blocking` saw a bad copy of, or whose write has
        reached some copies only; the next flush repairs them."""
        self.flush_failure: str | None = None
        self.is_deleted = False
        self._columns = state.record.columns
        self._row_bytes = self.map.row_bytes
        self._unit_shift = self.map.unit_bytes.bit_length() - 1
        self._unit_mask = self.map.unit_bytes - 1
        self._size_bytes = state.record.size_bytes

    # -- what it is ----------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        return self.state.record.name

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    def usage(self) -> SpaceUsage:
        allocated = len(self.state.rows) * self._row_bytes
        could = self.host.rows_available(self) * self._row_bytes
        rest = max(0, -(-self._size_bytes // self._row_bytes) * self._row_bytes - allocated)
        footprint = allocated * self.state.record.copies
        gives_back = self._row_bytes if self.state.record.provisioning is Provisioning.THIN else 0
        return SpaceUsage(
            self._size_bytes, min(allocated, self._size_bytes), min(could, rest), footprint, gives_back
        )

    @property
    def tolerance(self) -> int:
        return self.state.record.tolerance

    # -- rows ----------------------------------------------------------------------------------------------

    def row(self, number: int) -> list[SlabSet] | None:
        """The slab sets of a row, one a column; None if it isn't allocated."""
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
            slabs.dirty.clear()
            slabs.pages.clear()
            slabs.logged = slabs.written = 0
            self.dirty.pop(slabs, None)

    def place_of(self, offset: int) -> tuple[int, int, int, int]:
        """(row, column, slab offset, bytes up to the end of the unit): the stripe map, unrolled for the hot
        path."""
        row, within = divmod(offset, self._row_bytes)
        rest = within & self._unit_mask
        if self._columns == 1:
            return row, 0, within, self._unit_mask + 1 - rest
        stripe, column = divmod(within >> self._unit_shift, self._columns)
        return row, column, (stripe << self._unit_shift) + rest, self._unit_mask + 1 - rest

    def is_claimed(self, start: int, end: int) -> bool:
        return any(claim.start < end and start < claim.end for claim in self.claims)

    def check_range(self, offset: int, length: int) -> None:
        if offset < 0 or length < 0 or offset + length > self._size_bytes:
            raise ValueError(
                f"bytes {offset}+{length} are outside of space {self.name} of {self._size_bytes}"
            )

    # -- reading -------------------------------------------------------------------------------------------

    def read_now(self, offset: SpaceOffset, into: memoryview) -> bool:
        length = len(into)
        if (offset | length) & EDGE:
            return self._read_edges_now(offset, into)
        if offset + length > self._size_bytes or offset < 0:
            self.check_range(offset, length)
        if self.claims and self.is_claimed(offset, offset + length):
            return False
        return self.read_aligned_now(offset, into)

    def read_aligned_now(self, offset: int, into: memoryview) -> bool:
        """Whole blocks, claims not looked at."""
        length = len(into)
        done = 0
        while done < length:
            row, column, at, run = self.place_of(offset + done)
            if run > length - done:
                run = length - done
            view = into if run == length else into[done : done + run]
            sets = self.rows.get(row) or self.row(row)
            if sets is None:
                view[:] = ZEROS[:run]
            elif not self.read_run_now(sets[column], at, view):
                return False
            done += run
        return True

    def read_run_now(self, slabs: SlabSet, at: int, view: memoryview) -> bool:
        page = slabs.pages.get(at >> PAGE_SHIFT)
        if page is None:
            page = self.page_now(slabs, at >> PAGE_SHIFT)
            if page is None:
                return False
        index = at >> BLOCK_SHIFT
        readers = slabs.readers
        if not readers:
            return False
        place = readers[0]
        try:
            if len(view) == BLOCK_BYTES:
                first = (index & (PAGE_BLOCKS - 1)) * 2
                generation = page[first + 1]
                if not generation:
                    view[:] = ZEROS[:BLOCK_BYTES]
                    return True
                if not place.disk.read_now(DiskOffset(place.data + at), (view,)):
                    return False
                return crc32c(view, (slabs.seed + index + generation * GENERATION_STEP) & MASK) == page[first]
            if not place.disk.read_now(DiskOffset(place.data + at), (view,)):
                return False
        except DiskFailed:
            return False
        return verify(page, slabs.seed, index, view) or verify_mixed(page, slabs.seed, index, view)

    def page_now(self, slabs: SlabSet, number: int) -> array[int] | None:
        """Load a checksum page without waiting; None if that isn't possible or the copies don't agree on
        it."""
        if number in slabs.loading or not slabs.readers:
            return None
        page = new_page()
        other = new_page() if len(slabs.readers) > 1 else page
        for position, place in enumerate(slabs.readers):
            target = other if position else page
            try:
                where = DiskOffset(place.checks + number * PAGE_BYTES)
                if not place.disk.read_now(where, (memoryview(target).cast("B"),)):
                    return None
            except DiskFailed:
                return None
            if position and other != page:
                return None
        slabs.pages[number] = page
        self.host.page_loaded(slabs, number)
        return page

    def _read_edges_now(self, offset: int, into: memoryview) -> bool:
        self.check_range(offset, len(into))
        start, end = offset & ~EDGE, (offset + len(into) + EDGE) & ~EDGE
        if self.claims and self.is_claimed(start, end):
            return False
        for block, skip, begin, finish in edges(offset, len(into)):
            if not skip and finish - begin & EDGE == 0:
                if not self.read_aligned_now(block, into[begin:finish]):
                    return False
                continue
            buffer = memoryview(bytearray(BLOCK_BYTES))
            if not self.read_aligned_now(block, buffer):
                return False
            into[begin:finish] = buffer[skip : skip + finish - begin]
        return True

    async def read(self, offset: SpaceOffset, into: memoryview) -> None:
        self.check_range(offset, len(into))
        await slow.read(self, offset, into)

    def read_blocking(self, offset: SpaceOffset, into: memoryview) -> None:
        """From any thread. A write on the loop's thread may come between data and checksum: such a block is
        read again."""
        self.check_range(offset, len(into))
        for block, skip, begin, finish in edges(offset, len(into)):
            if not skip and finish - begin & EDGE == 0:
                self._read_aligned_blocking(block, into[begin:finish])
            else:
                buffer = memoryview(bytearray(BLOCK_BYTES))
                self._read_aligned_blocking(block, buffer)
                into[begin:finish] = buffer[skip : skip + finish - begin]

    def _read_aligned_blocking(self, offset: int, into: memoryview) -> None:
        done = 0
        while done < len(into):
            row, column, at, run = self.place_of(offset + done)
            view = into[done : done + run]
            blocking.read_run(self, row, column, at, view)
            done += len(view)

    # -- writing -------------------------------------------------------------------------------------------

    def write_now(self, offset: SpaceOffset, data: Buffers, fresh: bool = False) -> bool:
        view = one_view(data)
        length = len(view)
        if offset < 0 or offset + length > self._size_bytes:
            self.check_range(offset, length)
        if not (offset | length) & EDGE:
            if self.claims and self.is_claimed(offset, offset + length):
                return False
            return self.write_aligned_now(offset, view, fresh)
        start, end = offset & ~EDGE, (offset + length + EDGE) & ~EDGE
        if self.claims and self.is_claimed(start, end):
            return False
        for block, skip, begin, finish in edges(offset, length):
            part = view[begin:finish]
            if skip or len(part) & EDGE:
                buffer = memoryview(bytearray(BLOCK_BYTES))
                if not self.read_aligned_now(block, buffer):
                    return False
                buffer[skip : skip + len(part)] = part
                part = buffer
            if not self.write_aligned_now(block, part, fresh):
                return False
        return True

    def write_aligned_now(self, offset: int, data: memoryview, fresh: bool) -> bool:
        """Whole blocks, claims not looked at."""
        length = len(data)
        done = 0
        while done < length:
            row, column, at, run = self.place_of(offset + done)
            if run > length - done:
                run = length - done
            view = data if run == length else data[done : done + run]
            sets = self.rows.get(row) or self.row(row)
            if sets is None or not self.write_run_now(sets[column], at, view, fresh):
                return False
            done += run
        return True

    def write_run_now(self, slabs: SlabSet, at: int, view: memoryview, fresh: bool) -> bool:
        region = 1 << (at >> self.region_shift)
        if not slabs.logged & region:
            return False
        number = at >> PAGE_SHIFT
        page = slabs.pages.get(number)
        if page is None:
            page = self.page_now(slabs, number)
            if page is None:
                return False
        index = at >> BLOCK_SHIFT
        entries = stamp(page, slabs.seed, index, view)
        slabs.written |= region
        self.dirty[slabs] = None
        slabs.underway = index, entries
        writers = slabs.writers
        for place in writers:
            try:
                if not place.disk.write_now(DiskOffset(place.data + at), (view,)):
                    break
            except DiskFailed as error:
                self.host.disk_failed(place.number, error)
                break
        else:
            put(page, index, entries)
            slabs.dirty.add(number)
            if not fresh and 1 in entries[1::2]:
                slabs.first.add(number)
            if slabs.half_done:
                slabs.forget_half_done(index, len(entries) // 2)
            return True
        if place is not writers[0]:  # some copies are new; the caller may be cancelled before it goes on
            slabs.remember_half_done(index, entries)
            self.suspects.add((slabs.row, slabs.column, at, len(view)))
        return False

    async def write(self, offset: SpaceOffset, data: Buffers, fresh: bool = False) -> None:
        view = one_view(data)
        self.check_range(offset, len(view))
        await slow.write(self, offset, view, fresh)

    async def flush(self) -> None:
        if self.suspects:
            await slow.repair_suspects(self)
        await self.host.flush_space(self)

    async def trim(self, offset: SpaceOffset, length: int) -> None:
        self.check_range(offset, length)
        if self.state.record.provisioning is Provisioning.THIN:
            await slow.trim(self, offset, length)

    def resized(self) -> None:
        self._size_bytes = self.state.record.size_bytes

    # -- what the pool asks (storage/space/machine.py) -----------------------------------------------------

    def is_row_lost(self, number: int) -> bool:
        return any(not slabs.readers for slabs in self.row(number) or ())

    def may_mark_stale(self, slabs: SlabSet) -> bool:
        return bool(slabs.readers)

    async def prepare_row(self, number: int) -> None:
        """The zeroed checksums of its slabs say "never written"; the pool sees to them."""

    async def recover(self, logged: Mapping[int, Mapping[int, int]]) -> None:
        await reconcile.recover(self, logged)

    async def refill(self, slabs: SlabSet, target: Place, pace: Pace) -> int:
        return await upkeep.refill(self, slabs, target, pace)

    async def scrub_row(self, number: int, pace: Pace) -> ScrubResult:
        return await upkeep.scrub_row(self, number, pace)

    async def repair_suspects(self) -> None:
        await slow.repair_suspects(self)
