"""A space of copies (simple, mirror) behind the write-back cache.

Its blocks don't depend on each other, so nothing has to be redone: a block torn by a power cut is still in
the journal, and is applied again. Bulk writes go around the journal as they would without a cache. No I/O of
its own; awaits the space it was given. Source: docs/design-spaces.md, "Write-back cache".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from storage.cache.port import Batch
from storage.space.port import Space, SpaceUsage
from storage.units import SpaceOffset

STRIPE_BYTES_DEFAULT: Final = 256 << 10
"""What destaging merges up to: an interleave, long enough for a disk to stream."""


class PlainBacking:
    """`storage.cache.port.Backing` over a simple or mirror space."""

    def __init__(self, space: Space, name: str = "space", stripe_bytes: int = STRIPE_BYTES_DEFAULT) -> None:
        self._space = space
        self._name = name
        self._stripe_bytes = stripe_bytes

    @property
    def name(self) -> str:
        return self._name

    @property
    def size_bytes(self) -> int:
        return self._space.size_bytes

    @property
    def stripe_bytes(self) -> int:
        return self._stripe_bytes

    def usage(self) -> SpaceUsage:
        return self._space.usage()

    def read_now(self, offset: SpaceOffset, into: memoryview) -> bool:
        return self._space.read_now(offset, into)

    async def read(self, offset: SpaceOffset, into: memoryview) -> None:
        await self._space.read(offset, into)

    def read_blocking(self, offset: SpaceOffset, into: memoryview) -> None:
        self._space.read_blocking(offset, into)

    async def prepare(self, batch: Batch) -> Sequence[bytes]:
        return ()

    def redo_bytes_max(self, blocks: int) -> int:
        return 0

    async def apply(self, batch: Batch) -> None:
        for offset, data in batch:
            if not self._space.write_now(SpaceOffset(offset), (data,)):
                await self._space.write(SpaceOffset(offset), (data,))

    async def redo(self, records: Sequence[bytes], batch: Batch) -> None:
        await self.apply(batch)

    def may_pass(self, offset: int, length: int) -> bool:
        return True

    def pass_ranges(self, offset: int, length: int) -> Sequence[tuple[int, int]]:
        return ()

    async def write_fresh(self, offset: SpaceOffset, data: Sequence[memoryview | bytes]) -> None:
        await self._space.write(offset, data, True)

    def write_fresh_now(self, offset: SpaceOffset, data: Sequence[memoryview | bytes]) -> bool:
        return self._space.write_now(offset, data, True)

    async def settle(self, ranges: Sequence[tuple[int, int]]) -> None:
        """A space of copies makes its copies equal by itself, when the pool is opened."""

    async def flush(self) -> None:
        await self._space.flush()

    async def trim(self, offset: SpaceOffset, length: int) -> None:
        await self._space.trim(offset, length)
