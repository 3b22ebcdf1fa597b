"""Every resiliency, with and without a journal, through the pool: what it promises to survive, it
survives."""

from __future__ import annotations

import itertools
import random

import pytest

from storage.errors import SlabLost, StorageError
from storage.pool.pool import Pool
from storage.space.port import Space
from storage.units import SpaceOffset
from tests.sim.world import World

SLAB = 64 << 10
SIZE = 768 << 10
DISK = 6 << 20
KINDS = {  # name -> (disks, columns, write cache, tolerance)
    "simple": (3, 2, 0, 0),
    "mirror": (4, 2, 0, 1),
    "three-way-mirror": (5, 1, 0, 2),
    "parity": (5, 3, None, 1),
    "dual-parity": (7, 6, None, 2),
    "mirror+cache": (4, 2, 1 << 20, 1),
    "three-way-mirror+cache": (4, 1, 1 << 20, 2),
}


class Tank:
    """A pool with one space of some kind; `model` is what it holds."""

    def __init__(self, kind: str, seed: int = 1) -> None:
        self.disks, self.columns, self.cache, self.tolerance = KINDS[kind]
        self.resiliency = kind.removesuffix("+cache")
        self.world = World([DISK] * self.disks, seed)
        self.rng = random.Random(seed)
        self.model = bytearray(SIZE)
        self.pool: Pool
        self.space: Space

    async def create(self) -> None:
        runtime = self.world.runtime
        self.pool = await Pool.create(self.world.disks, "tank", runtime=runtime, slab_bytes=SLAB)
        self.space = await self.pool.create_space(
            "s", self.resiliency, SIZE, columns=self.columns, write_cache_bytes=self.cache
        )

    async def write(self, offset: int, data: bytes, fresh: bool = False) -> None:
        if not self.space.write_now(SpaceOffset(offset), [data], fresh):
            await self.space.write(SpaceOffset(offset), [data], fresh)
        self.model[offset : offset + len(data)] = data

    async def scribble(self, times: int) -> None:
        for _ in range(times):
            offset = self.rng.randrange(SIZE)
            length = min(SIZE - offset, self.rng.choice((1, 700, 4096, 30_000, 300_000)))
            await self.write(offset, self.rng.randbytes(length))

    async def check(self) -> None:
        content = bytearray(SIZE)
        for at in range(0, SIZE, 128 << 10):
            await self.space.read(SpaceOffset(at), memoryview(content)[at : at + (128 << 10)])
        assert content == self.model

    async def reopen(self, without: tuple[int, ...] = (), crash: bool = False) -> None:
        if crash:
            self.world.runtime.kill_tasks()
            self.world.power_cut()
        else:
            await self.pool.close()
            self.world.restore([bytes(disk.content) for disk in self.world.disks])
        disks = [disk for number, disk in enumerate(self.world.disks) if number not in without]
        self.pool = await Pool.open(disks, self.world.runtime)
        self.space = self.pool.space("s")

    def health(self) -> tuple[str, str]:
        status = self.pool.status().spaces[0]
        return status.health, status.operational


@pytest.mark.parametrize("kind", KINDS)
def test_it_holds_what_was_written_and_comes_back_with_it(kind: str) -> None:
    tank = Tank(kind)

    async def work() -> None:
        await tank.create()
        assert tank.pool.space_names == ["s"]
        await tank.scribble(40)
        await tank.check()
        await tank.reopen()
        await tank.check()
        await tank.scribble(20)
        await tank.space.flush()
        await tank.reopen(crash=True)
        await tank.check()
        assert tank.health()[0] == "Healthy"
        free = tank.pool.status().free_bytes
        await tank.pool.delete_space("s")
        status = tank.pool.status()
        assert status.free_bytes == status.capacity_bytes > free and not status.spaces

    tank.world.runtime.run(work())


@pytest.mark.parametrize("kind", KINDS)
def test_it_reads_and_writes_without_any_disks_that_it_can_miss(kind: str) -> None:
    tank = Tank(kind)

    async def work() -> None:
        await tank.create()
        await tank.scribble(30)
        await tank.space.flush()
        await tank.pool.close()
        images = [bytes(disk.content) for disk in tank.world.disks]
        model = bytes(tank.model)
        lost = list(itertools.combinations(range(tank.disks), tank.tolerance))
        for gone in tank.rng.sample(lost, min(6, len(lost))):
            tank.world.restore(images)
            tank.model[:] = model
            disks = [disk for number, disk in enumerate(tank.world.disks) if number not in gone]
            if 2 * len(disks) <= tank.disks:
                continue
            tank.pool = await Pool.open(disks, tank.world.runtime)
            tank.space = tank.pool.space("s")
            await tank.check()
            await tank.scribble(15)
            await tank.check()
            await tank.space.flush()
            await tank.reopen()
            await tank.check()
            assert tank.health() == ("Healthy", "OK")
            await tank.pool.close()

    tank.world.runtime.run(work())


@pytest.mark.parametrize("kind", KINDS)
def test_disks_that_fail_under_it_one_after_the_other_are_missed(kind: str) -> None:
    tank = Tank(kind, seed=5)

    async def work() -> None:
        await tank.create()
        await tank.scribble(30)
        await tank.space.flush()
        for number in tank.rng.sample(range(tank.disks), tank.tolerance):
            tank.world.disks[number].fail()
            await tank.check()
            await tank.scribble(20)
            await tank.check()
            await tank.space.flush()
        if tank.tolerance:
            assert tank.health()[0] == "Warning"
        for disk in tank.world.disks:
            disk.heal()
        await tank.reopen(crash=True)
        await tank.check()
        assert tank.health()[0] == "Healthy"

    tank.world.runtime.run(work())


@pytest.mark.parametrize("kind", KINDS)
def test_beyond_that_there_is_an_error_and_never_wrong_bytes(kind: str) -> None:
    tank = Tank(kind, seed=9)

    async def work() -> None:
        await tank.create()
        await tank.write(0, tank.rng.randbytes(SIZE))
        await tank.space.flush()
        await tank.reopen()
        for number in range(tank.tolerance + 1):
            tank.world.disks[number].fail()
        wrong = errors = 0
        for at in range(0, SIZE, 16 << 10):
            into = memoryview(bytearray(16 << 10))
            try:
                await tank.space.read(SpaceOffset(at), into)
            except StorageError as error:
                assert isinstance(error, SlabLost), error
                errors += 1
                continue
            wrong += into != tank.model[at : at + len(into)]
        assert errors and not wrong

    tank.world.runtime.run(work())
