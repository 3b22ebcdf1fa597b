"""Codec of the write-back cache's journal: marks and records. Pure; no I/O.

    block 0   1   2 ............. R ..................................................... end
         |mark|mark| redo area    | ring:  ... | tail  record record record  head | ...
                    REDO records            DATA, TRIM, NOTE, PAD; oldest ... newest

    record:  head (whole blocks)                         | data (whole blocks)
             header 64 B | entry 16 B | entry ... | zeros | blocks, or redo records

A mark says where reading begins; the two slots are written in turn. Records follow each other without a gap,
each with the next sequence number and an epoch that never falls (every opening takes a new one, durably,
before it writes a record): the first thing that is not so ends the journal. So neither what an earlier lap
left, nor what was behind a torn record when an earlier life ended, is ever taken for a successor. Both
checksums start from the journal's identity. Everything read is untrusted: LabelCorrupt and nothing else is
raised. Source: docs/formats/journal.md.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from crc32c import crc32c

from storage.errors import LabelCorrupt
from storage.units import BLOCK_BYTES

VERSION: Final = 1
MARK_MAGIC: Final = b"SOFSWBCM"
RECORD_MAGIC: Final = b"SOFSWBCR"
MARK_SLOTS: Final = 2
HEADER: Final = struct.Struct("<8sHHIQQQIIIIII")
ENTRY: Final = struct.Struct("<QII")
MARK: Final = struct.Struct("<8sIIQQQQQQQQQ")
_CRC: Final = struct.Struct("<I")
_LENGTH: Final = struct.Struct("<I")

DATA_BLOCKS_MAX: Final = 1024
"""Of one DATA record: 4 MiB, the most that is read or written at once."""
REDO_BLOCKS_MAX: Final = 16384
"""Of one REDO record: 64 MiB."""
ENTRIES_MAX: Final = 65536
RUN_BLOCKS_MAX: Final = (1 << 32) - 1
"""Of one entry."""
JOURNAL_BLOCKS_MAX: Final = 1 << 32
JOURNAL_BLOCKS_MIN: Final = 256
SPACE_BLOCKS_MAX: Final = 1 << 51
RING_BLOCKS_MIN: Final = 192

assert HEADER.size == 64 and ENTRY.size == 16
assert DATA_BLOCKS_MAX <= ENTRIES_MAX  # every block of a record may be a run of its own


class Kind(enum.IntEnum):
    DATA = 1
    REDO = 2
    NOTE = 3
    TRIM = 4
    PAD = 5


class Run(NamedTuple):
    """Blocks of the space. `place`, in REDO records only: the block of the journal that their data begins
    at."""

    block: int
    length: int
    place: int = 0


@dataclass(frozen=True, slots=True)
class Geometry:
    """How a journal is cut up. Blocks."""

    blocks: int
    redo_blocks: int

    def __post_init__(self) -> None:
        if not JOURNAL_BLOCKS_MIN <= self.blocks <= JOURNAL_BLOCKS_MAX:
            raise LabelCorrupt(f"a journal has {JOURNAL_BLOCKS_MIN} blocks or more, not {self.blocks}")
        if not 0 <= self.redo_blocks <= self.blocks - MARK_SLOTS - RING_BLOCKS_MIN:
            raise LabelCorrupt(f"a redo area of {self.redo_blocks} blocks in a journal of {self.blocks}")

    @property
    def redo_start(self) -> int:
        return MARK_SLOTS

    @property
    def ring_start(self) -> int:
        return MARK_SLOTS + self.redo_blocks

    @property
    def ring_blocks(self) -> int:
        return self.blocks - self.ring_start


@dataclass(frozen=True, slots=True)
class Mark:
    """Where reading begins. `serial` orders marks; `tail` is a block of the journal, `tail_sequence` the
    number of the record there (or of the next one to be written); REDO records from `redo_sequence` on lie at
    the start of the redo area; NOTE records before `notes_from` are void."""

    identity: int
    epoch: int
    serial: int
    geometry: Geometry
    tail: int
    tail_sequence: int
    redo_sequence: int
    notes_from: int


def encode_mark(mark: Mark) -> bytes:
    """One block; everything that counts is in its first sector."""
    body = MARK.pack(
        MARK_MAGIC,
        VERSION,
        0,
        mark.identity,
        mark.epoch,
        mark.serial,
        mark.geometry.blocks,
        mark.geometry.redo_blocks,
        mark.tail,
        mark.tail_sequence,
        mark.redo_sequence,
        mark.notes_from,
    )
    return (body + _CRC.pack(crc32c(body))).ljust(BLOCK_BYTES, b"\0")


def decode_mark(data: bytes | bytearray | memoryview, identity: int) -> Mark:
    """Raises LabelCorrupt."""
    if len(data) < MARK.size + _CRC.size:
        raise LabelCorrupt(f"{len(data)} bytes are no mark of a journal")
    magic, version, _, found, epoch, serial, blocks, redo, tail, sequence, redo_sequence, notes_from = (
        MARK.unpack_from(data)
    )
    if magic != MARK_MAGIC:
        raise LabelCorrupt(f"no mark of a journal: magic number is {magic!r}")
    if _CRC.unpack_from(data, MARK.size)[0] != crc32c(bytes(data[: MARK.size])):
        raise LabelCorrupt("mark of a journal: its checksum does not match")
    if version != VERSION:
        raise LabelCorrupt(f"journal of version {version}; this program reads version {VERSION}")
    if found != identity:
        raise LabelCorrupt(f"journal of space {found:#x}, not of {identity:#x}")
    geometry = Geometry(blocks, redo)
    if not geometry.ring_start <= tail < geometry.blocks:
        raise LabelCorrupt(f"mark of a journal: its tail {tail} is outside of its ring")
    return Mark(identity, epoch, serial, geometry, tail, sequence, redo_sequence, notes_from)


def newest_mark(slots: Sequence[bytes | bytearray | memoryview], identity: int) -> Mark | None:
    """Of the two slots; None if the journal was never used. Raises LabelCorrupt if neither can be believed
    though something was written."""
    found: list[Mark] = []
    trouble: LabelCorrupt | None = None
    for slot in slots:
        if not any(slot):
            continue
        try:
            found.append(decode_mark(slot, identity))
        except LabelCorrupt as error:
            trouble = error
    if found:
        return max(found, key=lambda mark: mark.serial)
    if trouble is not None:
        raise trouble
    return None


class Head(NamedTuple):
    """What the head of a record says. `payload_bytes` of the data blocks count."""

    kind: Kind
    sequence: int
    epoch: int
    head_blocks: int
    data_blocks: int
    payload_bytes: int
    data_crc: int
    runs: tuple[Run, ...]

    @property
    def blocks(self) -> int:
        return self.head_blocks + self.data_blocks


def head_blocks(entries: int) -> int:
    return -(-(HEADER.size + entries * ENTRY.size) // BLOCK_BYTES)


def encode_record(
    kind: Kind, identity: int, sequence: int, epoch: int, runs: Iterable[Run], data: Sequence[bytes] = ()
) -> bytearray:
    """A whole record: head, then `data`, filled up to whole blocks."""
    table = b"".join([ENTRY.pack(*run) for run in runs])
    count = len(table) // ENTRY.size
    head = head_blocks(count)
    whole = bytearray().join((bytes(head * BLOCK_BYTES), *data))
    payload = len(whole) - head * BLOCK_BYTES
    if payload % BLOCK_BYTES:
        whole += bytes(-payload % BLOCK_BYTES)
    blocks = len(whole) // BLOCK_BYTES - head
    assert count <= ENTRIES_MAX and blocks <= REDO_BLOCKS_MAX, (count, blocks)
    seed = _seed(identity)
    data_crc = crc32c(memoryview(whole)[head * BLOCK_BYTES :], seed) if blocks else seed
    header = HEADER.pack(
        RECORD_MAGIC, VERSION, kind, count, identity, sequence, epoch, head, blocks, payload, data_crc, 0, 0
    )[: HEADER.size - 4]
    whole[: HEADER.size] = header + _CRC.pack(crc32c(table, crc32c(header, seed)))
    whole[HEADER.size : HEADER.size + len(table)] = table
    return whole


def encode_pad(identity: int, sequence: int, epoch: int, blocks: int) -> bytearray:
    """Fills the ring up to its end; only the first block of it is written."""
    return encode_record(Kind.PAD, identity, sequence, epoch, (Run(0, blocks),))


def decode_sizes(data: bytes | bytearray | memoryview, identity: int) -> tuple[int, int]:
    """(blocks of the head, blocks of the data) of the record that begins here: how much to read. Not
    verified yet, but within the limits. Raises LabelCorrupt."""
    if len(data) < HEADER.size:
        raise LabelCorrupt(f"{len(data)} bytes are no record of a journal")
    magic, version, kind, count, found, _, _, head, blocks, payload, _, _, _ = HEADER.unpack_from(data)
    if magic != RECORD_MAGIC or version != VERSION or found != identity:
        raise LabelCorrupt(f"no record of this journal: {magic!r}, version {version}, space {found:#x}")
    limit = REDO_BLOCKS_MAX if kind == Kind.REDO else DATA_BLOCKS_MAX if kind == Kind.DATA else 0
    if count > ENTRIES_MAX or head != head_blocks(count) or blocks > limit:
        raise LabelCorrupt(f"record of {count} entries with {head} + {blocks} blocks")
    if -(-payload // BLOCK_BYTES) != blocks:
        raise LabelCorrupt(f"record of {blocks} blocks for {payload} bytes")
    return head, blocks


def decode_head(data: bytes | bytearray | memoryview, identity: int) -> Head:
    """`data` begins with the record's head blocks. Raises LabelCorrupt."""
    head, blocks = decode_sizes(data, identity)
    if len(data) < head * BLOCK_BYTES:
        raise LabelCorrupt(f"{len(data)} bytes of a head of {head} blocks")
    _, _, kind, count, _, sequence, epoch, _, _, payload, data_crc, _, crc = HEADER.unpack_from(data)
    view = memoryview(data)
    table = view[HEADER.size : HEADER.size + count * ENTRY.size]
    if crc != crc32c(table, crc32c(view[: HEADER.size - 4], _seed(identity))):
        raise LabelCorrupt("record of a journal: the checksum of its head does not match")
    try:
        found = Kind(kind)
    except ValueError:
        raise LabelCorrupt(f"record of a journal: kind {kind}") from None
    runs = tuple(Run(*entry) for entry in ENTRY.iter_unpack(table))
    if any(not run.length or run.block + run.length > SPACE_BLOCKS_MAX for run in runs):
        raise LabelCorrupt("record of a journal: an entry is empty or beyond every space")
    if found is Kind.DATA and (
        sum(run.length for run in runs) != blocks or payload != blocks * BLOCK_BYTES or not blocks
    ):
        raise LabelCorrupt(f"record of a journal: {blocks} blocks of data for other entries")
    if found is Kind.PAD and count != 1:
        raise LabelCorrupt(f"record of a journal: {count} lengths of a filling")
    return Head(found, sequence, epoch, head, blocks, payload, data_crc, runs)


