"""Checksums of 4 KiB blocks, bound to the block's address and generation.

An entry is 8 bytes, little endian: crc32c (u32), generation (u32). Generation 0 means "never written": the
block reads as zeros and its data is not looked at. 512 entries make a 4 KiB page, which covers 2 MiB of a
slab; the pages of a slab lie behind its data on the same disk (docs/formats/slab.md). The pages of two copies
are equal byte for byte.

    seed  = crc32c(space seed, row, column) + block number in the slab + generation x 0x9E3779B1   (mod 2^32)
    crc   = crc32c(block, seed)

crc32c is linear, so the same data under another address or generation always has another checksum: a
misdirected block and a rotted entry show up as mismatch. A stale copy (lost write) has an older generation
than the other copy's entry. Generations count writes of the block, wrap from 2^32-1 to 1, and are compared as
serial numbers.

A page in memory is `array('I')` of 1,024 words. No I/O here.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Sequence
from typing import Final

import numpy as np
from crc32c import crc32c

from storage.space.stripemap import PAGE_BLOCKS
from storage.units import BLOCK_BYTES

ENTRY_BYTES: Final = 8
PAGE_BYTES: Final = PAGE_BLOCKS * ENTRY_BYTES
MASK: Final = 0xFFFFFFFF
GENERATION_STEP: Final = 0x9E3779B1
_VECTOR_MIN_BLOCKS: Final = 16
_RAMP: Final = np.arange(PAGE_BLOCKS, dtype=np.uint32)

if sys.byteorder != "little" or array("I").itemsize != 4:
    raise ImportError("checksum pages are little endian words in memory as on disk")


def new_page() -> array[int]:
    """All blocks never written."""
    return array("I", bytes(PAGE_BYTES))


def slab_seed(space_seed: int, row: int, column: int) -> int:
    return crc32c(struct.pack("<IQI", space_seed, row, column))


def next_generation(generation: int) -> int:
    return generation + 1 if generation < MASK else 1


def is_newer(generation: int, other: int) -> bool:
    """Serial number comparison; 0 (never written) is older than all."""
    if not other or not generation:
        return generation != 0 and other == 0
    return generation != other and (generation - other) & MASK < 1 << 31


def block_crc(block: memoryview | bytes | bytearray, seed: int, index: int, generation: int) -> int:
    return crc32c(block, (seed + index + generation * GENERATION_STEP) & MASK)


def range_crcs(view: memoryview, seed: int, index: int, generations: Sequence[int]) -> array[int]:
    """Checksums of the consecutive blocks in `view`; `index` is the first one's number in its slab."""
    count = len(generations)
    if count < _VECTOR_MIN_BLOCKS:
        seeds = [(seed + index + i + generations[i] * GENERATION_STEP) & MASK for i in range(count)]
    else:
        words = np.array(generations, dtype=np.uint32)
        words *= np.uint32(GENERATION_STEP)
        words += _RAMP[:count]
        words += np.uint32((seed + index) & MASK)
        seeds = words.tolist()
    starts = range(0, count * BLOCK_BYTES, BLOCK_BYTES)
    return array(
        "I", [crc32c(view[at : at + BLOCK_BYTES], one) for at, one in zip(starts, seeds, strict=True)]
    )


def verify(page: array[int], seed: int, index: int, view: memoryview) -> bool:
    """Do all blocks in `view` match their entries? False if one does not, or was never written."""
    first = (index & (PAGE_BLOCKS - 1)) * 2
    if len(view) == BLOCK_BYTES:
        generation = page[first + 1]
        if not generation:
            return False
        return crc32c(view, (seed + index + generation * GENERATION_STEP) & MASK) == page[first]
    entries = page[first : first + len(view) // (BLOCK_BYTES // 2)]
    generations = entries[1::2]
    if 0 in generations:
        return False
    return range_crcs(view, seed, index, generations) == entries[::2]


def stamp(page: array[int], seed: int, index: int, view: memoryview) -> array[int]:
    """The new entries for blocks that are about to hold `view`; the caller puts them into the page once
    written."""
    first = (index & (PAGE_BLOCKS - 1)) * 2
    if len(view) == BLOCK_BYTES:
        generation = page[first + 1]
        generation = generation + 1 if generation < MASK else 1
        return array("I", (crc32c(view, (seed + index + generation * GENERATION_STEP) & MASK), generation))
    entries = page[first : first + len(view) // (BLOCK_BYTES // 2)]
    old = entries[1::2]
    generations = array("I", [g + 1 if g < MASK else 1 for g in old])
    entries[::2] = range_crcs(view, seed, index, generations)
    entries[1::2] = generations
    return entries


def put(page: array[int], index: int, entries: array[int]) -> None:
    first = (index & (PAGE_BLOCKS - 1)) * 2
    page[first : first + len(entries)] = entries


def entry(page: array[int], index: int) -> tuple[int, int]:
    """(crc, generation) of one block."""
    first = (index & (PAGE_BLOCKS - 1)) * 2
    return page[first], page[first + 1]
