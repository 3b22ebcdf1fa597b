"""Port: a space (virtual disk), as the file system sees it.

Implementations: `storage/space/` over a pool, `tests/` in memory. Any byte range may be read or written; the
space does the read-modify-write at the edges of its 4 KiB blocks, serialises overlapping writes, verifies
checksums on each read and repairs a bad copy from a good one.

Durability: as for a disk (`storage/disk.py`): a write is visible at once, durable after a later `flush`.
After a power cut a block that was written since the last flush reads as its old or its new content (512-byte
sectors may be mixed), the same from every copy; every other block reads as it was. Never an error for that
reason, never other bytes.

`fresh=True` on a write says that nothing durable refers to these bytes yet (newly allocated clusters): the
space may skip the write-intent record, and after a power cut the range may read as anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from storage.units import SpaceOffset


@dataclass(frozen=True, slots=True)
class SpaceUsage:
    """Bytes. `allocated` counts slabs given to this space, once (not per copy); `available` is what could
    still be
    allocated to it out of the pool at its resiliency; `footprint` counts every copy. `row`: what a thin space
    takes and gives back at a time, from its beginning on; 0: it does not give back."""

    size_bytes: int
    allocated_bytes: int
    available_bytes: int
    footprint_bytes: int
    row_bytes: int = 0


class Space(Protocol):
    """A virtual disk. Raises: DiskFailed, BlockCorrupt, SlabLost, PoolFull (thin, on a write)."""

    @property
    def size_bytes(self) -> int: ...

    def usage(self) -> SpaceUsage: ...

    def read_now(self, offset: SpaceOffset, into: memoryview) -> bool:
        """Read without blocking. True: `into` is filled and verified. False: await `read`."""
        ...

    async def read(self, offset: SpaceOffset, into: memoryview) -> None: ...

    def read_blocking(self, offset: SpaceOffset, into: memoryview) -> None:
        """Read, blocking the calling thread; for the catalog's cache misses."""
        ...

    def write_now(self, offset: SpaceOffset, data: Sequence[memoryview | bytes], fresh: bool = False) -> bool:
        """Write without blocking. True: done (not durable). False: await `write`; nothing may be assumed."""
        ...

    async def write(
        self, offset: SpaceOffset, data: Sequence[memoryview | bytes], fresh: bool = False
    ) -> None: ...
    async def flush(self) -> None:
        """Every write that returned before this call is durable when it returns."""
        ...

    async def trim(self, offset: SpaceOffset, length: int) -> None:
        """The range is no longer used. Whole slabs inside it go back to the pool (thin spaces). It reads as
        zeros or
        as it was until written again. The caller has made durable that nothing refers to it."""
        ...