def is_data_whole(head: Head, data: memoryview, identity: int) -> bool:
    """Does the data, all its blocks, fit the head?"""
    assert len(data) == head.data_blocks * BLOCK_BYTES
    seed = _seed(identity)
    return head.data_crc == (crc32c(data, seed) if head.data_blocks else seed)


def pack_redo(records: Sequence[bytes]) -> list[bytes]:
    """The data of a REDO record."""
    parts: list[bytes] = []
    for record in records:
        parts += (_LENGTH.pack(len(record)), record)
    return parts


def unpack_redo(data: memoryview) -> list[bytes]:
    """`data` is the payload, without what fills it up. Raises LabelCorrupt."""
    records: list[bytes] = []
    at = 0
    while at < len(data):
        if at + _LENGTH.size > len(data):
            raise LabelCorrupt("redo record: cut in a length")
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        if length > len(data) - at:
            raise LabelCorrupt(f"redo record: {length} bytes where {len(data) - at} are left")
        records.append(bytes(data[at : at + length]))
        at += length
    return records


def runs_of(blocks: Iterable[int]) -> list[Run]:
    """Sorted block numbers as runs."""
    runs: list[Run] = []
    first = last = -2
    for block in blocks:
        if block == last + 1:
            last = block
            continue
        if first >= 0:
            runs.append(Run(first, last - first + 1))
        first = last = block
    if first >= 0:
        runs.append(Run(first, last - first + 1))
    return runs


def _seed(identity: int) -> int:
    return crc32c(identity.to_bytes(8, "little"))
