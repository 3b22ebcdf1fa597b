"""A pool's whole life at random, from a seed: writes, trims, disks that fail, return, are replaced, rot, and
power
cuts anywhere. Within what the resiliency promises nothing is lost; a budget keeps the faults within it.
"""

from __future__ import annotations

import random

import pytest

from storage.errors import DiskFailed
from storage.pool.pool import Pool
from storage.space.port import Space
from storage.units import SpaceOffset
from tests.sim.disk import PowerCut, SimDisk
from tests.sim.world import Model, World

SLAB = 64 << 10
SIZE = 512 << 10
DISK = 4 << 20
KINDS = {  # name -> (disks, columns, write cache, tolerance)
    "simple": (3, 2, 0, 0),
    "mirror": (4, 2, 0, 1),
    "three-way-mirror": (5, 1, 0, 2),
    "parity": (5, 3, None, 1),
    "dual-parity": (6, 4, None, 2),
    "mirror+cache": (4, 1, 1 << 20, 1),
}


class Lives:
    """`away`: disks that failed, or have returned and aren't refilled yet."""

    def __init__(self, kind: str, seed: int) -> None:
        disks, self.columns, self.cache, self.tolerance = KINDS[kind]
        self.resiliency = kind.removesuffix("+cache")
        self.rng = random.Random(f"{kind} {seed}")
        self.world = World([DISK] * disks, seed, is_random=self.rng.random() < 0.5)
        self.model = Model(SIZE)
        self.away: set[SimDisk] = set()
        self.log: list[str] = []
        self.trimmed: set[int] = set()
        """Sectors that nobody refers to; a power cut may bring back what a cached space held there."""
        self.written: set[int] = set()
        self.pool: Pool
        self.space: Space

    async def create(self) -> None:
        runtime = self.world.runtime
        self.pool = await Pool.create(self.world.disks, "tank", runtime=runtime, slab_bytes=SLAB)
        await self.pool.create_space(
            "s", self.resiliency, SIZE, columns=self.columns, write_cache_bytes=self.cache
        )
        await self.pool.close()

    async def open(self) -> None:
        for disk in self.world.disks:
            disk.is_closed = False
        self.pool = await Pool.open(self.world.disks, self.world.runtime)
        self.space = self.pool.space("s")
        for disk in self.world.disks:
            disk.is_closed = False
        self.away.clear()

    async def content(self) -> bytearray:
        found = bytearray(SIZE)
        for at in range(0, SIZE, 64 << 10):
            await self.space.read(SpaceOffset(at), memoryview(found)[at : at + (64 << 10)])
        return found

    def check_cut(self, content: bytearray) -> None:
        self.model.anything.update(self.trimmed)
        self.model.check_cut(content)

    async def check(self) -> None:
        assert await self.content() == self.model.now

    # -- what happens --------------------------------------------------------------------------------------

    async def write(self) -> None:
        for _ in range(self.rng.randrange(1, 6)):
            offset = self.rng.randrange(SIZE)
            length = min(SIZE - offset, self.rng.choice((1, 512, 4096, 10_000, 60_000, 400_000)))
            data, fresh = self.rng.randbytes(length), self.rng.random() < 0.2
            self.model.write(offset, data, fresh)
            self.written.update(range(offset // 512, -(-(offset + length) // 512)))
            if not self.space.write_now(SpaceOffset(offset), [data], fresh):
                await self.space.write(SpaceOffset(offset), [data], fresh)

    async def flush(self) -> None:
        before, written = self.model.unflushed(), set(self.written)
        await self.space.flush()
        self.model.flushed(before)
        self.trimmed -= written

    async def trim(self) -> None:
        offset = self.rng.randrange(SIZE)
        length = min(SIZE - offset, self.rng.choice((4096, 70_000, 200_000)))
        self.model.trim(offset, length)
        if self.cache != 0:
            sectors = range(offset // 512, -(-(offset + length) // 512))
            self.trimmed.update(sectors)
            self.written.difference_update(sectors)
        await self.space.trim(SpaceOffset(offset), length)
        self.model.settle(await self.content())

    async def fail(self) -> None:
        if len(self.away) < self.tolerance:
            members = [disk for disk in self.world.disks if self.number_of(disk) is not None]
            victim = self.rng.choice([one for one in members if one not in self.away])
            self.away.add(victim)
            victim.fail()

    async def come_back(self) -> None:
        for disk in sorted(self.away, key=lambda one: one.name):
            number = self.number_of(disk)
            if number is None:
                continue
            if self.pool._core.members[number].disk is not None:
                self.pool._core.disk_failed(number, DiskFailed("pulled out"))
            disk.heal()
            if self.rng.random() < 0.5:
                disk.power_cut(self.rng)
                self.world.listen()
            await self.pool.return_disk(disk)
            if self.rng.random() < 0.5:
                await self.write()
        await self.pool.resync()
        assert self.pool.status().spaces[0].health == "Healthy"
        self.away.clear()

    def number_of(self, disk: SimDisk) -> int | None:
        return next((one.number for one in self.pool.status().disks if one.name == disk.name), None)

    async def replace(self) -> None:
        """The worst disk goes, another comes."""
        if len(self.world.disks) > 9 or not self.tolerance:
            return
        members = [disk for disk in self.world.disks if self.number_of(disk) is not None]
        old = self.rng.choice([disk for disk in members if disk in self.away] or members)
        number = self.number_of(old)
        new = SimDisk(f"d{len(self.log)}x", DISK + (1 << 20), self.world.runtime)
        self.world.disks.append(new)
        self.world.listen()
        assert number is not None
        if self.rng.random() < 0.5:
            await self.pool.add_disks([new])
            job = await self.pool.jobs.remove(number)
        else:
            await self.pool.replace_disk(number, new)
            job = max(one.id for one in self.pool.jobs.jobs())
        if self.rng.random() < 0.7:
            await self.write()
        ended = await self.pool.jobs.wait(job)
        if len(self.away) <= 1:
            assert ended.state == "Completed", ended
        if ended.state == "Completed":
            self.world.disks.remove(old)
            self.away.discard(old)

    async def rot(self) -> None:
        """One disk's data; scrubbed at once, before anything else goes wrong."""
        if self.away or not self.tolerance:
            return
        disk = self.rng.choice(self.world.disks)
        for _ in range(self.rng.randrange(1, 5)):
            at = self.rng.randrange(1 << 20, DISK - 8192)
            if self.rng.random() < 0.6:
                disk.rot(at, 600, self.rng)
            else:
                disk.unreadable.add(at & ~4095)
        job = await self.pool.jobs.scrub()
        if self.rng.random() < 0.5:
            await self.write()
        assert (await self.pool.jobs.wait(job)).state == "Completed"
        await self.flush()
        disk.unreadable.clear()

    async def even_out(self) -> None:
        if not self.away:
            job = await self.pool.jobs.optimize()
            await self.write()
            ended = await self.pool.jobs.wait(job)
            assert ended.state == "Completed", ended

    async def restart(self) -> None:
        before = self.model.unflushed()
        await self.pool.close()
        if not self.away:
            self.model.flushed(before)
        for disk in self.world.disks:
            disk.heal()
        await self.open()
        self.check_cut(await self.content())

    async def live(self, steps: int) -> None:
        await self.open()
        self.check_cut(await self.content())
        deeds = [self.write] * 6 + [self.flush] * 4 + [self.trim] * 2 + [self.fail] * 2
        deeds += [self.come_back, self.replace, self.rot, self.even_out, self.restart, self.check]
        for _ in range(steps):
            deed = self.rng.choice(deeds)
            self.log.append(deed.__name__)
            await deed()
        await self.check()


def live(kind: str, seed: int, lives: int = 4) -> None:
    one = Lives(kind, seed)
    world, rng = one.world, one.rng
    world.runtime.run(one.create())
    world.restore(world.images())
    for _ in range(lives):
        world.operations, world.cut_at = 0, rng.choice((None, rng.randrange(5, 1200)))
        try:
            world.runtime.run(one.live(rng.randrange(5, 25)))
        except PowerCut:
            one.log.append("CUT")
        for disk in world.disks:
            disk.heal()
            disk.unreadable.clear()
        world.runtime.kill_tasks()
        world.power_cut()
        one.log.append("POWER")

    async def end() -> None:
        await one.open()
        one.check_cut(await one.content())
        status = one.pool.status()
        assert status.spaces[0].health == "Healthy", status.spaces[0]
        one.pool._core.state.check()

    world.runtime.run(end())


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("kind", KINDS)
def test_a_life_at_random_loses_nothing(kind: str, seed: int) -> None:
    live(kind, seed)
