"""Distinct integer types for offsets; mixing them is the classic storage bug.

`DiskOffset`: bytes from the start of one disk.  `SpaceOffset`: bytes from the start of a space (virtual
disk).
`FileOffset`: bytes from the start of a stream.
"""

from __future__ import annotations

from typing import Final, NewType

DiskOffset = NewType("DiskOffset", int)
SpaceOffset = NewType("SpaceOffset", int)
FileOffset = NewType("FileOffset", int)

BLOCK_BYTES: Final = 4096
"""The unit of checksums, and the smallest unit of disk I/O. Source: docs/formats."""
