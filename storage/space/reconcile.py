"""Making the copies equal that a power cut, or a disk that went away, left torn.

    regions in the intent logs of all current copies -> blocks that differ or fail their checksum -> settle.py

A stale copy whose own disk had regions in its intent log loses its entries there (`forget_regions`), since
they may be newer than its data: so the refill (upkeep.py) copies them. Source: docs/formats/intent-log.md.
Awaits disks only.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from storage.errors import DiskFailed
from storage.pool.metadata import COPY
from storage.space import slow
from storage.space.blocks import verify_mixed
from storage.space.checksums import PAGE_BYTES, entry, new_page, put, verify
from storage.space.settle import read_at, settle_blocks, write_at
from storage.space.slabset import Place, SlabSet
from storage.space.stripemap import PAGE_BLOCKS, PAGE_SPAN_BYTES
from storage.units import BLOCK_BYTES

if TYPE_CHECKING:
    from storage.space.mirror import MirrorSpace

_NOTHING: Final = array("I", (0, 0))


async def recover(space: MirrorSpace, logged: Mapping[int, Mapping[int, int]]) -> None:
    """`SpaceMachine.recover`: settle what the logs name. A disk that fails meanwhile is out."""
    for slabs, regions_by_disk in _sets_in(space, logged):
        while slabs.readers:
            regions = -1  # a current copy whose own log lacks a region was clean there
            for place in slabs.readers:
                regions &= regions_by_disk.get(place.number, 0)
            try:
                if regions:
                    await settle_regions(space, slabs, regions)
                break
            except DiskFailed:
                continue
        current = {place.number for place in slabs.readers}
        for place in slabs.writers:
            if place.number not in current and regions_by_disk.get(place.number):
                try:
                    await forget_regions(space, place, regions_by_disk[place.number])
                except DiskFailed as error:
                    space.host.disk_failed(place.number, error)


def _sets_in(
    space: MirrorSpace, logged: Mapping[int, Mapping[int, int]]
) -> list[tuple[SlabSet, dict[int, int]]]:
    """The slab sets that any intent log names, each with: disk -> regions in that disk's log."""
    found: list[tuple[SlabSet, dict[int, int]]] = []
    for row, packed in space.state.rows.items():
        if not any(slab in logged.get(disk, ()) for disk, _, slab in COPY.iter_unpack(packed)):
            continue
        for column, copies in enumerate(space.state.columns(row) or ()):
            named = {copy.disk: logged.get(copy.disk, {}).get(copy.slab, 0) for copy in copies}
            if any(named.values()):
                sets = space.row(row)
                assert sets is not None
                found.append((sets[column], named))
    return found


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
    for number, first, last in region_pages(space, regions):
        pages, unreadable = await _read_pages(space, slabs, places, number)
        if len(unreadable) == len(places):
            continue  # nothing says what the blocks should hold; their readers are told
        suspects = {i for i in range(first, last) if any(entry(p, i) != entry(pages[0], i) for p in pages)}
        for position, (place, page) in enumerate(zip(places, pages, strict=True)):
            if position not in unreadable:
                suspects |= await _mismatches(space, slabs, place, page, number, range(first, last))
        if not suspects and not unreadable:
            continue
        blocks = sorted(suspects)
        merged = await settle_blocks(space, slabs, number, places, pages, blocks, True, unreadable)
        for position, (place, page) in enumerate(zip(places, pages, strict=True)):
            if page != merged or position in unreadable:
                where = place.checks + number * PAGE_BYTES
                await write_at(space, place, where, memoryview(merged).cast("B"))
        slabs.pages.pop(number, None)


async def _read_pages(
    space: MirrorSpace, slabs: SlabSet, places: Sequence[Place], number: int
) -> tuple[list[array[int]], set[int]]:
    """A page of each copy, and which of them cannot be read. Raises: DiskFailed (a disk is out)."""
    pages: list[array[int]] = []
    unreadable: set[int] = set()
    for position, place in enumerate(places):
        page = new_page()
        try:
            where = place.checks + number * PAGE_BYTES
            await read_at(space, place, where, memoryview(page).cast("B"))
        except DiskFailed:
            if place not in slabs.readers:
                raise
            page = new_page()
            unreadable.add(position)
        pages.append(page)
    return pages, unreadable


async def _mismatches(
    space: MirrorSpace, slabs: SlabSet, place: Place, page: array[int], number: int, blocks: range
) -> set[int]:
    """Blocks (in runs of 16) that don't fit the copy's own page, or cannot be read. Raises: DiskFailed (the
    disk is out)."""
    suspects: set[int] = set()
    scratch = memoryview(bytearray(16 * BLOCK_BYTES))
    for begin in range(blocks.start, blocks.stop, 16):
        end = min(begin + 16, blocks.stop)
        if page[2 * begin : 2 * end] == slow.EMPTY_PAGE[: 2 * (end - begin)]:
            continue
        view = scratch[: (end - begin) * BLOCK_BYTES]
        index = number * PAGE_BLOCKS + begin
        try:
            await read_at(space, place, place.data + index * BLOCK_BYTES, view)
            if verify(page, slabs.seed, index, view) or verify_mixed(page, slabs.seed, index, view):
                continue
        except DiskFailed:
            if place not in slabs.readers:
                raise
        suspects.update(range(begin, end))
    return suspects


async def forget_regions(space: MirrorSpace, place: Place, regions: int) -> None:
    """A stale copy's entries in these regions become "never written", so that resync copies all of it.
    Raises: DiskFailed."""
    for number, first, last in region_pages(space, regions):
        page = new_page()
        where = place.checks + number * PAGE_BYTES
        try:
            await read_at(space, place, where, memoryview(page).cast("B"))
        except DiskFailed:
            page = new_page()  # all of it is forgotten then, if the disk still takes a write
        for block in range(first, last):
            put(page, block, _NOTHING)
        await write_at(space, place, where, memoryview(page).cast("B"))
