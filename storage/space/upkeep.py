"""Keeping the copies of a space good while it is used: refill of stale ones, scrub of all.

    refill   stale copy on a disk that is there: pages differ? -> those granules of 64 KiB are copied,
             verified
    scrub    every copy that is current: page and data read and verified -> what is bad is written from a good
             one

Refill compares checksum pages instead of keeping a bitmap: the checksum area is the dirty-region map, exact
and durable with the data; an empty slab differs in all that was ever written. The range is claimed while it
is copied, so writers wait for a few granules at most; they write to the stale copy too. Pages follow when all
data is flushed: a power cut in between must not leave an entry without its data, which would never be copied
again. (What writers write meanwhile is in the target's own intent log: reconcile.py forgets it.) Awaits disks
and `pace`.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Final

from storage.errors import DiskFailed
from storage.space import slow
from storage.space.blocks import verify_mixed
from storage.space.checksums import PAGE_BYTES, block_crc, entry, new_page, verify
from storage.space.machine import Pace, ScrubResult
from storage.space.settle import read_at, write_verified
from storage.space.slabset import Place, SlabSet
from storage.space.stripemap import PAGE_BLOCKS, PAGE_SPAN_BYTES
from storage.units import BLOCK_BYTES

if TYPE_CHECKING:
    from storage.space.mirror import MirrorSpace

GRANULE_BYTES: Final = 64 << 10
GRANULE_WORDS: Final = GRANULE_BYTES // BLOCK_BYTES * 2
STEP_GRANULES: Final = 8
"""Copied at once, if they follow each other: a disk that is waited for gives little in small pieces."""


def span_of(space: MirrorSpace, slabs: SlabSet, at: int, length: int) -> tuple[int, int]:
    """The bytes of the space from the first to the last that lie in this part of the slab."""
    last = at + length - BLOCK_BYTES
    start = space.map.unmap(slabs.row, slabs.column, at)
    return start, space.map.unmap(slabs.row, slabs.column, last) + BLOCK_BYTES


# -- refill ------------------------------------------------------------------------------------------------


async def refill(space: MirrorSpace, slabs: SlabSet, target: Place, pace: Pace) -> int:
    """`SpaceMachine.refill`. No slab of the set is given away meanwhile, though the row may be trimmed."""
    if slabs.is_dead:
        return 0
    slabs.inflight += 1
    try:
        return await _refill(space, slabs, target, pace)
    finally:
        slabs.inflight -= 1


async def _refill(space: MirrorSpace, slabs: SlabSet, target: Place, pace: Pace) -> int:
    copied = 0
    slabs.filled[target.number] = set()
    pages = range(-(-space.slab_bytes // PAGE_SPAN_BYTES))
    for number in pages:
        await pace(0)
        copied += await _copy_span(space, slabs, number, target, pace)
    await _flush(space, target)
    for number in pages:
        await pace(0)
        await _write_page(space, slabs, number, target)
    return copied


async def _copy_span(space: MirrorSpace, slabs: SlabSet, number: int, target: Place, pace: Pace) -> int:
    """What one page speaks of, where the target's page says something else."""
    copied = 0
    theirs = await _page_of(space, slabs, target, number)
    granule, end = 0, min(PAGE_SPAN_BYTES, space.slab_bytes) // GRANULE_BYTES
    while granule < end:
        source = await slow.load_page(space, slabs, number)
        count = 0
        while granule + count < end and count < STEP_GRANULES and _is_other(source, theirs, granule + count):
            count += 1
        if not count:
            granule += 1
            continue
        length = count * GRANULE_BYTES
        at = number * PAGE_SPAN_BYTES + granule * GRANULE_BYTES
        await pace(length)
        claim = await slow.acquire(space, *span_of(space, slabs, at, length))
        try:
            if slabs.is_dead:
                return copied
            copied += await _copy_granules(space, slabs, number, granule, count, target)
        finally:
            slow.release(space, claim)
        granule += count
    return copied


