"""What a mirror space does when an inline call says no: wait, allocate, load checksums, repair.

    read   unclaimed? -> page (merged if the copies differ) -> data (waiting) -> verify -> claim and repair
    write  claim -> partial edge blocks read -> row allocated -> region ready -> inline try -> all writers
    trim   claim the row -> whole row: release; else entries to "never written"; release if nothing is left

Repair: the first copy that passes its checksum is the answer; the ones that failed before it are rewritten
with it. All functions await only the disks and the runtime they are given. Cancelling leaves at most a block
that doesn't fit its checksum on some copy, as a power cut would; its region is in the intent log, and the
next read repairs it.
"""

from __future__ import annotations

from array import array
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from storage.errors import BlockCorrupt, DiskFailed, SlabLost, StorageError
from storage.pool.batcher import detached, gather
from storage.runtime import Event
from storage.space import blocks
from storage.space.blocks import Claim
from storage.space.checksums import PAGE_BYTES, block_crc, entry, new_page, put, stamp, verify
from storage.space.settle import read_at, settle_blocks, write_at, write_verified
from storage.space.slabset import Place, SlabSet
from storage.space.stripemap import PAGE_BLOCKS, PAGE_SPAN_BYTES
from storage.units import BLOCK_BYTES, DiskOffset, SpaceOffset

if TYPE_CHECKING:
    from storage.space.mirror import MirrorSpace

ATTEMPTS_MAX = 1000
"""Each attempt ends because a disk failed or a region was dropped again; this many in a row is a bug."""
FRESH_REGIONS_AHEAD = 16
EMPTY_PAGE = new_page()


async def acquire(space: MirrorSpace, start: int, end: int) -> Claim:
    await unclaimed(space, start, end)
    if space.is_deleted:
        raise StorageError(f"space {space.name} was deleted")
    claim = Claim(start, end, space.host.runtime.event())
    space.claims.append(claim)
    return claim


def release(space: MirrorSpace, claim: Claim) -> None:
    space.claims.remove(claim)
    claim.done.set()


async def unclaimed(space: MirrorSpace, start: int, end: int) -> None:
    while True:
        for claim in space.claims:
            if claim.start < end and start < claim.end:
                break
        else:
            return
        await claim.done.wait()


# -- reading -----------------------------------------------------------------------------------------------


async def read(space: MirrorSpace, offset: SpaceOffset, into: memoryview) -> None:
    start, end = offset & ~blocks.EDGE, (offset + len(into) + blocks.EDGE) & ~blocks.EDGE
    await unclaimed(space, start, end)
    if space.read_now(offset, into):
        return
    for block, skip, begin, finish in blocks.edges(offset, len(into)):
        if not skip and finish - begin & blocks.EDGE == 0:
            await read_aligned(space, block, into[begin:finish], is_claimed=False)
        else:
            buffer = memoryview(bytearray(BLOCK_BYTES))
            await read_aligned(space, block, buffer, is_claimed=False)
            into[begin:finish] = buffer[skip : skip + finish - begin]


async def read_aligned(space: MirrorSpace, offset: int, into: memoryview, is_claimed: bool) -> None:
    done = 0
    while done < len(into):
        row, column, at, run = space.place_of(offset + done)
        view = into[done : done + run]
        sets = space.row(row)
        if sets is None:
            view[:] = blocks.ZEROS[: len(view)]
        else:
            await _read_run(space, offset + done, sets[column], at, view, is_claimed)
        done += len(view)


async def _read_run(
    space: MirrorSpace, offset: int, slabs: SlabSet, at: int, view: memoryview, is_claimed: bool
) -> None:
    number, index = at // PAGE_SPAN_BYTES, at // BLOCK_BYTES
    for _ in range(ATTEMPTS_MAX):
        if slabs.is_dead:
            view[:] = blocks.ZEROS[: len(view)]
            return
        page = await load_page(space, slabs, number)
        place = first_reader(space, slabs)
        where = DiskOffset(place.data + at)
        try:
            if not place.disk.read_now(where, (view,)):
                await place.disk.read(where, (view,))
            page = slabs.pages.get(number, page)
            if verify(page, slabs.seed, index, view) or blocks.verify_mixed(page, slabs.seed, index, view):
                return
        except DiskFailed as error:
            await space.host.read_failed(place.number, error)
            if place not in slabs.readers:
                continue
        if is_claimed:
            await _repair_run(space, slabs, at, view)
            return
        claim = await acquire(space, offset, offset + len(view))
        try:
            if is_dead(slabs):  # trimmed while we waited; its slabs may be somebody else's by now
                continue
            await _repair_run(space, slabs, at, view)
        finally:
            release(space, claim)
        return
    raise SlabLost(f"space {space.name} byte {offset}: disks fail as fast as they are asked")


