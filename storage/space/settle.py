"""Making the copies of single blocks equal: which data and which entry are the right ones.

With data d1..dn and entries e1..en of a block's copies (an entry may fit another copy's data: after a power
cut the data of a write may have reached one disk and its checksum another):

    candidates = {(d, e): crc(d) fits e}      -> the newest generation wins
    none, some entry says "never written"     -> never written: the content before the torn write, zeros
    none, `adopt`                             -> the first copy's content, with a new entry: a torn write
    none, not `adopt`, most pages that can be trusted say "never written" -> never written
    none, not `adopt`                         -> the newest entry stays; reads of the block say BlockCorrupt

A page of which nothing fits, no entry any data and no entry another page's, is not this slab's: it is what
the slab's last owner left, where the zeroing of a new slab got lost. A disk that lost what it had confirmed
may bring back an entry of before a trim; two copies that know better outvote it.

`adopt` only inside regions that the intent logs of all current copies' disks name: elsewhere a mismatch is
rot, and adopting it would turn rot into data. Then every copy gets the winner's data; the caller writes the
merged page. Source: docs/formats/intent-log.md. Awaits disks only. Raises: DiskFailed (told to the pool).
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from storage.errors import DiskFailed
from storage.space.checksums import block_crc, entry, is_newer, next_generation, put
from storage.space.slabset import Place, SlabSet
from storage.space.stripemap import PAGE_BLOCKS
from storage.units import BLOCK_BYTES, DiskOffset

if TYPE_CHECKING:
    from storage.space.mirror import MirrorSpace


async def read_at(space: MirrorSpace, place: Place, offset: int, into: memoryview) -> None:
    """One disk read; a failure is told to the pool and raised."""
    try:
        if not place.disk.read_now(DiskOffset(offset), (into,)):
            await place.disk.read(DiskOffset(offset), (into,))
    except DiskFailed as error:
        await space.host.read_failed(place.number, error)
        raise


async def write_at(space: MirrorSpace, place: Place, offset: int, data: memoryview) -> None:
    try:
        if not place.disk.write_now(DiskOffset(offset), (data,)):
            await place.disk.write(DiskOffset(offset), (data,))
    except DiskFailed as error:
        space.host.disk_failed(place.number, error)
        raise


async def write_verified(space: MirrorSpace, place: Place, offset: int, data: memoryview) -> None:
    """Write, then read it again; a disk that doesn't hold what was written has failed."""
    await write_at(space, place, offset, data)
    again = bytearray(len(data))  # compared as bytes; two memoryviews are compared item by item
    await read_at(space, place, offset, memoryview(again))
    if again != data:
        error = DiskFailed(f"disk {place.disk.name}: byte {offset} does not hold what was written there")
        space.host.disk_failed(place.number, error)
        raise error


async def settle_blocks(
    space: MirrorSpace,
    slabs: SlabSet,
    number: int,
    places: Sequence[Place],
    pages: Sequence[array[int]],
    blocks: Iterable[int],
    adopt: bool,
    unreadable: Collection[int] = (),
) -> array[int]:
    """The merged page for the copies at `places`; their data is made equal. `blocks` are numbers within the
    page. The pages of that position in `unreadable` say nothing; nor does data that cannot be read, which is
    written again. Raises: DiskFailed."""
    known = [page for position, page in enumerate(pages) if position not in unreadable]
    merged = array("I", known[0])
    trusted = [_share_entries(page, known) for page in known]
    open_blocks: list[int] = []
    for block in blocks:
        entries = [entry(page, block) for page in known]
        if not any(generation for _, generation in entries):
            continue
        index = number * PAGE_BLOCKS + block
        at = index * BLOCK_BYTES
        buffers = [await _read_block(space, slabs, place, at) for place in places]
        readable = [buffer for buffer in buffers if buffer is not None]
        winner, chosen = _pick(slabs.seed, index, entries, readable, adopt and bool(readable))
        put(merged, block, array("I", chosen))
        if winner is None:
            open_blocks.append(block)
            continue
        trusted = [is_so or one == chosen for is_so, one in zip(trusted, entries, strict=True)]
        for place, buffer in zip(places, buffers, strict=True):
            if buffer is None or buffer != winner:
                await write_verified(space, place, place.data + at, winner)
                space.host.count_repair(place.number, 1)
    for block in open_blocks if not adopt else ():
        votes = [entry(page, block)[1] for page, is_so in zip(known, trusted, strict=True) if is_so]
        empty = sum(1 for page in known if not any(page))
        nothing = votes.count(0) + empty
        if nothing > (len(votes) + empty) / 2:
            put(merged, block, array("I", (0, 0)))
    return merged


def _share_entries(page: array[int], pages: Sequence[array[int]]) -> bool:
    """Does another copy have an entry of this page, at the same block?"""
    mine = np.frombuffer(page, np.uint64)
    others = [np.frombuffer(one, np.uint64) for one in pages if one is not page]
    return any(bool(np.any((mine == other) & (mine != 0))) for other in others)


async def _read_block(space: MirrorSpace, slabs: SlabSet, place: Place, at: int) -> memoryview | None:
    """None: the block cannot be read, though its disk answers. Raises: DiskFailed (the disk is out)."""
    buffer = memoryview(bytearray(BLOCK_BYTES))
    try:
        await read_at(space, place, place.data + at, buffer)
    except DiskFailed:
        if place not in slabs.readers:
            raise
        return None
    return buffer


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
