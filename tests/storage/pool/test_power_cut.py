"""Power cuts at every disk operation of short workloads, and at random ones of random workloads.

storage/space/port.py: "After a power cut a block that was written since the last flush reads as its old or
its new content (512-byte sectors may be mixed), the same from every copy; every other block reads as it was.
Never an error for that reason, never other bytes."
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import pytest

from storage.pool.pool import Pool
from storage.space.mirror import MirrorSpace
from storage.units import SpaceOffset
from tests.sim.disk import PowerCut
from tests.sim.world import Model, World, check_copies, open_space, read_all

SLAB = 64 << 10
SIZE = 256 << 10
Workload = Callable[[Pool, MirrorSpace, Model], Awaitable[None]]


async def write(space: MirrorSpace, model: Model, offset: int, data: bytes, fresh: bool = False) -> None:
    model.write(offset, data)
    if not space.write_now(SpaceOffset(offset), [data], fresh):
        await space.write(SpaceOffset(offset), [data], fresh)


async def flush(space: MirrorSpace, model: Model) -> None:
    before = set(model.may_be)
    await space.flush()
    model.flushed(before)


async def first_writes(pool: Pool, space: MirrorSpace, model: Model) -> None:
    await write(space, model, 0, b"a" * 9000)
    await flush(space, model)
    await write(space, model, 4096, b"b" * 4096)
    await write(space, model, 100_000, b"c" * 20_000)


async def overwrites(pool: Pool, space: MirrorSpace, model: Model) -> None:
    await write(space, model, 0, b"1" * 30_000)
    await flush(space, model)
    await write(space, model, 1000, b"2" * 10_000)
    await write(space, model, 1000, b"3" * 5_000)
    await flush(space, model)
    await write(space, model, 0, b"4" * 4096)


async def trims(pool: Pool, space: MirrorSpace, model: Model) -> None:
    await write(space, model, 0, b"x" * SIZE)
    await flush(space, model)
    model.trim(0, SIZE // 2 + 8192)
    await space.trim(SpaceOffset(0), SIZE // 2 + 8192)
    model.settle(await read_all(space))
    await flush(space, model)
    await write(space, model, 5000, b"y" * 70_000)
    await flush(space, model)


async def closes(pool: Pool, space: MirrorSpace, model: Model) -> None:
    await write(space, model, 12_345, b"z" * 50_000)
    before = set(model.may_be)
    await pool.close()
    model.flushed(before)


async def prepare(world: World, resiliency: str, columns: int) -> None:
    pool = await Pool.create(world.disks, "p", runtime=world.runtime, slab_bytes=SLAB)
    await pool.create_space("s", resiliency, SIZE, columns=columns)
    await pool.close()


def make(
    resiliency: str, columns: int, seed: int = 1, blocks: bool = False, is_random: bool = False
) -> World:
    world = World([600 << 10] * 4, seed, blocks, is_random)
    world.runtime.run(prepare(world, resiliency, columns))
    world.restore(world.images())
    return world


async def whole(world: World, workload: Workload, model: Model) -> None:
    pool, space = await open_space(world, "s")
    await workload(pool, space, model)


async def verify(world: World, model: Model) -> None:
    pool, space = await open_space(world, "s")
    content = await read_all(space)
    model.check_cut(content)
    await check_copies(space)
    await write(space, model, 3, b"alive")
    await flush(space, model)
    assert await read_all(space) == model.now
    await pool.close()


def cut_and_check(world: World, workload: Workload, cut_at: int | None) -> bool:
    """Did the cut come before the end?"""
    model = Model(SIZE)
    world.operations, world.cut_at = 0, cut_at
    was_cut = False
    try:
        world.runtime.run(whole(world, workload, model))
    except PowerCut:
        was_cut = True
    world.power_cut()
    world.runtime.run(verify(world, model))
    return was_cut


@pytest.mark.slow
@pytest.mark.parametrize("workload", [first_writes, overwrites, trims, closes])
@pytest.mark.parametrize(("resiliency", "columns"), [("mirror", 1), ("mirror", 2), ("simple", 2)])
def test_power_cut_before_any_disk_operation_loses_nothing_flushed(
    resiliency: str, columns: int, workload: Workload
) -> None:
    world = make(resiliency, columns)
    images = world.images()
    cut_at = 0
    while True:
        world.rng.seed(cut_at)
        world.restore(images)
        if not cut_and_check(world, workload, cut_at):
            break
        cut_at += 1
    assert cut_at > 20


def random_workload(rng: random.Random, steps: int) -> Workload:
    async def work(pool: Pool, space: MirrorSpace, model: Model) -> None:
        for _ in range(steps):
            choice = rng.random()
            offset = rng.randrange(SIZE)
            length = min(SIZE - offset, rng.choice((1, 512, 4096, 10_000, 60_000)))
            if choice < 0.7:
                await write(space, model, offset, rng.randbytes(length), fresh=rng.random() < 0.3)
            elif choice < 0.9:
                await flush(space, model)
            else:
                model.trim(offset, length)
                await space.trim(SpaceOffset(offset), length)
                model.settle(await read_all(space))

    return work


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40))
def test_power_cut_at_a_random_moment_of_a_random_workload(seed: int) -> None:
    rng = random.Random(seed)
    resiliency, columns = rng.choice((("mirror", 1), ("mirror", 2), ("simple", 1), ("simple", 3)))
    world = make(resiliency, columns, seed, blocks=rng.random() < 0.5)
    for _ in range(3):
        cut_at = rng.randrange(20, 300)
        world.restore(world.images())
        model = Model(SIZE)
        world.operations, world.cut_at = 0, cut_at

        async def start(model: Model = model) -> None:
            pool, space = await open_space(world, "s")
            model.settle(await read_all(space))
            await random_workload(rng, 40)(pool, space, model)

        try:
            world.runtime.run(start())
        except PowerCut:
            pass
        world.power_cut()
        if model.may_be or any(model.now):
            world.runtime.run(verify(world, model))
