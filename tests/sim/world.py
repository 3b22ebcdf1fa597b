"""Simulated disks that lose power together; what a space on them holds."""

from __future__ import annotations

import random
from collections.abc import Callable

from storage.pool.pool import Pool
from storage.space.checksums import PAGE_BYTES, block_crc, entry, new_page
from storage.space.mirror import MirrorSpace
from storage.units import BLOCK_BYTES, SpaceOffset
from tests.sim.disk import PowerCut, SimDisk
from tests.sim.runtime import InlineRuntime
from tests.suites.spacemodel import Model

__all__ = ["Model", "World", "check_copies", "open_space", "read_all"]


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
