"""A write-back cache over spaces in memory that lose power together, and a model of what it may read as."""

from __future__ import annotations

import random
from collections.abc import Sequence

from storage.cache.cache import WriteBackCache
from storage.cache.limits import CacheLimits
from storage.cache.plain import PlainBacking
from storage.cache.port import Backing
from storage.units import SpaceOffset
from tests.sim.runtime import InlineRuntime
from tests.suites.memoryspace import SECTOR_BYTES, MemorySpace, Power
from tests.suites.spacemodel import Model

IDENTITY = 0x5AFE
SIZE = 2 << 20
JOURNAL = 1 << 20
SMALL = CacheLimits(
    memory_bytes=64 << 10, young_bytes=64 << 10, spill_bytes=48 << 10, batch_bytes=32 << 10, idle_s=0.2
)


class CacheModel(Model):
    """As for a space; and what was trimmed may come back as anything until it is written again."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__(size_bytes)
        self.loose: set[int] = set()

    def write(self, offset: int, data: bytes, fresh: bool = False) -> None:
        sectors = set(range(offset // SECTOR_BYTES, -(-(offset + len(data)) // SECTOR_BYTES))) & self.loose
        self.anything |= sectors
        self.loose -= sectors
        super().write(offset, data, fresh)

    def trim(self, offset: int, length: int) -> None:
        self.loose.update(range(offset // SECTOR_BYTES, -(-(offset + length) // SECTOR_BYTES)))

    def check_cut(self, content: bytes | bytearray) -> None:
        self.anything |= self.loose
        super().check_cut(content)


class Rig:
    """`cache` is open while `live` runs; the spaces survive it."""

    def __init__(self, seed: int, *, slow: bool = False, power_left: int | None = None) -> None:
        self.rng = random.Random(seed)
        self.runtime = InlineRuntime(seed, self.rng if slow else None)
        self.power = Power(power_left)
        self.is_slow = slow
        self.limits = SMALL
        self.journal = MemorySpace(JOURNAL, self.runtime, self.power)
        self.space = MemorySpace(SIZE, self.runtime, self.power)
        self.model = CacheModel(SIZE)
        for space in self.spaces():
            space.keeps_versions = True
            if slow:
                space.slow(self.rng)

    def spaces(self) -> Sequence[MemorySpace]:
        return self.journal, self.space

    def backing(self) -> Backing:
        return PlainBacking(self.space, "s", 64 << 10)

    def make(self) -> WriteBackCache:
        return WriteBackCache(
            self.journal, self.backing(), self.runtime, identity=IDENTITY, limits=self.limits
        )

    def cut(self, power_left: int | None = None) -> None:
        """The power goes, and comes back."""
        self.runtime = InlineRuntime(self.rng.randrange(1 << 30), self.rng if self.is_slow else None)
        self.power = Power(power_left)
        self.journal, self.space = (
            space.power_cut(self.rng, self.runtime, self.power) for space in self.spaces()
        )
        if self.is_slow:
            for space in self.spaces():
                space.slow(self.rng)

    async def write(self, cache: WriteBackCache, offset: int, data: bytes, fresh: bool = False) -> None:
        self.model.write(offset, data, fresh)
        if not cache.write_now(SpaceOffset(offset), [data], fresh):
            await cache.write(SpaceOffset(offset), [data], fresh)

    async def flush(self, cache: WriteBackCache) -> None:
        before = self.model.unflushed()
        await cache.flush()
        self.model.flushed(before)

    async def trim(self, cache: WriteBackCache, offset: int, length: int) -> None:
        self.model.trim(offset, length)
        await cache.trim(SpaceOffset(offset), length)
        self.model.settle(await self.content(cache))

    async def content(self, cache: WriteBackCache) -> bytearray:
        found = bytearray(cache.size_bytes)
        view = memoryview(found)
        at = 0
        while at < len(found):
            length = min(len(found) - at, self.rng.choice((4096, 5000, 65536, 300_000)))
            part = view[at : at + length]
            way = self.rng.random()
            if way < 0.3:
                cache.read_blocking(SpaceOffset(at), part)
            elif way < 0.6 or not cache.read_now(SpaceOffset(at), part):
                await cache.read(SpaceOffset(at), part)
            at += length
        return found
