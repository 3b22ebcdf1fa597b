"""Pool metadata as bytes: records, each a tag (u8), the length of its body (u16), the body.

Each kind of record that grew has two tags: the first version's, which is still read, and still written where
it says everything, so that a pool of version 1 stays one until it is upgraded; and the second's. A record
replaces what an older one said of the same thing. Source: docs/formats/pool-metadata.md. No I/O.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Final

from storage.errors import LabelCorrupt
from storage.pool.metadata import (
    COPY,
    NAME_MAX_BYTES,
    VERSION_NEWEST,
    Awareness,
    DiskFlags,
    DiskRecord,
    DiskState,
    DropDiskRecord,
    DropJobRecord,
    DropRowRecord,
    DropSpaceRecord,
    JobRecord,
    MediaRule,
    MediaType,
    PoolRecord,
    PoolState,
    Record,
    RetireMissing,
    RowRecord,
    SpaceRecord,
    Usage,
)
from storage.space.resiliency import Provisioning, ResiliencyKind

_HEAD: Final = struct.Struct("<BH")
_POOL: Final = struct.Struct("<16sQI")
_POOL2: Final = struct.Struct("<16sQIIIIBBIBH")
_DISK: Final = struct.Struct("<I16sQIBHH")
_DISK2: Final = struct.Struct("<I16sQIBBBBHH")
_SPACE: Final = struct.Struct("<IBBBBIQH")
_SPACE2: Final = struct.Struct("<IBBBBBBBBBIIQH")
_JOB: Final = struct.Struct("<IBBIH")
NO_TARGET: Final = 0xFFFFFFFF
_ROW: Final = struct.Struct("<II")
_NUMBER: Final = struct.Struct("<I")
CHECKPOINT_MAX_BYTES: Final = 1024


class Tag(IntEnum):
    POOL = 1
    DISK = 2
    SPACE = 3
    DROP_SPACE = 4
    ROW = 5
    DROP_ROW = 6
    POOL2 = 7
    DISK2 = 8
    SPACE2 = 9
    DROP_DISK = 10
    JOB = 11
    DROP_JOB = 12


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
            tag, body = _encode_disk(record)
        case SpaceRecord():
            tag, body = _encode_space(record)
        case JobRecord():
            tag, body = Tag.JOB, _encode_job(record)
        case DropSpaceRecord():
            tag, body = Tag.DROP_SPACE, _NUMBER.pack(record.space_id)
        case DropDiskRecord():
            tag, body = Tag.DROP_DISK, _NUMBER.pack(record.number)
        case DropJobRecord():
            tag, body = Tag.DROP_JOB, _NUMBER.pack(record.job_id)
        case PoolRecord():
            tag, body = _encode_pool(record)
    return _HEAD.pack(tag, len(body)) + body


def _encode_pool(record: PoolRecord) -> tuple[Tag, bytes]:
    name = _text(record.name)
    head = record.pool_id, record.slab_bytes, record.next_space_id
    if record == PoolRecord(*head, record.name):
        return Tag.POOL, _POOL.pack(*head) + name
    numbers = record.version, record.next_disk, record.next_job, record.thin_alert_percent
    policy = record.retire_missing, record.retire_delay_s, record.repair_queue_depth
    return Tag.POOL2, _POOL2.pack(*head, *numbers, *policy, len(name)) + name


def _encode_disk(record: DiskRecord) -> tuple[Tag, bytes]:
    name, domain = _text(record.name[-200:]), _text(record.fault_domain)
    head = record.number, record.disk_id, record.size_bytes, record.slab_count, record.state
    old = DiskRecord(*head, record.name, record.fault_domain)
    if record == old:
        return Tag.DISK, _DISK.pack(*head, len(name), len(domain)) + name + domain
    kinds = record.media, record.usage, record.flags
    return Tag.DISK2, _DISK2.pack(*head, *kinds, len(name), len(domain)) + name + domain


def _encode_space(record: SpaceRecord) -> tuple[Tag, bytes]:
    name = _text(record.name)
    kinds = record.space_id, record.kind, record.copies, record.columns, record.provisioning
    sizes = record.interleave_bytes, record.size_bytes
    if record == SpaceRecord(*kinds, *sizes, record.name):
        return Tag.SPACE, _SPACE.pack(*kinds, *sizes, len(name)) + name
    more = record.parity_columns, record.groups, record.media, record.media_rule, record.awareness
    return Tag.SPACE2, _SPACE2.pack(*kinds, *more, record.parent, *sizes, len(name)) + name


def _encode_job(record: JobRecord) -> bytes:
    if len(record.checkpoint) > CHECKPOINT_MAX_BYTES:
        raise ValueError(f"a job's checkpoint has at most {CHECKPOINT_MAX_BYTES} bytes")
    target = NO_TARGET if record.target is None else record.target
    head = _JOB.pack(record.job_id, record.kind, record.state, target, len(record.checkpoint))
    return head + record.checkpoint


def _decode_record(tag: int, body: bytes) -> Record:
    match tag:
        case Tag.ROW:
            packed = body[_ROW.size :]
            if len(packed) % COPY.size or not packed:
                raise LabelCorrupt(f"pool metadata: row of {len(packed)} bytes")
            space_id, row = _ROW.unpack_from(body)
            return RowRecord(space_id, row, packed)
        case Tag.DROP_ROW:
            return DropRowRecord(*_ROW.unpack(body))
        case Tag.DISK | Tag.DISK2:
            return _decode_disk(tag, body)
        case Tag.SPACE | Tag.SPACE2:
            return _decode_space(tag, body)
        case Tag.JOB:
            return _decode_job(body)
        case Tag.DROP_SPACE:
            return DropSpaceRecord(*_NUMBER.unpack(body))
        case Tag.DROP_DISK:
            return DropDiskRecord(*_NUMBER.unpack(body))
        case Tag.DROP_JOB:
            return DropJobRecord(*_NUMBER.unpack(body))
        case Tag.POOL:
            pool_id, slab_bytes, next_space_id = _POOL.unpack_from(body)
            return PoolRecord(pool_id, slab_bytes, next_space_id, body[_POOL.size :].decode())
        case Tag.POOL2:
            return _decode_pool2(body)
        case _:
            raise LabelCorrupt(f"pool metadata: unknown record {tag}; a newer program may read it")


def _decode_pool2(body: bytes) -> PoolRecord:
    pool_id, slab, space, version, disk, job, alert, retire, delay, depth, length = _POOL2.unpack_from(body)
    name = body[_POOL2.size :]
    if len(name) != length:
        raise LabelCorrupt("pool metadata: the pool's name has the wrong length")
    if version > VERSION_NEWEST:
        raise LabelCorrupt(f"pool metadata: version {version}; this program reads up to {VERSION_NEWEST}")
    settings = alert, RetireMissing(retire), delay, depth
    return PoolRecord(pool_id, slab, space, name.decode(), version, disk, job, *settings)


def _decode_disk(tag: int, body: bytes) -> DiskRecord:
    media, usage, flags = MediaType.UNSPECIFIED, Usage.AUTO_SELECT, DiskFlags.NONE
    if tag == Tag.DISK:
        number, disk_id, size, slabs, state, name, domain = _DISK.unpack_from(body)
        text = body[_DISK.size :]
    else:
        number, disk_id, size, slabs, state, *kinds, name, domain = _DISK2.unpack_from(body)
        text = body[_DISK2.size :]
        media, usage = MediaType(kinds[0]), Usage(kinds[1])
        flags = DiskFlags(kinds[2] & DiskFlags.MAINTENANCE)
    if len(text) != name + domain:
        raise LabelCorrupt("pool metadata: a disk's names have the wrong length")
    names = text[:name].decode(), text[name:].decode()
    return DiskRecord(number, disk_id, size, slabs, DiskState(state), *names, media, usage, flags)


def _decode_space(tag: int, body: bytes) -> SpaceRecord:
    if tag == Tag.SPACE:
        space_id, kind, copies, columns, provisioning, interleave, size, length = _SPACE.unpack_from(body)
        name = body[_SPACE.size :]
        parity = groups = media = rule = parent = 0
        awareness = int(Awareness.DISK)
    else:
        space_id, kind, copies, columns, provisioning, *more, interleave, size, length = _SPACE2.unpack_from(
            body
        )
        parity, groups, media, rule, awareness, parent = more
        name = body[_SPACE2.size :]
    if len(name) != length or not copies or not columns or parity >= columns:
        raise LabelCorrupt(f"pool metadata: space {space_id} contradicts itself")
    return SpaceRecord(
        space_id,
        ResiliencyKind(kind),
        copies,
        columns,
        Provisioning(provisioning),
        interleave,
        size,
        name.decode(),
        parity,
        groups,
        parent,
        MediaType(media),
        MediaRule(rule),
        Awareness(awareness),
    )


def _decode_job(body: bytes) -> JobRecord:
    job_id, kind, state, target, length = _JOB.unpack_from(body)
    checkpoint = body[_JOB.size :]
    if len(checkpoint) != length:
        raise LabelCorrupt(f"pool metadata: job {job_id} has the wrong length")
    return JobRecord(job_id, kind, None if target == NO_TARGET else target, state, checkpoint)


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
