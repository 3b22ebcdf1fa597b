"""Where things lie in the metadata space: a header block, the database, its write-ahead log. Pure.

    0                4 KiB .. 64 KiB   64 KiB                      size - wal           size
    | header, CRC-32C |     unused      | database pages             | write-ahead log    |

The header is written as the last step of formatting: a space without it holds no catalog. It is written again
when the space has grown and the log, empty at that moment, moves to the new end. The lengths of the two
files are not stored: the database's is in its own first page, and the log ends where its salts
or checksums do.
Format: docs/formats/catalog.md.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import Final

from crc32c import crc32c

from storage.errors import CatalogCorrupt
from storage.fs.limits import METADATA_BYTES_MIN, PAGE_BYTES, WAL_BYTES_MAX, WAL_BYTES_MIN

MAGIC: Final = b"SOFSCTLG"
VERSION: Final = 1
_HEADER: Final = struct.Struct("<8sIIQQQQ16sI")
_DATABASE_AT: Final = 65_536

WAL_HEADER_BYTES: Final = 32
WAL_FRAME_BYTES: Final = 24 + PAGE_BYTES
_WAL_MAGIC: Final = (0x377F0682, 0x377F0683)


@dataclass(frozen=True, slots=True)
class Layout:
    """Offsets and lengths in bytes; `volume_id` is 16 random bytes that the database repeats."""

    database_at: int
    database_bytes: int
    wal_at: int
    wal_bytes: int
    volume_id: bytes

    def encode(self) -> bytes:
        body = _HEADER.pack(
            MAGIC,
            VERSION,
            PAGE_BYTES,
            self.database_at,
            self.database_bytes,
            self.wal_at,
            self.wal_bytes,
            self.volume_id,
            0,
        )[:-4]
        return (body + struct.pack("<I", crc32c(body))).ljust(PAGE_BYTES, b"\0")


def plan_layout(size_bytes: int, volume_id: bytes) -> Layout:
    """The layout of a new catalog in a metadata space of this size."""
    if size_bytes < METADATA_BYTES_MIN:
        raise ValueError(
            f"a metadata space of {size_bytes} bytes is too small: {METADATA_BYTES_MIN} at least"
        )
    size = size_bytes // PAGE_BYTES * PAGE_BYTES
    wal = min(max(size // 4, WAL_BYTES_MIN), WAL_BYTES_MAX) // PAGE_BYTES * PAGE_BYTES
    return Layout(_DATABASE_AT, size - wal - _DATABASE_AT, size - wal, wal, volume_id)


def extend_layout(layout: Layout, size_bytes: int) -> Layout | None:
    """The same catalog in a space that has grown to this size; None if there is nothing to gain."""
    at = size_bytes // PAGE_BYTES * PAGE_BYTES - layout.wal_bytes
    if at <= layout.wal_at:
        return None
    return replace(layout, database_bytes=at - layout.database_at, wal_at=at)


def decode_layout(block: bytes | bytearray | memoryview, size_bytes: int) -> Layout:
    """Read the header block. Raises: CatalogCorrupt if it is not one, or does not fit the space."""
    fields = _HEADER.unpack_from(block)
    magic, version, page, database_at, database_bytes, wal_at, wal_bytes, volume_id, checksum = fields
    if magic != MAGIC:
        raise CatalogCorrupt("the metadata space holds no catalog: no header at its beginning")
    if crc32c(bytes(block[: _HEADER.size - 4])) != checksum:
        raise CatalogCorrupt("the header of the catalog fails its checksum")
    if version != VERSION or page != PAGE_BYTES:
        raise CatalogCorrupt(
            f"catalog version {version} with pages of {page} bytes; this is version {VERSION}"
        )
    layout = Layout(database_at, database_bytes, wal_at, wal_bytes, volume_id)
    in_order = (
        PAGE_BYTES <= database_at < database_at + database_bytes <= wal_at < wal_at + wal_bytes <= size_bytes
    )
    if not in_order or any(value % PAGE_BYTES for value in (database_at, database_bytes, wal_at, wal_bytes)):
        raise CatalogCorrupt(
            f"the header of the catalog does not fit a space of {size_bytes} bytes: {layout}"
        )
    return layout


def database_length(first_page: bytes | bytearray | memoryview, limit: int) -> int:
    """Length of the database by its own header (SQLite file format, 1.3.8 In-header database size); 0 if
    there is none."""
    if bytes(first_page[:16]) != b"SQLite format 3\0":
        return 0
    return min(int.from_bytes(first_page[28:32], "big") * PAGE_BYTES, limit)


def wal_length(header: bytes | bytearray | memoryview) -> int:
    """0 if there is no log, else the length of its header (SQLite file format, 4.1 WAL File Format)."""
    return WAL_HEADER_BYTES if int.from_bytes(header[:4], "big") in _WAL_MAGIC else 0


def wal_frames_end(log: bytes | bytearray | memoryview, upto: int) -> int:
    """Where the frames that carry the salts of the log's header end, looking no further than `upto`."""
    salts = bytes(log[16:24])
    at = WAL_HEADER_BYTES
    while at + WAL_FRAME_BYTES <= upto and bytes(log[at + 8 : at + 16]) == salts:
        at += WAL_FRAME_BYTES
    return at
