"""Many tasks on one space, in an order drawn from a seed: reads, writes and flushes that overlap in blocks,
disks that wait or fail meanwhile, and a power cut at the end."""

from __future__ import annotations

import random

import pytest

from storage.pool import core as pool_core
from storage.pool import intents
from storage.pool.pool import Pool
from storage.space.checksums import stamp
from storage.space.mirror import MirrorSpace
from storage.units import SpaceOffset
from tests.sim.world import Model, World, check_copies, open_space, read_all

SLAB = 64 << 10
SIZE = 6 * SLAB
TASKS = 5


class Worker:
    """Owns the bytes [start, end) of the space, which begin and end inside of blocks; checks each read."""

    def __init__(self, world: World, space: MirrorSpace, model: Model, number: int, steps: int) -> None:
        share = SIZE // TASKS
        self.start, self.end = number * share // 512 * 512, (number + 1) * share // 512 * 512
        self.world, self.space, self.model, self.steps = world, space, model, steps
        self.rng = random.Random(world.rng.random())
        self.done = world.runtime.event()

    async def run(self) -> None:
        for _ in range(self.steps):
            offset = self.rng.randrange(self.start, self.end)
            length = min(self.end - offset, self.rng.choice((1, 700, 4096, 9000, 30_000)))
            choice = self.rng.random()
            if choice < 0.55:
                data = self.rng.randbytes(length)
                self.model.write(offset, data)
                if self.rng.random() < 0.5 or not self.space.write_now(SpaceOffset(offset), [data]):
                    await self.space.write(SpaceOffset(offset), [data[:100], data[100:]])
            elif choice < 0.85:
                into = bytearray(length)
                how = self.rng.randrange(3)
                if how == 0:
                    self.space.read_blocking(SpaceOffset(offset), memoryview(into))
                elif how == 1 or not self.space.read_now(SpaceOffset(offset), memoryview(into)):
                    await self.space.read(SpaceOffset(offset), memoryview(into))
                assert into == self.model.now[offset : offset + length]
            else:
                mine = {s for s in self.model.may_be if self.start <= s * 512 < self.end}
                await self.space.flush()
                self.model.flushed(mine)
        self.done.set()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(30))
