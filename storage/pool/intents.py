"""The write-intent log of a disk: regions of its slabs where copies may differ after a power cut.

    slab 7:  |r0|r1|r2|..|r63|   a region is 4 MiB (slab/64 if that is more, the slab if that is less)
                 ^ in the log: durable on every disk that has a copy, before the first write goes in place

Invariants
  W1 A block of a slab that the durable slab map refers to is written in place only while its region is in the
     durable log of each disk that holds a copy of the slab.
  W2 A region leaves the log only when every write into it was flushed, data and checksums.
  W3 The log has two slots of 32 KiB, written in turn; a torn write leaves the older image, which can lack
     only regions that nothing was written into yet.
After a crash the regions in the log are compared between the copies (storage/space/reconcile.py); nothing
else is. An image lists (slab u32, bitmap of regions u64), sorted by slab. Source: docs/formats/intent-log.md;
the activity log of DRBD is the same idea. Owner: Pool. No I/O.
"""

from __future__ import annotations

import struct
from typing import Final

from storage.errors import LabelCorrupt
from storage.pool import frame
from storage.pool.label import INTENT_SLOT_BYTES

MAGIC: Final = b"SOFSINTL"
ENTRY: Final = struct.Struct("<IQ")
SLABS_MAX: Final = (INTENT_SLOT_BYTES - frame.HEADER.size) // ENTRY.size
REGIONS_HOT_MAX: Final = 256
"""Regions in one disk's log beyond which clean ones are dropped (1 GiB to compare after a crash). A soft
limit:"""
YOUNG_ROWS_MAX: Final = 64
"""new rows that wait for their commit come on top of it; SLABS_MAX, ten times as many, is never reached."""
IDLE_S: Final = 30.0
"""A region that nothing was written into for so long is dropped with the next image."""
REGION_BYTES: Final = 4 << 20
REGIONS_PER_SLAB_MAX: Final = 64


def region_bytes(slab_bytes: int) -> int:
    return max(min(REGION_BYTES, slab_bytes), slab_bytes // REGIONS_PER_SLAB_MAX)


def all_regions(slab_bytes: int) -> int:
    """The bitmap with every region of a slab."""
    return (1 << (slab_bytes // region_bytes(slab_bytes))) - 1


class DiskIntents:
    """What the next image of one disk's log will say: slab -> bitmap of regions."""

    __slots__ = ("bits", "sequence")

    def __init__(self, sequence: int = 0) -> None:
        self.sequence = sequence
        self.bits: dict[int, int] = {}

    def next_image(self, seed: int) -> tuple[int, bytes]:
        """(slot, frame) to write. At most SLABS_MAX slabs; the owner sees to it."""
        assert len(self.bits) <= SLABS_MAX
        self.sequence += 1
        payload = b"".join(ENTRY.pack(slab, bits) for slab, bits in sorted(self.bits.items()))
        return self.sequence % 2, frame.encode(MAGIC, self.sequence, payload, seed)


def decode(slots: list[bytes], seed: int) -> tuple[int, dict[int, int]]:
    """(sequence, slab -> bitmap) of the newer whole image. Raises LabelCorrupt if neither slot has one."""
    newest: frame.Frame | None = None
    trouble = "no slots"
    for data in slots:
        try:
            found = frame.decode(data, MAGIC, seed)
        except LabelCorrupt as error:
            trouble = str(error)
            continue
        if newest is None or found.epoch > newest.epoch:
            newest = found
    if newest is None:
        raise LabelCorrupt(f"neither slot of the write-intent log can be believed: {trouble}")
    if len(newest.payload) % ENTRY.size:
        raise LabelCorrupt(f"write-intent log: {len(newest.payload)} bytes are no whole entries")
    return newest.epoch, dict(ENTRY.iter_unpack(newest.payload))
