"""Byte ranges and 4 KiB blocks: cutting at partial blocks, claims, blocks never written. No I/O."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Final

from crc32c import crc32c

from storage.runtime import Event
from storage.space.checksums import GENERATION_STEP, MASK
from storage.space.stripemap import PAGE_BLOCKS, PAGE_SPAN_BYTES
from storage.units import BLOCK_BYTES

PAGE_SHIFT: Final = PAGE_SPAN_BYTES.bit_length() - 1
BLOCK_SHIFT: Final = BLOCK_BYTES.bit_length() - 1
EDGE: Final = BLOCK_BYTES - 1
ZEROS: Final = bytes(PAGE_SPAN_BYTES)

Buffers = Sequence[memoryview | bytes]


class Claim:
    """Bytes [start, end) of the space belong to one asynchronous operation until `done` is set."""

    __slots__ = ("done", "end", "start")

    def __init__(self, start: int, end: int, done: Event) -> None:
        self.start = start
        self.end = end
        self.done = done


def one_view(data: Buffers) -> memoryview:
    if len(data) == 1:
        only = data[0]
        return only if type(only) is memoryview else memoryview(only)
    return memoryview(b"".join(data))


def edges(offset: int, length: int) -> list[tuple[int, int, int, int]]:
    """Cut a byte range at its partial blocks: (block-aligned offset, bytes to skip there, begin, end in the
    caller's buffer). At most three parts: a partial first block, whole blocks, a partial last block."""
    parts: list[tuple[int, int, int, int]] = []
    done = 0
    skip = offset & EDGE
    if skip and length:
        done = min(BLOCK_BYTES - skip, length)
        parts.append((offset - skip, skip, 0, done))
    whole = (length - done) & ~EDGE
    if whole:
        parts.append((offset + done, 0, done, done + whole))
        done += whole
    if done < length:
        parts.append((offset + done, 0, done, length))
    return parts


def verify_mixed(page: array[int], seed: int, index: int, view: memoryview) -> bool:
    """As `verify`, where some blocks were never written: those become zeros in `view`."""
    first = (index & (PAGE_BLOCKS - 1)) * 2
    entries = page[first : first + len(view) // (BLOCK_BYTES // 2)]
    if 0 not in entries[1::2]:
        return False
    for number in range(len(entries) // 2):
        at = number * BLOCK_BYTES
        crc, generation = entries[2 * number], entries[2 * number + 1]
        if not generation:
            view[at : at + BLOCK_BYTES] = ZEROS[:BLOCK_BYTES]
        elif (
            crc32c(view[at : at + BLOCK_BYTES], (seed + index + number + generation * GENERATION_STEP) & MASK)
            != crc
        ):
            return False
    return True
