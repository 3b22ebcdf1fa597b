"""A pool with one space on simulated disks and a model of what it holds, for the tests of this folder."""

from __future__ import annotations

import random

from storage.pool.pool import Pool
from storage.space.mirror import MirrorSpace
from storage.units import SpaceOffset
from tests.sim.world import World, open_space, read_all

SLAB = 64 << 10
SIZE = 512 << 10


class Rig:
    """A pool with one space on simulated disks; `model` is what the space holds."""

    def __init__(
        self, disks: int = 4, resiliency: str = "mirror", columns: int = 1, seed: int = 1, **kind: bool
    ) -> None:
        self.world = World([1 << 20] * disks, seed, **kind)
        self.rng = random.Random(seed)
        self.model = bytearray(SIZE)
        self.columns = columns
        self.resiliency = resiliency

    async def create(self) -> None:
        self.pool = await Pool.create(self.world.disks, "tank", runtime=self.world.runtime, slab_bytes=SLAB)
        space = await self.pool.create_space("s", self.resiliency, SIZE, columns=self.columns)
        assert isinstance(space, MirrorSpace)
        self.space = space

    async def write(self, offset: int, data: bytes) -> None:
        if not self.space.write_now(SpaceOffset(offset), [data]):
            await self.space.write(SpaceOffset(offset), [data])
        self.model[offset : offset + len(data)] = data

    async def fill(self) -> None:
        await self.write(0, self.rng.randbytes(SIZE))
        await self.space.flush()

    async def scribble(self, times: int) -> None:
        for _ in range(times):
            offset = self.rng.randrange(SIZE)
            await self.write(
                offset, self.rng.randbytes(min(SIZE - offset, self.rng.choice((1, 600, 4096, 20_000))))
            )

    async def check(self) -> None:
        assert await read_all(self.space) == self.model

    async def reopen(self, *, without: set[int] | None = None, crash: bool = False) -> None:
        if crash:
            self.world.power_cut()
        else:
            await self.pool.close()
            self.world.restore([bytes(disk.content) for disk in self.world.disks])
        gone = without or set()
        self.pool, self.space = await open_space(
            self.world, "s", lambda disk: self.world.disks.index(disk) in gone
        )

    def health(self) -> tuple[str, str]:
        status = self.pool.status().spaces[0]
        return status.health, status.operational

    def run(self, work) -> None:
        self.world.runtime.run(work())
