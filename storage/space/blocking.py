"""Reading a mirror space from any thread, while the loop's thread reads and writes it.

    run -> page, data, verify -- fits --> done
                               `- no ---> block by block, from each copy in turn, until it fits

A block may be written on the loop's thread between the reads of its entry and of its data: then it fits the
entry that the write is about to put there, or it is read again. Rot fails every time: the other copy serves,
and the loop's thread is left a note (`MirrorSpace.suspects`). A slab that moved or was released while it was
read may hold anything, zeros too: that read counts for nothing. Nothing that the loop's thread owns is
changed here, except for that note. Raises: BlockCorrupt, SlabLost, DiskFailed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from storage.errors import BlockCorrupt, DiskFailed, SlabLost
from storage.space.blocks import BLOCK_SHIFT, PAGE_SHIFT, ZEROS, verify_mixed
from storage.space.checksums import PAGE_BYTES, block_crc, new_page, slab_seed, verify
from storage.space.slabset import SlabSet
from storage.units import BLOCK_BYTES, DiskOffset

if TYPE_CHECKING:
    from storage.space.mirror import MirrorSpace

APART: Final = 0
"""Id of no space: the row is in nobody's memory yet, and only this reader's."""
ATTEMPTS_MAX: Final = 64
"""Reads of one block before it is called corrupt; each is a race lost to a writer, or rot."""


def read_run(space: MirrorSpace, row: int, column: int, at: int, view: memoryview) -> None:
    """Blocks that are consecutive in one slab."""
    troubles: list[DiskFailed] = []
    if _try(space, row, column, at, view, 0, troubles):
        return
    for begin in range(0, len(view), BLOCK_BYTES):
        block = view[begin : begin + BLOCK_BYTES]
        for attempt in range(ATTEMPTS_MAX):
            if _try(space, row, column, at + begin, block, attempt, troubles):
                break
        else:
            if troubles:
                raise troubles[-1]
            where = space.map.unmap(row, column, at + begin)
            raise BlockCorrupt(f"space {space.name} byte {where}: no copy passes its checksum")
    space.suspects.add((row, column, at, len(view)))


def _try(
    space: MirrorSpace,
    row: int,
    column: int,
    at: int,
    view: memoryview,
    attempt: int,
    troubles: list[DiskFailed],
) -> bool:
    slabs = _slabs(space, row, column)
    if slabs is None:
        view[:] = ZEROS[: len(view)]
        return True
    readers = slabs.readers
    if not readers:
        raise SlabLost(f"space {space.name} row {row}: no disk with a current copy is there")
    place = readers[attempt % len(readers)]
    number, index = at >> PAGE_SHIFT, at >> BLOCK_SHIFT
    try:
        page = slabs.pages.get(number)
        if page is None:
            page = new_page()
            where = DiskOffset(place.checks + number * PAGE_BYTES)
            place.disk.read_blocking(where, (memoryview(page).cast("B"),))
        place.disk.read_blocking(DiskOffset(place.data + at), (view,))
    except DiskFailed as error:  # the loop's thread will meet it too, and act on it
        troubles.append(error)
        return False
    if slabs.readers is not readers or slabs.is_dead or (slabs.space_id == APART and row in space.rows):
        return False  # its slab may be somebody else's by now, and what was read means nothing
    if verify(page, slabs.seed, index, view) or verify_mixed(page, slabs.seed, index, view):
        return True
    return len(view) == BLOCK_BYTES and _fits_new_entry(slabs, index, view)


def _slabs(space: MirrorSpace, row: int, column: int) -> SlabSet | None:
    sets = space.rows.get(row)
    if sets is not None:
        return sets[column]
    columns = space.state.columns(row)
    if columns is None:
        return None
    slabs = SlabSet(APART, row, column, columns[column], slab_seed(space.seed, row, column))
    space.host.resolve(slabs)
    return slabs


def _fits_new_entry(slabs: SlabSet, index: int, block: memoryview) -> bool:
    """Does it fit the entry that a write under way will put there?"""
    first, entries = slabs.underway
    candidates = [slabs.half_done.get(index, (0, 0))]
    if first <= index < first + len(entries) // 2:
        at = 2 * (index - first)
        candidates.append((entries[at], entries[at + 1]))
    return any(
        generation and block_crc(block, slabs.seed, index, generation) == crc
        for crc, generation in candidates
    )
