"""Simulated disks that lose power together, and a dumb model of what a space may read as afterwards.

The model keeps, per 512-byte sector, every content that a read may return: exactly one while the power is on;
after a power cut any of those written since the last completed flush, or the one before.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from storage.pool.pool import Pool
from storage.space.checksums import PAGE_BYTES, block_crc, entry, new_page
from storage.space.mirror import MirrorSpace
from storage.units import BLOCK_BYTES, SpaceOffset
from tests.sim.disk import SECTOR_BYTES, PowerCut, SimDisk
from tests.sim.runtime import InlineRuntime

ZERO: Final = bytes(SECTOR_BYTES)


class World:
    """Some disks and a runtime. `cut_at` stops everything before that disk operation (write, flush or trim)
    number."""

    def __init__(
        self, sizes: list[int], seed: int = 1, blocks: bool = False, is_random: bool = False
    ) -> None:
        self.rng = random.Random(seed)
        self.runtime = InlineRuntime(seed, self.rng if is_random else None)
        self.disks = [SimDisk(f"d{number}", size, self.runtime, blocks) for number, size in enumerate(sizes)]
        self.operations = 0
        self.cut_at: int | None = None
        self.listen()

    def listen(self) -> None:
        for disk in self.disks:
            disk.hook = self._count

    def _count(self, disk: str, what: str) -> None:
        if self.operations == self.cut_at:
            raise PowerCut(f"before {what} on {disk}")
        self.operations += 1

    def power_cut(self) -> None:
        self.cut_at = None
        for disk in self.disks:
            disk.power_cut(self.rng)
        self.listen()

    def restore_open(self) -> None:
        """Disks that a pool closed may be opened again."""
        for disk in self.disks:
            disk.is_closed = False

    def images(self) -> list[bytes]:
        return [bytes(disk.durable) for disk in self.disks]

    def restore(self, images: list[bytes]) -> None:
        for disk, image in zip(self.disks, images, strict=True):
            disk.durable[:] = image
            disk.content[:] = image
            disk.unflushed.clear()
            disk.is_closed = False


class Model:
    """What a space holds. Sizes are multiples of a sector; ranges are any bytes."""

    def __init__(self, size_bytes: int) -> None:
        self.now = bytearray(size_bytes)
        self.may_be: dict[int, set[bytes]] = {}
        """Sectors written since the last flush -> what else they may read as after a power cut."""
        self.anything: set[int] = set()
        """Sectors that may read as anything after a power cut."""

    def write(self, offset: int, data: bytes, fresh: bool = False) -> None:
        """Call it before the write is tried."""
        if fresh:
            blocks = range(offset // BLOCK_BYTES, -(-(offset + len(data)) // BLOCK_BYTES))
            self.anything.update(sector for block in blocks for sector in range(block * 8, block * 8 + 8))
        sectors = range(offset // SECTOR_BYTES, -(-(offset + len(data)) // SECTOR_BYTES))
        for sector in sectors:
            self.may_be.setdefault(sector, set()).add(self._sector(sector))
        self.now[offset : offset + len(data)] = data
        for sector in sectors:
            self.may_be[sector].add(self._sector(sector))

    def trim(self, offset: int, length: int) -> None:
        """Reads as it was or as zeros until written again; the power is on."""
        for sector in range(offset // SECTOR_BYTES, -(-(offset + length) // SECTOR_BYTES)):
            self.may_be.setdefault(sector, set()).update((self._sector(sector), ZERO))

    def settle(self, content: bytes | bytearray) -> None:
        """What it reads as now is what it holds."""
        self.now[:] = content

    def unflushed(self) -> set[int]:
        return set(self.may_be) | self.anything

    def flushed(self, before: set[int]) -> None:
        """A flush that began when `before` were the unflushed sectors has ended."""
        for sector in before:
            self.may_be.pop(sector, None)
            self.anything.discard(sector)

    def check_cut(self, content: bytes | bytearray) -> None:
        """After a power cut."""
        for sector in range(len(self.now) // SECTOR_BYTES):
            found = bytes(content[sector * SECTOR_BYTES : (sector + 1) * SECTOR_BYTES])
            allowed = self.may_be.get(sector, set()) | {self._sector(sector)}
            known = found in allowed or sector in self.anything
            assert known, f"sector {sector} is neither old nor new ({len(allowed)} contents allowed)"
        self.now[:] = content
        self.may_be.clear()
        self.anything.clear()

    def _sector(self, sector: int) -> bytes:
        return bytes(self.now[sector * SECTOR_BYTES : (sector + 1) * SECTOR_BYTES])


async def read_all(space: MirrorSpace) -> bytearray:
    content = bytearray(space.size_bytes)
    for offset in range(0, len(content), 1 << 20):
        await space.read(SpaceOffset(offset), memoryview(content)[offset : offset + (1 << 20)])
    return content


async def check_copies(space: MirrorSpace) -> int:
    """Every current copy of every block passes the same checksum; returns the blocks looked at."""
    looked = 0
    for row in list(space.state.rows):
        for slabs in space.row(row) or ():
            for number in range(-(-space.slab_bytes // (PAGE_BYTES * 512))):
                pages = []
                for place in slabs.readers:
                    page = new_page()
                    await place.disk.read(place.checks + number * PAGE_BYTES, [memoryview(page).cast("B")])
                    pages.append(page)
                assert all(page == pages[0] for page in pages), "the copies' checksums differ"
                for block in range(min(512, space.slab_bytes // BLOCK_BYTES)):
                    crc, generation = entry(pages[0], block)
                    if generation:
                        index = number * 512 + block
                        for place in slabs.readers:
                            buffer = bytearray(BLOCK_BYTES)
                            await place.disk.read(place.data + index * BLOCK_BYTES, [memoryview(buffer)])
                            assert block_crc(buffer, slabs.seed, index, generation) == crc, (row, index)
                            looked += 1
    return looked


async def open_space(
    world: World, name: str, without: Callable[[SimDisk], bool] | None = None
) -> tuple[Pool, MirrorSpace]:
    disks = [disk for disk in world.disks if without is None or not without(disk)]
    pool = await Pool.open(disks, world.runtime)
    space = pool.space(name)
    assert isinstance(space, MirrorSpace)
    return pool, space