def test_tasks_that_share_blocks_always_read_what_they_wrote(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(seed)
    monkeypatch.setattr(pool_core, "PAGES_CACHED_MAX", rng.choice((1, 3, 1000)))
    monkeypatch.setattr(intents, "REGIONS_HOT_MAX", rng.choice((1, 2, 256)))
    monkeypatch.setattr(intents, "YOUNG_ROWS_MAX", rng.choice((0, 64)))
    world = World([1 << 20] * 4, seed, blocks=rng.random() < 0.6, is_random=True)
    model = Model(SIZE)

    async def work() -> None:
        pool = await Pool.create(world.disks, "p", runtime=world.runtime, slab_bytes=SLAB)
        space = await pool.create_space(
            "s", "mirror", SIZE, columns=rng.choice((1, 2)), interleave_bytes=8192
        )
        assert isinstance(space, MirrorSpace)
        if rng.random() < 0.4:
            world.disks[rng.randrange(4)].fail_after = rng.randrange(10, 200)
        workers = [Worker(world, space, model, number, 25) for number in range(TASKS)]
        for worker in workers:
            world.runtime.spawn(worker.run, "worker")
        for worker in workers:
            await worker.done.wait()
        assert await read_all(space) == model.now

    async def after() -> None:
        pool, space = await open_space(world, "s")
        model.check_cut(await read_all(space))
        await check_copies(space)
        await pool.close()

    world.runtime.run(work())
    for disk in world.disks:
        disk.heal()
    world.power_cut()
    world.runtime.run(after())


def test_flushes_that_come_together_share_one_run() -> None:
    world = World([1 << 20] * 2)

    async def work() -> None:
        pool = await Pool.create(world.disks, "p", runtime=world.runtime, slab_bytes=SLAB)
        space = await pool.create_space("s", "mirror", SIZE)
        await space.write(SpaceOffset(0), [b"x" * 4096])
        await space.flush()
        before = world.disks[0].flushes
        ended = []
        for number in range(10):
            assert space.write_now(SpaceOffset(number * 4096), [b"y" * 4096])

            async def one() -> None:
                await space.flush()
                ended.append(1)

            world.runtime.spawn(one, "flush")
        await space.flush()
        while len(ended) < 10:
            await world.runtime.blocking(lambda: None)
            await world.runtime.sleep(0.001)
        assert world.disks[0].flushes - before <= 2
        await space.flush()
        assert world.disks[0].flushes - before <= 2, "nothing was written since"

    world.runtime.run(work())


def test_steady_writes_to_a_hot_region_flush_nothing_and_wait_for_nothing() -> None:
    world = World([1 << 20] * 2)

    async def work() -> None:
        pool = await Pool.create(world.disks, "p", runtime=world.runtime, slab_bytes=SLAB)
        space = await pool.create_space("s", "mirror", SIZE)
        await space.write(SpaceOffset(0), [b"x" * 4096])
        await space.flush()
        flushes = [disk.flushes for disk in world.disks]
        for number in range(200):
            assert space.write_now(SpaceOffset(number % 16 * 4096), [bytes([number]) * 4096])
            assert space.read_now(SpaceOffset(number % 16 * 4096), memoryview(bytearray(4096)))
        assert [disk.flushes for disk in world.disks] == flushes

    world.runtime.run(work())


def test_an_idle_region_leaves_the_log_and_its_next_write_logs_it_again() -> None:
    world = World([2 << 20] * 2)

    async def work() -> None:
        pool = await Pool.create(world.disks, "p", runtime=world.runtime, slab_bytes=SLAB)
        space = await pool.create_space("s", "mirror", SIZE)
        assert isinstance(space, MirrorSpace)
        await space.write(SpaceOffset(0), [b"x" * 4096])
        await space.flush()
        assert space.row(0)[0].logged
        await world.runtime.sleep(intents.IDLE_S + 1)
        await space.write(SpaceOffset(SLAB), [b"y" * 4096])
        await space.flush()
        assert not space.row(0)[0].logged
        assert not space.write_now(SpaceOffset(0), [b"z" * 4096])
        await space.write(SpaceOffset(0), [b"z" * 4096])
        assert space.write_now(SpaceOffset(0), [b"z" * 4096])

    world.runtime.run(work())


def test_what_read_blocking_finds_bad_is_repaired_by_the_next_flush() -> None:
    world = World([1 << 20] * 2)

    async def work() -> None:
        pool = await Pool.create(world.disks, "p", runtime=world.runtime, slab_bytes=SLAB)
        space = await pool.create_space("s", "mirror", SIZE)
        assert isinstance(space, MirrorSpace)
        await space.write(SpaceOffset(0), [b"x" * SLAB])
        await space.flush()
        place = space.row(0)[0].readers[0]
        world.disks[place.number].rot(place.data + 8192, 50, world.rng)
        into = bytearray(SLAB)
        space.read_blocking(SpaceOffset(0), memoryview(into))
        assert into == b"x" * SLAB
        await space.flush()
        assert pool.status().disks[place.number].repaired_blocks == 1
        await check_copies(space)

    world.runtime.run(work())


def test_a_block_between_its_new_data_and_its_new_entry_reads_as_the_new_data() -> None:
    """slabset.py, S3: both copies hold the new data of a write that ended before its entries were put."""
    for how in ("blocking", "async"):
        world = World([1 << 20] * 2)

        async def work(world: World = world, how: str = how) -> None:
            pool = await Pool.create(world.disks, "p", runtime=world.runtime, slab_bytes=SLAB)
            space = await pool.create_space("s", "mirror", SIZE)
            assert isinstance(space, MirrorSpace)
            await space.write(SpaceOffset(0), [b"o" * 8192])
            (slabs,) = space.row(0)
            entries = stamp(slabs.pages[0], slabs.seed, 1, memoryview(b"n" * 4096))
            slabs.remember_half_done(1, entries)
            for place in slabs.writers:
                await place.disk.write(place.data + 4096, [b"n" * 4096])
            into = bytearray(8192)
            if how == "blocking":
                space.read_blocking(SpaceOffset(0), memoryview(into))
            else:
                await space.read(SpaceOffset(0), memoryview(into))
                assert not slabs.half_done
                assert space.read_now(SpaceOffset(0), memoryview(into))
            assert into == b"o" * 4096 + b"n" * 4096

        world.runtime.run(work())
