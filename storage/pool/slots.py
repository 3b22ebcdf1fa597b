"""The two metadata slots of a disk: a snapshot and the records that follow it.

    slot:  | snapshot frame (epoch e) | record frame (e+1) | record frame (e+2) | ... free ... |

Changes append a record frame (4 KiB mostly) to the slot in use. When it is full, or a pool is opened, the
whole state goes as a new snapshot into the *other* slot, and that one is used from then on. So neither a torn
record nor a torn snapshot touches what was durable before. A reader takes the slot whose last whole frame has
the higher epoch. Frames that an earlier use of the slot left behind have lower epochs, and a record only
counts if its epoch is its predecessor's plus one.

Amortised cost of a change: a block, plus snapshot size / records per slot; slots are sized by
`storage/pool/label.py` so that this is small. Source: docs/formats/pool-metadata.md. No I/O.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from storage.errors import LabelCorrupt
from storage.pool import frame
from storage.pool.codec import apply_all, build, decode_records
from storage.pool.metadata import PoolState
from storage.units import BLOCK_BYTES

SNAPSHOT_MAGIC: Final = b"SOFSSNAP"
RECORD_MAGIC: Final = b"SOFSRECD"


@dataclass(slots=True)
class SlotContent:
    """What one slot says. `used_bytes` is where the next record goes."""

    state: PoolState
    epoch: int
    used_bytes: int


def parse(data: memoryview, seed: int) -> SlotContent:
    """Raises LabelCorrupt if there is no whole snapshot; a torn record at the end is not an error."""
    found = frame.decode(data, SNAPSHOT_MAGIC, seed)
    content = SlotContent(build(found.payload), found.epoch, frame.padded(len(found.payload)))
    while content.used_bytes + BLOCK_BYTES <= len(data):
        try:
            record = frame.decode(data[content.used_bytes :], RECORD_MAGIC, seed)
        except LabelCorrupt:
            break
        if record.epoch != content.epoch + 1:
            break
        apply_all(content.state, decode_records(record.payload))
        content.epoch = record.epoch
        content.used_bytes += frame.padded(len(record.payload))
    return content
