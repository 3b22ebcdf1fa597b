"""The envelope of what the pool writes about itself: label, metadata snapshot and record, intent log.

    0        8        12       16       24        28        32
    | magic  | version| length | epoch  | payload | header  | payload ... zeros up to a multiple of 4 KiB
    |  8 B   |  u32   |  u32   |  u64   | crc32c  | crc32c  |

Little endian. Both checksums are seeded with crc32c of the pool id (0 for labels), so that what an earlier
pool left on a disk is never believed. A frame is written whole; a torn one fails its checksum. `epoch` orders
frames of one kind. Source: docs/formats/label.md. No I/O.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from crc32c import crc32c

from storage.errors import LabelCorrupt
from storage.units import BLOCK_BYTES

HEADER: Final = struct.Struct("<8sIIQII")
VERSION: Final = 1
_CHECKED_BYTES: Final = HEADER.size - 4


class Frame(NamedTuple):
    version: int
    epoch: int
    payload: memoryview


def padded(length: int) -> int:
    """Bytes of disk that a frame with this much payload takes."""
    return -(-(HEADER.size + length) // BLOCK_BYTES) * BLOCK_BYTES


def encode(magic: bytes, epoch: int, payload: bytes, seed: int = 0) -> bytes:
    head = HEADER.pack(magic, VERSION, len(payload), epoch, crc32c(payload, seed), 0)[:_CHECKED_BYTES]
    whole = head + struct.pack("<I", crc32c(head, seed)) + payload
    return whole.ljust(padded(len(payload)), b"\0")


def parse_header(data: memoryview | bytes, magic: bytes, limit_bytes: int, seed: int = 0) -> tuple[int, int]:
    """(length of the payload, version). Raises LabelCorrupt."""
    if len(data) < HEADER.size:
        raise LabelCorrupt(f"{len(data)} bytes are no {magic.decode()} frame")
    found, version, length, _, _, checksum = HEADER.unpack_from(data)
    if found != magic:
        raise LabelCorrupt(f"no {magic.decode()} here: magic number is {found!r}")
    if checksum != crc32c(bytes(data[:_CHECKED_BYTES]), seed):
        raise LabelCorrupt(f"{magic.decode()}: checksum of the header does not match")
    if version != VERSION:
        raise LabelCorrupt(f"{magic.decode()}: version {version}; this program reads version {VERSION}")
    if padded(length) > limit_bytes:
        raise LabelCorrupt(f"{magic.decode()}: length {length} exceeds the {limit_bytes} bytes of its place")
    return length, version


def decode(data: memoryview | bytes, magic: bytes, seed: int = 0) -> Frame:
    """Raises LabelCorrupt if it is not a whole frame of that kind, with what is wrong."""
    length, version = parse_header(data, magic, len(data), seed)
    _, _, _, epoch, checksum, _ = HEADER.unpack_from(data)
    payload = memoryview(data)[HEADER.size : HEADER.size + length]
    if checksum != crc32c(payload, seed):
        raise LabelCorrupt(f"{magic.decode()}: checksum of the content does not match")
    return Frame(version, epoch, payload)
