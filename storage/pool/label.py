"""The label of a disk: which pool it belongs to, and where things lie on it.

    0          4 KiB    36 KiB   68 KiB            data                                        end - 4 KiB
    | label A  | intent | intent | slot 0 | slot 1 | slab 0 | checks 0 | slab 1 | checks 1 | ... | label B |
    |          | log 0  | log 1  |  pool metadata  |

Label A and B hold the same, with a sequence number; they are rewritten one after the other with a flush
between, so one is always whole. A label changes only when a pool is created or opened: `promised_term` is the
promise to accept no metadata of an older opening (storage/pool/quorum.py). Source: docs/formats/label.md. No
I/O. Units: bytes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from storage.errors import LabelCorrupt, PoolFull
from storage.pool import frame
from storage.space.checksums import ENTRY_BYTES
from storage.units import BLOCK_BYTES, DiskOffset

MAGIC: Final = b"SOFSLABL"
FIXED: Final = struct.Struct("<16s16sIIQQQQQIH")
NAME_MAX_BYTES: Final = 256
SLAB_MIN_BYTES: Final = 64 << 10
SLAB_MAX_BYTES: Final = 4 << 30
INTENT_OFFSET: Final = BLOCK_BYTES
INTENT_SLOT_BYTES: Final = 32 << 10
METADATA_OFFSET: Final = INTENT_OFFSET + 2 * INTENT_SLOT_BYTES
SLOT_MIN_BYTES: Final = 64 << 10
SLOT_MAX_BYTES: Final = 256 << 20


@dataclass(frozen=True, slots=True)
class Label:
    """Written to both places of a disk. `number` is the disk's index in its pool, never used again for
    another."""

    pool_id: bytes
    disk_id: bytes
    number: int
    promised_term: int
    size_bytes: int
    slab_bytes: int
    metadata_offset: int
    slot_bytes: int
    data_offset: int
    slab_count: int
    pool_name: str
    sequence: int = 1

    @property
    def stride_bytes(self) -> int:
        return self.slab_bytes + checks_bytes(self.slab_bytes)

    def slab_at(self, slab: int) -> DiskOffset:
        return DiskOffset(self.data_offset + slab * self.stride_bytes)

    def slot_at(self, slot: int) -> DiskOffset:
        return DiskOffset(self.metadata_offset + slot * self.slot_bytes)

    def checks_at(self, slab: int) -> DiskOffset:
        return DiskOffset(self.data_offset + slab * self.stride_bytes + self.slab_bytes)

    def intents_at(self, slot: int) -> DiskOffset:
        return DiskOffset(INTENT_OFFSET + slot * INTENT_SLOT_BYTES)

    @property
    def places(self) -> tuple[DiskOffset, DiskOffset]:
        return DiskOffset(0), second_place(self.size_bytes)


def second_place(size_bytes: int) -> DiskOffset:
    return DiskOffset((size_bytes // BLOCK_BYTES - 1) * BLOCK_BYTES)


def checks_bytes(slab_bytes: int) -> int:
    """Size of a slab's checksum area."""
    entries = slab_bytes // BLOCK_BYTES * ENTRY_BYTES
    return -(-entries // BLOCK_BYTES) * BLOCK_BYTES


def plan(
    pool_id: bytes, pool_name: str, disk_id: bytes, number: int, size_bytes: int, slab_bytes: int
) -> Label:
    """Lay out a new disk. Raises PoolFull if not one slab fits."""
    slot = max(SLOT_MIN_BYTES, min(SLOT_MAX_BYTES, size_bytes // 256 // BLOCK_BYTES * BLOCK_BYTES))
    data = METADATA_OFFSET + 2 * slot
    stride = slab_bytes + checks_bytes(slab_bytes)
    slabs = (second_place(size_bytes) - data) // stride
    if slabs < 1:
        raise PoolFull(
            f"a disk of {size_bytes} bytes is too small for the pool: one slab of {slab_bytes} bytes "
            f"needs {data + stride + BLOCK_BYTES}"
        )
    return Label(
        pool_id, disk_id, number, 1, size_bytes, slab_bytes, METADATA_OFFSET, slot, data, slabs, pool_name
    )


def encode(label: Label) -> bytes:
    name = label.pool_name.encode()
    if len(name) > NAME_MAX_BYTES:
        raise ValueError(f"a pool's name has at most {NAME_MAX_BYTES} bytes, not {len(name)}")
    payload = FIXED.pack(
        label.pool_id,
        label.disk_id,
        label.number,
        label.promised_term,
        label.size_bytes,
        label.slab_bytes,
        label.metadata_offset,
        label.slot_bytes,
        label.data_offset,
        label.slab_count,
        len(name),
    )
    return frame.encode(MAGIC, label.sequence, payload + name)


def decode(data: memoryview | bytes, size_bytes: int) -> Label:
    """`size_bytes` is the size that the disk has now. Raises LabelCorrupt."""
    found = frame.decode(data, MAGIC)
    if len(found.payload) < FIXED.size:
        raise LabelCorrupt(f"label of {len(found.payload)} bytes is too short")
    pool_id, disk_id, *numbers, name_length = FIXED.unpack_from(found.payload)
    name = bytes(found.payload[FIXED.size :])
    if len(name) != name_length or name_length > NAME_MAX_BYTES:
        raise LabelCorrupt(f"label: name of {name_length} bytes, but {len(name)} are there")
    try:
        number, term, size, slab, metadata, slot, data_offset, slabs = numbers
        geometry = (size, slab, metadata, slot, data_offset, slabs)
        label = Label(pool_id, disk_id, number, term, *geometry, name.decode(), found.epoch)
    except UnicodeDecodeError as error:
        raise LabelCorrupt("label: the pool's name is not UTF-8") from error
    end = label.data_offset + label.slab_count * label.stride_bytes
    sane = (
        SLAB_MIN_BYTES <= label.slab_bytes <= SLAB_MAX_BYTES
        and not label.slab_bytes & (label.slab_bytes - 1)
        and label.metadata_offset == METADATA_OFFSET
        and SLOT_MIN_BYTES <= label.slot_bytes <= SLOT_MAX_BYTES
        and label.slot_bytes % BLOCK_BYTES == 0
        and label.data_offset == METADATA_OFFSET + 2 * label.slot_bytes
        and label.slab_count > 0
        and end <= second_place(label.size_bytes)
    )
    if not sane:
        raise LabelCorrupt("label: its numbers contradict each other")
    if label.size_bytes > size_bytes:
        raise LabelCorrupt(
            f"label: the disk had {label.size_bytes} bytes and has {size_bytes} now; was it cut off?"
        )
    return label
