"""Redo records of a parity space: what a batch needs, beside its data, to be written again.

    record   head 32 B | segment | segment | ...                                docs/formats/parity.md
    segment  head 16 B | old entries | new entries | parity blocks (P, then Q), unless the stripe is full

A segment is some consecutive slices of one stripe, all of whose blocks with a bit in `written` are in the
batch. Old and new entries are the truth's, before and after: a slice whose truth is the old one is written
again; with any other it was finished (or more happened to it since) and is left alone. Slices that were never
written before the batch have no segment: until their truth is durable they are "never written", so nothing of
them is lost. The journal that keeps the records has the checksum. All of it is untrusted when it is read:
LabelCorrupt and nothing else is raised. No I/O.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from storage.errors import LabelCorrupt
from storage.space.parity.map import ParityMap
from storage.units import BLOCK_BYTES

MAGIC: Final = b"SOFSPRTY"
VERSION: Final = 1
HEAD: Final = struct.Struct("<8sHBBIIQI")
"""magic, version, columns, parities, space id, segments, length of the record, interleave in blocks."""
SEGMENT: Final = struct.Struct("<QIHBB")
"""row, first slice, slices, written roles (bit r: role r), flags."""
FLAG_PARITY: Final = 1
RECORD_MAX_BYTES: Final = 1 << 20
"""Aimed at; one segment may be longer."""

assert HEAD.size == 32 and SEGMENT.size == 16


@dataclass(slots=True)
class Logged:
    """A segment as the record has it. `parities`: empty if all data roles are in the batch."""

    row: int
    first: int
    count: int
    written: int
    old: array[int]
    new: array[int]
    parities: list[memoryview]


def segment_bytes_max(stripes: ParityMap) -> int:
    """Of a segment of one slice."""
    return SEGMENT.size + 2 * stripes.group * 8 + stripes.parities * BLOCK_BYTES


def encode(stripes: ParityMap, space_id: int, segments: Iterable[Logged]) -> list[bytes]:
    """Records of a size that is easy to keep."""
    records: list[bytes] = []
    parts: list[bytes | memoryview] = []
    size = count = 0

    def close() -> None:
        nonlocal parts, size, count
        kinds = (VERSION, stripes.columns, stripes.parities, space_id, count, HEAD.size + size)
        records.append(b"".join([HEAD.pack(MAGIC, *kinds, stripes.unit_blocks), *parts]))
        parts, size, count = [], 0, 0

    for one in segments:
        flags = FLAG_PARITY if one.parities else 0
        piece: list[bytes | memoryview] = [
            SEGMENT.pack(one.row, one.first, one.count, one.written, flags),
            one.old.tobytes(),
            one.new.tobytes(),
            *one.parities,
        ]
        parts.extend(piece)
        size += sum(map(len, piece))
        count += 1
        if size >= RECORD_MAX_BYTES:
            close()
    if count:
        close()
    return records


def decode(stripes: ParityMap, space_id: int, record: bytes) -> Iterator[Logged]:
    """Raises LabelCorrupt."""
    view = memoryview(record)
    if len(view) < HEAD.size:
        raise LabelCorrupt(f"redo record of a parity space: {len(view)} bytes are no head")
    magic, version, columns, parities, found_id, count, length, unit_blocks = HEAD.unpack_from(view)
    if magic != MAGIC:
        raise LabelCorrupt(f"redo record of a parity space: magic number is {magic!r}")
    if version != VERSION:
        raise LabelCorrupt(f"redo record of version {version}; this program reads version {VERSION}")
    shape = columns, parities, unit_blocks
    if found_id != space_id or shape != (stripes.columns, stripes.parities, stripes.unit_blocks):
        raise LabelCorrupt(
            f"redo record of space {found_id} with columns, parities, interleave {shape}; "
            f"it was found for space {space_id}"
        )
    if length != len(view):
        raise LabelCorrupt(f"redo record of {length} bytes is {len(view)} bytes long")
    at = HEAD.size
    for _ in range(count):
        if at + SEGMENT.size > len(view):
            raise LabelCorrupt("redo record of a parity space: a segment is cut off")
        row, first, slices, written, flags = SEGMENT.unpack_from(view, at)
        at += SEGMENT.size
        _check(stripes, first, slices, written, flags)
        words = slices * stripes.group * 8
        parity_bytes = slices * BLOCK_BYTES
        number = stripes.parities if flags & FLAG_PARITY else 0
        if at + 2 * words + number * parity_bytes > len(view):
            raise LabelCorrupt("redo record of a parity space: a segment is cut off")
        old, new = (
            array("I", bytes(view[at : at + words])),
            array("I", bytes(view[at + words : at + 2 * words])),
        )
        at += 2 * words
        parities_found = [view[at + i * parity_bytes : at + (i + 1) * parity_bytes] for i in range(number)]
        at += number * parity_bytes
        yield Logged(row, first, slices, written, old, new, parities_found)
    if at != len(view):
        raise LabelCorrupt(f"redo record of a parity space: {len(view) - at} bytes too many")


def contradiction(what: str) -> LabelCorrupt:
    return LabelCorrupt(f"redo record of a parity space and its batch contradict each other: {what}")


def _check(stripes: ParityMap, first: int, slices: int, written: int, flags: int) -> None:
    every = (1 << stripes.data_columns) - 1
    unit = stripes.unit_blocks
    is_inside = slices and first + slices <= stripes.slab_blocks
    if not is_inside or first // unit != (first + slices - 1) // unit:
        raise LabelCorrupt(f"redo record: slices {first}+{slices} are not of one stripe")
    if first // stripes.page_slices != (first + slices - 1) // stripes.page_slices:
        raise LabelCorrupt(f"redo record: slices {first}+{slices} are not of one page of the truth")
    if not written or written & ~every or flags & ~FLAG_PARITY:
        raise LabelCorrupt(f"redo record: roles {written:#x} with flags {flags:#x}")
    if bool(flags & FLAG_PARITY) == (written == every):
        raise LabelCorrupt(f"redo record: roles {written:#x} with flags {flags:#x} contradict each other")