def is_dead(slabs: SlabSet) -> bool:
    """Asked again after a wait."""
    return slabs.is_dead


async def repair_suspects(space: MirrorSpace) -> None:
    """Read again, with repair, what `read_blocking` found bad and what writes left half done; what is beyond
    repair its reader is told."""
    while space.suspects:
        row, column, at, length = space.suspects.pop()
        sets = space.row(row)
        if sets is not None:
            buffer = memoryview(bytearray(length))
            offset = space.map.unmap(row, column, at)
            try:
                await _read_run(space, offset, sets[column], at, buffer, is_claimed=False)
            except (BlockCorrupt, SlabLost):
                continue


def first_reader(space: MirrorSpace, slabs: SlabSet) -> Place:
    if not slabs.readers:
        gone = ", ".join(f"disk {copy.disk}{' (stale)' if copy.stale else ''}" for copy in slabs.copies)
        raise SlabLost(
            f"space {space.name} row {slabs.row}: no current copy can be reached; its copies: {gone}"
        )
    return slabs.readers[0]


async def load_page(space: MirrorSpace, slabs: SlabSet, number: int) -> array[int]:
    while True:
        page = slabs.pages.get(number) or space.page_now(slabs, number)
        if page is not None:
            return page
        loading = slabs.loading.get(number)
        if loading is not None:
            await loading.wait()
            continue
        loading = slabs.loading[number] = space.host.runtime.event()
        try:
            page = await _read_page(space, slabs, number)
            slabs.pages[number] = page
            space.host.page_loaded(slabs, number)
            return page
        finally:
            del slabs.loading[number]
            loading.set()