def _is_other(source: array[int], theirs: array[int], granule: int) -> bool:
    """Does the granule hold something that the target lacks?"""
    first = granule * GRANULE_WORDS
    ours = source[first : first + GRANULE_WORDS]
    return ours != theirs[first : first + GRANULE_WORDS] and any(ours[1::2])


async def _flush(space: MirrorSpace, target: Place) -> None:
    """Before the pages: an entry that is durable says that its data is."""
    try:
        await target.disk.flush()
    except DiskFailed as error:
        space.host.disk_failed(target.number, error)
        raise


async def _page_of(space: MirrorSpace, slabs: SlabSet, target: Place, number: int) -> array[int]:
    """The page as the target has it; empty if it cannot be read: all of it is copied then."""
    theirs = new_page()
    try:
        await read_at(space, target, target.checks + number * PAGE_BYTES, memoryview(theirs).cast("B"))
    except DiskFailed:
        if target not in slabs.writers:
            raise
        return new_page()
    return theirs


async def _copy_granules(
    space: MirrorSpace, slabs: SlabSet, number: int, granule: int, count: int, target: Place
) -> int:
    source = await slow.load_page(space, slabs, number)
    first = granule * GRANULE_WORDS
    if not any(source[first + 1 : first + count * GRANULE_WORDS : 2]):
        return 0
    at, length = number * PAGE_SPAN_BYTES + granule * GRANULE_BYTES, count * GRANULE_BYTES
    buffer = memoryview(bytearray(length))
    begin = 0
    while begin < length:
        size = min(length - begin, space.map.unit_bytes - (at + begin) % space.map.unit_bytes)
        offset = space.map.unmap(slabs.row, slabs.column, at + begin)
        await slow.read_aligned(space, offset, buffer[begin : begin + size], is_claimed=True)
        begin += size
    await write_verified(space, target, target.data + at, buffer)
    return length


async def _write_page(space: MirrorSpace, slabs: SlabSet, number: int, target: Place) -> None:
    """The page as it is now; all that it speaks of has been copied, or written since to the target as well.
    A write that comes later makes it dirty, and the flush writes it here too from now on (S5)."""
    span = min(PAGE_SPAN_BYTES, space.slab_bytes)
    claim = await slow.acquire(space, *span_of(space, slabs, number * PAGE_SPAN_BYTES, span))
    try:
        if slabs.is_dead:
            return
        theirs = await _page_of(space, slabs, target, number)
        page = await slow.load_page(space, slabs, number)
        if target.number in slabs.filled:
            slabs.filled[target.number].add(number)
        if page != theirs:
            image = memoryview(array("I", page)).cast("B")
            await write_verified(space, target, target.checks + number * PAGE_BYTES, image)
    finally:
        slow.release(space, claim)


# -- scrub -------------------------------------------------------------------------------------------------


async def scrub_row(space: MirrorSpace, row: int, pace: Pace) -> ScrubResult:
    """`SpaceMachine.scrub_row`."""
    result = ScrubResult()
    for slabs in space.row(row) or ():
        slabs.inflight += 1  # none of its slabs is given away meanwhile
        try:
            await _scrub_set(space, slabs, pace, result)
        finally:
            slabs.inflight -= 1
    return result


