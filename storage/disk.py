"""Port: one disk, as the pool sees it: a row of blocks that can be read, written, flushed and trimmed.

Implementations: `storage/io/filedisk.py` (a file or a block device), `tests/sim/disk.py` (simulated, with
faults), later `cluster/bus` (a disk of another node). `tests/suites/disk.py` runs over each of them.

Contract
  * Offsets and lengths are multiples of `BLOCK_BYTES`.
  * A write that returned is visible to every later read; it is durable only once a `flush` that began after
  it
    returned. Unflushed writes may be lost, in any order and in 512-byte pieces, by a power cut.
  * `read_now`/`write_now` never block on the medium: they return False when they would, having had no effect
  a
    caller may rely on; the caller then awaits `read`/`write`.
  * A flush that failed is never retried: raise DiskFailed and use the disk no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from storage.units import DiskOffset


class Disk(Protocol):
    """One disk. Units: bytes. Raises: DiskFailed from every method but the properties."""

    @property
    def name(self) -> str:
        """What an operator calls it: a path or a device name."""
        ...

    @property
    def size_bytes(self) -> int: ...

    def read_now(self, offset: DiskOffset, into: Sequence[memoryview]) -> bool: ...
    async def read(self, offset: DiskOffset, into: Sequence[memoryview]) -> None: ...
    def write_now(self, offset: DiskOffset, data: Sequence[memoryview | bytes]) -> bool: ...
    async def write(self, offset: DiskOffset, data: Sequence[memoryview | bytes]) -> None: ...
    def read_blocking(self, offset: DiskOffset, into: Sequence[memoryview]) -> None:
        """Read even if the calling thread must wait; for the catalog's cache misses and for opening a
        pool."""
        ...

    async def flush(self) -> None: ...
    async def trim(self, offset: DiskOffset, length: int) -> None:
        """Give the range back to the medium; reads of it are undefined until it is written again."""
        ...

    async def close(self) -> None: ...
