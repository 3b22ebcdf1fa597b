"""What a pool knows about itself: disks and their states, spaces, the slab map; and its changes, as records.

State is changed only by records (`apply`), and a snapshot is the records that build it up from nothing, so
there is one codec. A record is tag (u8), length (u16), body. Rows of the slab map are kept packed, 8 bytes a
copy (disk u16, flags u16, slab u32; column by column): a 1 PiB two-way mirror of 256 MiB slabs is 4 million
rows, some 110 MiB on disk, and a change costs one record of 27 bytes, in one 4 KiB block a disk
(docs/formats/pool-metadata.md).

Invariants (checked by `check`): a slab belongs to at most one row; two copies of a column are on different
disks; each disk and slab number exists; space names are unique. Owner: Pool. No I/O.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, NamedTuple

from storage.errors import LabelCorrupt
from storage.space.resiliency import Provisioning, ResiliencyKind

_HEAD: Final = struct.Struct("<BH")
_POOL: Final = struct.Struct("<16sQI")
_DISK: Final = struct.Struct("<I16sQIBHH")
_SPACE: Final = struct.Struct("<IBBBBIQH")
_ROW: Final = struct.Struct("<II")
_COPY: Final = struct.Struct("<HHI")
STALE: Final = 1
NAME_MAX_BYTES: Final = 255


class Tag(IntEnum):
    POOL = 1
    DISK = 2
    SPACE = 3
    DROP_SPACE = 4
    ROW = 5
    DROP_ROW = 6


class DiskState(IntEnum):
    """On-disk numbers. Only an OK disk votes; only its copies are used."""

    OK = 0
    LOST = 1
    FAILED = 2


class CopyRecord(NamedTuple):
    disk: int
    slab: int
    stale: bool = False


@dataclass(frozen=True, slots=True)
class PoolRecord:
    pool_id: bytes
    slab_bytes: int
    next_space_id: int
    name: str


@dataclass(frozen=True, slots=True)
class DiskRecord:
    """`fault_domain`: disks with the same non-empty one fail together; empty means the disk alone (node,
    chassis, rack: later)."""

    number: int
    disk_id: bytes
    size_bytes: int
    slab_count: int
    state: DiskState
    name: str
    fault_domain: str = ""


@dataclass(frozen=True, slots=True)
class SpaceRecord:
    space_id: int
    kind: ResiliencyKind
    copies: int
    columns: int
    provisioning: Provisioning
    interleave_bytes: int
    size_bytes: int
    name: str


@dataclass(frozen=True, slots=True)
class DropSpaceRecord:
    space_id: int


@dataclass(frozen=True, slots=True)
class RowRecord:
    space_id: int
    row: int
    packed: bytes


@dataclass(frozen=True, slots=True)
class DropRowRecord:
    space_id: int
    row: int


Record = PoolRecord | DiskRecord | SpaceRecord | DropSpaceRecord | RowRecord | DropRowRecord


def pack_copies(copies: list[CopyRecord]) -> bytes:
    return b"".join(_COPY.pack(copy.disk, STALE if copy.stale else 0, copy.slab) for copy in copies)


def unpack_copies(packed: bytes) -> list[CopyRecord]:
    return [CopyRecord(disk, slab, bool(flags & STALE)) for disk, flags, slab in _COPY.iter_unpack(packed)]


@dataclass(slots=True)
class SpaceState:
    record: SpaceRecord
    rows: dict[int, bytes] = field(default_factory=dict)
    stale_rows: set[int] = field(default_factory=set)
    """Rows with a stale copy."""

    def put_row(self, row: int, packed: bytes) -> None:
        self.rows[row] = packed
        if any(flags & STALE for _, flags, _ in _COPY.iter_unpack(packed)):
            self.stale_rows.add(row)
        else:
            self.stale_rows.discard(row)

    def drop_row(self, row: int) -> None:
        del self.rows[row]
        self.stale_rows.discard(row)

    def columns(self, row: int) -> list[list[CopyRecord]] | None:
        """The copies of each column of a row; None if it isn't allocated."""
        packed = self.rows.get(row)
        if packed is None:
            return None
        flat, each = unpack_copies(packed), self.record.copies
        return [flat[at : at + each] for at in range(0, len(flat), each)]


@dataclass(slots=True)
class PoolState:
    pool: PoolRecord
    disks: dict[int, DiskRecord] = field(default_factory=dict)
    spaces: dict[int, SpaceState] = field(default_factory=dict)

    def apply(self, record: Record) -> None:
        match record:
            case RowRecord():
                self.spaces[record.space_id].put_row(record.row, record.packed)
            case DropRowRecord():
                self.spaces[record.space_id].drop_row(record.row)
            case DiskRecord():
                self.disks[record.number] = record
            case SpaceRecord():
                known = self.spaces.get(record.space_id)
                if known is None:
                    self.spaces[record.space_id] = SpaceState(record)
                else:
                    known.record = record
            case DropSpaceRecord():
                del self.spaces[record.space_id]
            case PoolRecord():
                self.pool = record

    def records(self) -> Iterator[Record]:
        """A snapshot: the records that make this state."""
        yield self.pool
        yield from self.disks.values()
        for space_id, space in self.spaces.items():
            yield space.record
            for row, packed in space.rows.items():
                yield RowRecord(space_id, row, packed)

    def slabs(self) -> Iterator[tuple[int, int, CopyRecord]]:
        """(space id, row, copy) of each allotted slab."""
        for space_id, space in self.spaces.items():
            for row, packed in space.rows.items():
                for copy in unpack_copies(packed):
                    yield space_id, row, copy

    def check(self) -> None:
        """Raises LabelCorrupt if the invariants don't hold; for metadata that was just read."""
        taken: set[tuple[int, int]] = set()
        names = [space.record.name for space in self.spaces.values()]
        if len(set(names)) != len(names):
            raise LabelCorrupt("pool metadata: two spaces have one name")
        for space_id, space in self.spaces.items():
            copies = space.record.copies
            for row, packed in space.rows.items():
                where = f"pool metadata: space {space_id} row {row}"
                if len(packed) != space.record.columns * copies * _COPY.size:
                    raise LabelCorrupt(f"{where} has {len(packed)} bytes of copies")
                flat = unpack_copies(packed)
                for at, copy in enumerate(flat):
                    disk = self.disks.get(copy.disk)
                    if disk is None or copy.slab >= disk.slab_count:
                        raise LabelCorrupt(
                            f"{where} names slab {copy.slab} of disk {copy.disk}, which isn't there"
                        )
                    if (copy.disk, copy.slab) in taken:
                        raise LabelCorrupt(f"{where}: slab {copy.slab} of disk {copy.disk} is allotted twice")
                    taken.add((copy.disk, copy.slab))
                    column = at - at % copies
                    if copy.disk in (other.disk for other in flat[column:at]):
                        raise LabelCorrupt(f"{where}: two copies of a column on disk {copy.disk}")