async def _scrub_set(space: MirrorSpace, slabs: SlabSet, pace: Pace, result: ScrubResult) -> None:
    for number in range(-(-space.slab_bytes // PAGE_SPAN_BYTES)):
        if slabs.is_dead or not slabs.readers:
            break
        await pace(PAGE_BYTES)
        await _scrub_page(space, slabs, number, result)
        for granule in range(min(PAGE_SPAN_BYTES, space.slab_bytes) // GRANULE_BYTES):
            if slabs.is_dead or not slabs.readers:
                break
            page = await slow.load_page(space, slabs, number)
            first = granule * GRANULE_WORDS
            if any(page[first + 1 : first + GRANULE_WORDS : 2]):
                await pace(GRANULE_BYTES * len(slabs.readers))
                at = number * PAGE_SPAN_BYTES + granule * GRANULE_BYTES
                await _scrub_granule(space, slabs, at, result)


def _is_left_to_flush(space: MirrorSpace, slabs: SlabSet, number: int) -> bool:
    """While something else works on the slab (the scrub itself is one of those in flight) its page isn't
    compared: that may be a flush of it, or a refill, which writes no page of the other copies. So the next
    flush writes it to all of them."""
    if slabs.is_dead or number in slabs.dirty:
        return True
    if slabs.inflight <= 1:
        return False
    slabs.dirty.add(number)
    space.dirty[slabs] = None
    return True


async def _scrub_page(space: MirrorSpace, slabs: SlabSet, number: int, result: ScrubResult) -> None:
    """The page on each disk is the one in memory, unless a flush is about to make it so."""
    page = await slow.load_page(space, slabs, number)
    for place in slabs.readers:
        theirs = new_page()
        where = place.checks + number * PAGE_BYTES
        try:
            if _is_left_to_flush(space, slabs, number):
                return
            await read_at(space, place, where, memoryview(theirs).cast("B"))
        except DiskFailed:
            theirs = array("I", b"\xff" * PAGE_BYTES)
        page = slabs.pages.get(number, page)
        if theirs == page or place not in slabs.readers or _is_left_to_flush(space, slabs, number):
            continue
        try:
            await write_verified(space, place, where, memoryview(array("I", page)).cast("B"))
        except DiskFailed:
            continue
        result.repaired += 1
        space.host.count_repair(place.number, 1)
        space.dirty[slabs] = None


async def _scrub_granule(space: MirrorSpace, slabs: SlabSet, at: int, result: ScrubResult) -> None:
    number, index = at // PAGE_SPAN_BYTES, at // BLOCK_BYTES
    view = memoryview(bytearray(GRANULE_BYTES))
    is_good = True
    readers = slabs.readers
    for place in readers:
        page = await slow.load_page(space, slabs, number)
        try:
            await read_at(space, place, place.data + at, view)
        except DiskFailed:
            is_good = False
            continue
        page = slabs.pages.get(number, page)
        is_good &= verify(page, slabs.seed, index, view) or verify_mixed(page, slabs.seed, index, view)
    result.checked += GRANULE_BYTES // BLOCK_BYTES * len(readers)
    if is_good:
        return
    claim = await slow.acquire(space, *span_of(space, slabs, at, GRANULE_BYTES))
    try:
        if slabs.is_dead:
            return
        for block in range(index, index + GRANULE_BYTES // BLOCK_BYTES):
            await _scrub_block(space, slabs, block, result)
    finally:
        slow.release(space, claim)


async def _scrub_block(space: MirrorSpace, slabs: SlabSet, index: int, result: ScrubResult) -> None:
    """The range is claimed: what doesn't fit its entry is bad."""
    page = await slow.load_page(space, slabs, index // PAGE_BLOCKS)
    crc, generation = entry(page, index)
    if not generation or slabs.is_dead:
        return
    good: memoryview | None = None
    bad: list[Place] = []
    for place in slabs.readers:
        view = memoryview(bytearray(BLOCK_BYTES))
        try:
            await read_at(space, place, place.data + index * BLOCK_BYTES, view)
        except DiskFailed:
            bad.append(place)
            continue
        if block_crc(view, slabs.seed, index, generation) == crc:
            good = view
        else:
            bad.append(place)
    if good is None and index in slabs.half_done:
        row, column, at = slabs.row, slabs.column, index * BLOCK_BYTES
        space.suspects.add((row, column, at, BLOCK_BYTES))
        return
    if good is None:
        result.lost += 1
        return
    for place in bad:
        try:
            await write_verified(space, place, place.data + index * BLOCK_BYTES, good)
        except DiskFailed:
            continue
        result.repaired += 1
        space.host.count_repair(place.number, 1)
        space.dirty[slabs] = None