async def _read_page(space: MirrorSpace, slabs: SlabSet, number: int) -> array[int]:
    """From all readers; where they differ, per block the newest entry that fits the data of a copy. One that
    cannot be read counts as empty, and is written again."""
    while True:
        first_reader(space, slabs)
        places = slabs.readers
        pages: list[array[int]] = []
        trouble: DiskFailed | None = None
        unreadable = 0
        for place in places:
            page = new_page()
            try:
                await read_at(space, place, place.checks + number * PAGE_BYTES, memoryview(page).cast("B"))
            except DiskFailed as error:
                page, trouble = new_page(), error
                unreadable += 1
            pages.append(page)
        if slabs.readers is not places:
            continue
        if unreadable == len(places):
            raise BlockCorrupt(
                f"space {space.name} row {slabs.row}: no copy of a checksum page can be read: {trouble}"
            )
        if not unreadable and all(page == pages[0] for page in pages):
            return pages[0]
        try:
            last = min(PAGE_BLOCKS, space.slab_bytes // BLOCK_BYTES - number * PAGE_BLOCKS)
            blocks = [i for i in range(last) if len({entry(page, i) for page in pages}) > 1]
            merged = await settle_blocks(space, slabs, number, places, pages, blocks, adopt=False)
            for place, page in zip(places, pages, strict=True):
                if page != merged or unreadable:
                    where = place.checks + number * PAGE_BYTES
                    await write_verified(space, place, where, memoryview(merged).cast("B"))
            return merged
        except DiskFailed:
            continue


async def _repair_run(space: MirrorSpace, slabs: SlabSet, at: int, view: memoryview) -> None:
    """Fill `view` block by block from whichever copy passes; rewrite the ones that don't. The range is
    claimed, and no slab of the set is given away meanwhile."""
    slabs.inflight += 1
    try:
        for begin in range(0, len(view), BLOCK_BYTES):
            await _repair_block(space, slabs, at + begin, view[begin : begin + BLOCK_BYTES])
    finally:
        slabs.inflight -= 1


async def _repair_block(space: MirrorSpace, slabs: SlabSet, at: int, view: memoryview) -> None:
    index = at // BLOCK_BYTES
    page = await load_page(space, slabs, at // PAGE_SPAN_BYTES)
    crc, generation = entry(page, index)
    if not generation:
        view[:] = blocks.ZEROS[:BLOCK_BYTES]
        return
    first_reader(space, slabs)
    found, bad = await _matching_copy(space, slabs, at, view, (crc, generation))
    if not found and index in slabs.half_done:
        newer = slabs.half_done[index]
        found, bad = await _matching_copy(space, slabs, at, view, newer)
        if found:
            put(page, index, array("I", newer))
            slabs.forget_half_done(index, 1)
            slabs.dirty.add(at // PAGE_SPAN_BYTES)
            slabs.written |= 1 << (at >> space.region_shift)
            space.dirty[slabs] = None
    if not found:
        first_reader(space, slabs)
        where = space.map.unmap(slabs.row, slabs.column, at)
        names = ", ".join(f"{place.disk.name} at byte {place.data + at}" for place in bad)
        raise BlockCorrupt(
            f"space {space.name} byte {where}: no copy passes its checksum (or can be read); tried {names}"
        )
    for place in bad:
        try:
            await write_verified(space, place, place.data + at, view)
        except DiskFailed:
            continue
        space.host.count_repair(place.number, 1)
        space.dirty[slabs] = None


async def _matching_copy(
    space: MirrorSpace, slabs: SlabSet, at: int, view: memoryview, wanted: tuple[int, int]
) -> tuple[bool, list[Place]]:
    """Fill `view` from the first copy that fits the entry: (is there one?, the copies before it)."""
    bad: list[Place] = []
    for place in slabs.readers:
        try:
            await read_at(space, place, place.data + at, view)
        except DiskFailed:
            bad.append(place)
            continue
        if block_crc(view, slabs.seed, at // BLOCK_BYTES, wanted[1]) == wanted[0]:
            return True, bad
        bad.append(place)
    return False, bad


# -- writing -----------------------------------------------------------------------------------------------


async def write(space: MirrorSpace, offset: SpaceOffset, view: memoryview, fresh: bool) -> None:
    start, end = offset & ~blocks.EDGE, (offset + len(view) + blocks.EDGE) & ~blocks.EDGE
    claim = await acquire(space, start, end)
    try:
        for block, skip, begin, finish in blocks.edges(offset, len(view)):
            part = view[begin:finish]
            if skip or len(part) & blocks.EDGE:
                buffer = memoryview(bytearray(BLOCK_BYTES))
                await read_aligned(space, block, buffer, is_claimed=True)
                buffer[skip : skip + len(part)] = part
                part = buffer
            await _write_aligned(space, block, part, fresh)
    finally:
        release(space, claim)


async def _write_aligned(space: MirrorSpace, offset: int, data: memoryview, fresh: bool) -> None:
    done = 0
    while done < len(data):
        row, column, at, run = space.place_of(offset + done)
        part = data[done : done + run]
        sets = await allocated_row(space, row)
        await _write_run(space, sets[column], at, part, fresh)
        done += len(part)


async def allocated_row(space: MirrorSpace, row: int) -> list[SlabSet]:
    while True:
        sets = space.row(row)
        if sets is not None:
            return sets
        allocating = space.allocating.get(row)
        if allocating is not None:
            await allocating.wait()
            continue
        done = space.allocating[row] = space.host.runtime.event()

        async def work(done: Event = done) -> None:
            try:
                await space.host.allocate_row(space, row)
            finally:
                del space.allocating[row]
                done.set()

        await detached(space.host.runtime, work, "allocate a row")


async def _region_ready(space: MirrorSpace, slabs: SlabSet, at: int, fresh: bool) -> None:
    first = at >> space.region_shift
    last = (space.slab_bytes - 1) >> space.region_shift
    count = min(FRESH_REGIONS_AHEAD, last - first + 1) if fresh else 1
    for _ in range(ATTEMPTS_MAX):
        if slabs.logged >> first & 1:
            return
        await space.host.make_ready(slabs, ((1 << count) - 1) << first)
    raise DiskFailed(
        f"space {space.name} row {slabs.row}: region {first} does not stay in the write-intent log"
    )


async def _write_run(space: MirrorSpace, slabs: SlabSet, at: int, view: memoryview, fresh: bool) -> None:
    for _ in range(ATTEMPTS_MAX):
        await load_page(space, slabs, at // PAGE_SPAN_BYTES)
        await _region_ready(space, slabs, at, fresh)
        if space.write_run_now(slabs, at, view, fresh) or await _write_waiting(space, slabs, at, view, fresh):
            return
    raise DiskFailed(f"space {space.name} row {slabs.row}: disks fail as fast as they are written to")


async def _write_waiting(space: MirrorSpace, slabs: SlabSet, at: int, view: memoryview, fresh: bool) -> bool:
    """Write where the disks wait. False: something changed meanwhile; begin again.

    A task of its own does it, with its own copy of the data and a claim, so that a cancelled caller
    leaves nothing torn."""
    region = 1 << (at >> space.region_shift)
    number, index = at // PAGE_SPAN_BYTES, at // BLOCK_BYTES
    page, writers = slabs.pages.get(number), slabs.writers
    if page is None or not slabs.logged & region:
        return False
    data = memoryview(bytes(view))
    entries = stamp(page, slabs.seed, index, data)
    offset = space.map.unmap(slabs.row, slabs.column, at)
    claim = Claim(offset, offset + len(view), space.host.runtime.event())
    space.claims.append(claim)
    slabs.remember_half_done(index, entries)
    slabs.written |= region
    slabs.inflight += 1

    def one(place: Place) -> Callable[[], Awaitable[None]]:
        return lambda: write_at(space, place, place.data + at, data)

    async def work() -> bool:
        errors: Sequence[StorageError | None] = ()
        try:
            errors = await gather(space.host.runtime, [one(place) for place in writers], "write copies")
        finally:
            slabs.inflight -= 1
            slabs.written |= region
            space.dirty[slabs] = None
            release(space, claim)
        if any(errors) or slabs.writers is not writers or not slabs.logged & region:
            space.suspects.add((slabs.row, slabs.column, at, len(data)))
            return False
        put(page, index, entries)
        slabs.dirty.add(number)
        if not fresh and 1 in entries[1::2]:
            slabs.first.add(number)
        slabs.forget_half_done(index, len(entries) // 2)
        space.suspects.discard((slabs.row, slabs.column, at, len(data)))
        return True

    return await detached(space.host.runtime, work, "write copies")


# -- trimming ----------------------------------------------------------------------------------------------


async def trim(space: MirrorSpace, offset: int, length: int) -> None:
    row_bytes, end = space.map.row_bytes, offset + length
    for row in range(offset // row_bytes, -(-end // row_bytes)):
        start, stop = row * row_bytes, min((row + 1) * row_bytes, space.size_bytes)
        if space.row(row) is None:
            continue
        claim = await acquire(space, start, stop)
        try:
            sets = space.row(row)
            if sets is None:
                continue
            low, high = max(offset, start), min(end, stop)
            if (low > start or high < stop) and not await _trim_part(space, sets, low, high):
                continue
            space.host.release_row(space, row)
        finally:
            release(space, claim)


async def _trim_part(space: MirrorSpace, sets: list[SlabSet], low: int, high: int) -> bool:
    """Make the whole blocks of the range "never written". True if nothing written is left in the row."""
    at = (low + blocks.EDGE) & ~blocks.EDGE
    high &= ~blocks.EDGE
    while at < high:
        _, column, slab_offset, run = space.place_of(at)
        run = min(run, high - at)
        await _forget_run(space, sets[column], slab_offset, run)
        at += run
    for slabs in sets:
        for number in range(-(-space.slab_bytes // PAGE_SPAN_BYTES)):
            if await load_page(space, slabs, number) != EMPTY_PAGE:
                return False
    return True


async def _forget_run(space: MirrorSpace, slabs: SlabSet, at: int, length: int) -> None:
    number, index = at // PAGE_SPAN_BYTES, at // BLOCK_BYTES
    first = index % PAGE_BLOCKS * 2
    nothing = array("I", bytes(length // BLOCK_BYTES * 8))
    page = await load_page(space, slabs, number)
    if page[first : first + len(nothing)] == nothing:
        return
    await _region_ready(space, slabs, at, fresh=False)
    page = await load_page(space, slabs, number)
    await _region_ready(space, slabs, at, fresh=False)
    page = slabs.pages.get(number, page)
    page[first : first + len(nothing)] = nothing
    slabs.written |= 1 << (at >> space.region_shift)
    slabs.dirty.add(number)
    space.dirty[slabs] = None
