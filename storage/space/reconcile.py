"""Making whole copies equal again: after a power cut, and after a disk was away.

    power cut:  regions in the intent logs -> blocks whose copies differ or fail their checksum -> settle.py
    disk away:  stale copy, disk is back   -> pages differ? -> copy that granule of 64 KiB -> flush -> current

Resync compares checksum pages instead of keeping a bitmap: the checksum area is the dirty-region map, exact
and durable with the data. A stale copy whose own disk had regions in its intent log first loses its entries
there (`forget_regions`), since they may be newer than its data. Source: docs/formats/intent-log.md. Awaits
disks only.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from storage.space import slow
from storage.space.blocks import verify_mixed
from storage.space.checksums import (
    PAGE_BYTES,
    entry,
    new_page,
    put,
    verify,
)
from storage.space.settle import read_at, settle_blocks, write_at
from storage.space.slabset import Place, SlabSet
from storage.space.stripemap import PAGE_BLOCKS, PAGE_SPAN_BYTES
from storage.units import BLOCK_BYTES

if TYPE_CHECKING:
    from storage.space.mirror import MirrorSpace

GRANULE_BYTES: Final = 64 << 10
_NOTHING: Final = array("I", (0, 0))


def region_pages(space: MirrorSpace, regions: int) -> Iterable[tuple[int, int, int]]:
    """(page, first block, last block + 1 in it) for each page that the regions touch."""
    region_bytes = 1 << space.region_shift
    pages = -(-space.slab_bytes // PAGE_SPAN_BYTES)
    blocks = min(PAGE_BLOCKS, space.slab_bytes // BLOCK_BYTES)
    for number in range(pages):
        if regions >> (number * PAGE_SPAN_BYTES // region_bytes) & 1:
            yield number, 0, blocks


async def settle_regions(space: MirrorSpace, slabs: SlabSet, regions: int) -> None:
    """After a crash: make the copies of these regions equal and matching. Nobody else uses the space yet.
    Raises: DiskFailed (told to the pool; call again with the readers that are left)."""
    places = slabs.readers
    scratch = memoryview(bytearray(PAGE_SPAN_BYTES))
    for number, first, last in region_pages(space, regions):
        pages = [new_page() for _ in places]
        for place, page in zip(places, pages, strict=True):
            where = place.checks + number * PAGE_BYTES
            await read_at(space, place, where, memoryview(page).cast("B"))
        suspects: set[int] = set()
        for place, page in zip(places, pages, strict=True):
            if page == slow.EMPTY_PAGE and page == pages[0]:
                continue
            for begin in range(first, last, 16):
                end = min(begin + 16, last)
                if page[2 * begin : 2 * end] == slow.EMPTY_PAGE[: 2 * (end - begin)]:
                    continue
                view = scratch[: (end - begin) * BLOCK_BYTES]
                index = number * PAGE_BLOCKS + begin
                await read_at(space, place, place.data + index * BLOCK_BYTES, view)
                if not verify(page, slabs.seed, index, view) and not verify_mixed(
                    page, slabs.seed, index, view
                ):
                    suspects.update(range(begin, end))
        suspects.update(
            i for i in range(first, last) if any(entry(p, i) != entry(pages[0], i) for p in pages)
        )
        if not suspects:
            continue
        merged = await settle_blocks(space, slabs, number, places, pages, sorted(suspects), adopt=True)
        for place, page in zip(places, pages, strict=True):
            if page != merged:
                where = place.checks + number * PAGE_BYTES
                await write_at(space, place, where, memoryview(merged).cast("B"))
        slabs.pages.pop(number, None)


async def forget_regions(space: MirrorSpace, place: Place, regions: int) -> None:
    """A stale copy's entries in these regions become "never written", so that resync copies all of it.
    Raises: DiskFailed."""
    for number, first, last in region_pages(space, regions):
        page = new_page()
        where = place.checks + number * PAGE_BYTES
        await read_at(space, place, where, memoryview(page).cast("B"))
        for block in range(first, last):
            put(page, block, _NOTHING)
        await write_at(space, place, where, memoryview(page).cast("B"))


async def resync_set(space: MirrorSpace, slabs: SlabSet, target: Place) -> int:
    """Copy what differs to the stale copy at `target`; returns bytes copied. Writers go on meanwhile (they
    write to the target too). The caller flushes the target's disk and then drops the stale mark. Raises:
    DiskFailed, SlabLost, BlockCorrupt."""
    copied = 0
    for number in range(-(-space.slab_bytes // PAGE_SPAN_BYTES)):
        start = space.map.unmap(slabs.row, slabs.column, number * PAGE_SPAN_BYTES)
        span = min(PAGE_SPAN_BYTES, space.slab_bytes)
        end = (
            space.map.unmap(slabs.row, slabs.column, number * PAGE_SPAN_BYTES + span - BLOCK_BYTES)
            + BLOCK_BYTES
        )
        claim = await slow.acquire(space, start, end)
        try:
            copied += await _resync_page(space, slabs, number, span, target)
        finally:
            slow.release(space, claim)
    return copied


async def _resync_page(space: MirrorSpace, slabs: SlabSet, number: int, span: int, target: Place) -> int:
    source = await slow.load_page(space, slabs, number)
    theirs = new_page()
    where = target.checks + number * PAGE_BYTES
    await read_at(space, target, where, memoryview(theirs).cast("B"))
    if theirs == source:
        return 0
    copied = 0
    words = GRANULE_BYTES // BLOCK_BYTES * 2
    for granule in range(span // GRANULE_BYTES):
        first = granule * words
        ours = source[first : first + words]
        if ours == theirs[first : first + words]:
            continue
        at = number * PAGE_SPAN_BYTES + granule * GRANULE_BYTES
        if any(ours[1::2]):
            copied += await _copy_granule(space, slabs, at, target)
    source = await slow.load_page(space, slabs, number)
    await write_at(space, target, where, memoryview(source).cast("B"))
    return copied


async def _copy_granule(space: MirrorSpace, slabs: SlabSet, at: int, target: Place) -> int:
    buffer = memoryview(bytearray(GRANULE_BYTES))
    for begin in range(0, GRANULE_BYTES, space.map.unit_bytes):
        part = buffer[begin : begin + space.map.unit_bytes]
        offset = space.map.unmap(slabs.row, slabs.column, at + begin)
        await slow.read_aligned(space, offset, part, is_claimed=True)
    await write_at(space, target, target.data + at, buffer)
    return GRANULE_BYTES
