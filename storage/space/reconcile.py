"""Making copies equal again: after a power cut (intent log), on differing checksum pages, and after a disk
was away (resync).

For one block, with data d1..dn and entries e1..en of its copies (an entry may fit another copy's data: after
a power cut the data of a write may have reached one disk and the checksum another):

    candidates = {(d, e): crc(d) fits e}   -> the newest generation wins
    no candidate, some entry "never written" -> never written (the content before the torn write: zeros)
    no candidate, `adopt`                  -> the first suspect copy's content, with a new entry (sectors old
    or new: a torn write) no candidate, not `adopt`              -> the newest entry stays, and reads of the
    block say BlockCorrupt

`adopt` only inside regions that the intent logs of all current copies' disks name: elsewhere a mismatch is rot, and
adopting it would turn rot into data. Then every copy gets the winner's data and entry.

Resync compares checksum pages instead of keeping a bitmap: the checksum area is the dirty-region map, exact
and durable with the data. What differs is copied in granules of 64 KiB. Stale copies whose own intent log was
not empty first lose their entries there (`forget_regions`), since their entries may be newer than their data.
Source: docs/formats/intent-log.md. Awaits disks only.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from storage.space import mirror, slow
from storage.space.checksums import (
    PAGE_BYTES,
    block_crc,
    entry,
    is_newer,
    new_page,
    next_generation,
    put,
    verify,
)
from storage.space.slabset import Place, SlabSet
from storage.space.stripemap import PAGE_BLOCKS, PAGE_SPAN_BYTES
from storage.units import BLOCK_BYTES

if TYPE_CHECKING:
    from storage.space.mirror import MirrorSpace

GRANULE_BYTES: Final = 64 << 10
_NOTHING: Final = array("I", (0, 0))


async def settle_blocks(
    space: MirrorSpace,
    slabs: SlabSet,
    number: int,
    places: Sequence[Place],
    pages: Sequence[array[int]],
    blocks: Iterable[int],
    adopt: bool,
) -> array[int]:
    """The merged page for the copies at `places`; their data is made equal. `blocks` are numbers within the
    page. Raises: DiskFailed."""
    merged = array("I", pages[0])
    buffers = [memoryview(bytearray(BLOCK_BYTES)) for _ in places]
    for block in blocks:
        entries = [entry(page, block) for page in pages]
        if not any(generation for _, generation in entries):
            continue
        index = number * PAGE_BLOCKS + block
        at = index * BLOCK_BYTES
        for place, buffer in zip(places, buffers, strict=True):
            await slow.read_at(space, place, place.data + at, buffer)
        winner, chosen = _pick(slabs.seed, index, entries, buffers, adopt)
        put(merged, block, array("I", chosen))
        if winner is None:
            continue
        for place, buffer in zip(places, buffers, strict=True):
            if buffer != winner:
                await slow.write_at(space, place, place.data + at, winner)
                space.host.count_repair(place.number, 1)
    return merged


def _pick(
    seed: int, index: int, entries: Sequence[tuple[int, int]], data: Sequence[memoryview], adopt: bool
) -> tuple[memoryview | None, tuple[int, int]]:
    """(content, entry) that all copies shall have; None as content: leave the data alone."""
    best: tuple[memoryview, tuple[int, int]] | None = None
    for crc, generation in dict.fromkeys(entries):
        if not generation or (best is not None and not is_newer(generation, best[1][1])):
            continue
        for buffer in data:
            if block_crc(buffer, seed, index, generation) == crc:
                best = (buffer, (crc, generation))
                break
    if best is not None:
        return best
    newest = entries[0]
    for one in entries:
        if is_newer(one[1], newest[1]):
            newest = one
    if not adopt:
        return None, newest
    if not all(generation for _, generation in entries):
        return None, (0, 0)
    generation = next_generation(newest[1])
    return data[0], (block_crc(data[0], seed, index, generation), generation)


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
            await slow.read_at(space, place, where, memoryview(page).cast("B"))
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
                await slow.read_at(space, place, place.data + index * BLOCK_BYTES, view)
                if not verify(page, slabs.seed, index, view) and not mirror.verify_mixed(
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
                await slow.write_at(space, place, where, memoryview(merged).cast("B"))
        slabs.pages.pop(number, None)


async def forget_regions(space: MirrorSpace, place: Place, regions: int) -> None:
    """A stale copy's entries in these regions become "never written", so that resync copies all of it.
    Raises: DiskFailed."""
    for number, first, last in region_pages(space, regions):
        page = new_page()
        where = place.checks + number * PAGE_BYTES
        await slow.read_at(space, place, where, memoryview(page).cast("B"))
        for block in range(first, last):
            put(page, block, _NOTHING)
        await slow.write_at(space, place, where, memoryview(page).cast("B"))


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
    await slow.read_at(space, target, where, memoryview(theirs).cast("B"))
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
    await slow.write_at(space, target, where, memoryview(source).cast("B"))
    return copied


async def _copy_granule(space: MirrorSpace, slabs: SlabSet, at: int, target: Place) -> int:
    buffer = memoryview(bytearray(GRANULE_BYTES))
    for begin in range(0, GRANULE_BYTES, space.map.unit_bytes):
        part = buffer[begin : begin + space.map.unit_bytes]
        offset = space.map.unmap(slabs.row, slabs.column, at + begin)
        await slow.read_aligned(space, offset, part, is_claimed=True)
    await slow.write_at(space, target, target.data + at, buffer)
    return GRANULE_BYTES