def _text(value: str) -> bytes:
    data = value.encode()
    if len(data) > NAME_MAX_BYTES:
        raise ValueError(f"a name has at most {NAME_MAX_BYTES} bytes: {value!r}")
    return data


def encode_record(record: Record) -> bytes:
    match record:
        case RowRecord():
            tag, body = Tag.ROW, _ROW.pack(record.space_id, record.row) + record.packed
        case DropRowRecord():
            tag, body = Tag.DROP_ROW, _ROW.pack(record.space_id, record.row)
        case DiskRecord():
            name, domain = _text(record.name[-200:]), _text(record.fault_domain)
            sizes = (record.size_bytes, record.slab_count, record.state, len(name), len(domain))
            tag, body = Tag.DISK, _DISK.pack(record.number, record.disk_id, *sizes) + name + domain
        case SpaceRecord():
            name = _text(record.name)
            kinds = (record.kind, record.copies, record.columns, record.provisioning)
            head = _SPACE.pack(record.space_id, *kinds, record.interleave_bytes, record.size_bytes, len(name))
            tag, body = Tag.SPACE, head + name
        case DropSpaceRecord():
            tag, body = Tag.DROP_SPACE, struct.pack("<I", record.space_id)
        case PoolRecord():
            tag = Tag.POOL
            body = _POOL.pack(record.pool_id, record.slab_bytes, record.next_space_id) + _text(record.name)
    return _HEAD.pack(tag, len(body)) + body


def _decode_record(tag: int, body: bytes) -> Record:
    match tag:
        case Tag.ROW:
            packed = body[_ROW.size :]
            if len(packed) % _COPY.size or not packed:
                raise LabelCorrupt(f"pool metadata: row of {len(packed)} bytes")
            space_id, row = _ROW.unpack_from(body)
            return RowRecord(space_id, row, packed)
        case Tag.DROP_ROW:
            return DropRowRecord(*_ROW.unpack(body))
        case Tag.DISK:
            number, disk_id, size, slabs, state, name, domain = _DISK.unpack_from(body)
            text = body[_DISK.size :]
            if len(text) != name + domain:
                raise LabelCorrupt("pool metadata: a disk's names have the wrong length")
            return DiskRecord(
                number, disk_id, size, slabs, DiskState(state), text[:name].decode(), text[name:].decode()
            )
        case Tag.SPACE:
            space_id, kind, copies, columns, provisioning, interleave, size, length = _SPACE.unpack_from(body)
            name_bytes = body[_SPACE.size :]
            if len(name_bytes) != length or not copies or not columns:
                raise LabelCorrupt(f"pool metadata: space {space_id} contradicts itself")
            kinds = (ResiliencyKind(kind), copies, columns, Provisioning(provisioning))
            return SpaceRecord(space_id, *kinds, interleave, size, name_bytes.decode())
        case Tag.DROP_SPACE:
            return DropSpaceRecord(*struct.unpack("<I", body))
        case Tag.POOL:
            pool_id, slab_bytes, next_space_id = _POOL.unpack_from(body)
            return PoolRecord(pool_id, slab_bytes, next_space_id, body[_POOL.size :].decode())
        case _:
            raise LabelCorrupt(f"pool metadata: unknown record {tag}")


def decode_records(payload: memoryview) -> Iterator[Record]:
    """Raises LabelCorrupt on anything that isn't whole records."""
    at = 0
    while at < len(payload):
        try:
            tag, length = _HEAD.unpack_from(payload, at)
            body = bytes(payload[at + _HEAD.size : at + _HEAD.size + length])
            if len(body) != length:
                raise LabelCorrupt(f"pool metadata: record of {length} bytes is cut off")
            yield _decode_record(tag, body)
        except (struct.error, ValueError) as error:
            raise LabelCorrupt(f"pool metadata: a record at byte {at} makes no sense: {error}") from error
        at += _HEAD.size + length


def build(payload: memoryview) -> PoolState:
    """The state that a snapshot's payload describes."""
    records = decode_records(payload)
    first = next(records, None)
    if not isinstance(first, PoolRecord):
        raise LabelCorrupt("pool metadata: a snapshot does not begin with the pool's record")
    state = PoolState(first)
    apply_all(state, records)
    return state


def apply_all(state: PoolState, records: Iterator[Record]) -> None:
    for record in records:
        try:
            state.apply(record)
        except KeyError as error:
            raise LabelCorrupt(
                f"pool metadata: {type(record).__name__} for something unknown: {error}"
            ) from error
