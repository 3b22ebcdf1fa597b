"""Power cuts at every disk operation of short workloads, and at random ones of random workloads.

storage/space/port.py: "After a power cut a block that was written since the last flush reads as its old or
its new content (512-byte sectors may be mixed), the same from every copy; every other block reads as it was.
Never an error for that reason, never other bytes."
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import pytest

from storage.pool import intents
from storage.pool.pool import Pool
from storage.space.mirror import MirrorSpace
from storage.units import SpaceOffset
from tests.sim.disk import PowerCut
from tests.sim.world import Model, World, check_copies, open_space, read_all

SLAB = 64 << 10
SIZE = 256 << 10
Workload = Callable[[Pool, MirrorSpace, Model], Awaitable[None]]


async def write(space: MirrorSpace, model: Model, offset: int, data: bytes, fresh: bool = False) -> None:
    model.write(offset, data, fresh)
    if not space.write_now(SpaceOffset(offset), [data], fresh):
        await space.write(SpaceOffset(offset), [data], fresh)


async def flush(space: MirrorSpace, model: Model) -> None:
    before = model.unflushed()
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
    before = model.unflushed()
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


async def many_changes(pool: Pool, space: MirrorSpace, model: Model) -> None:
    """More changes of the slab map than a metadata slot takes: snapshots alternate between the slots."""
    for number in range(40):
        offset = number % 4 * SLAB
        if number % 8 < 4:
            await write(space, model, offset, bytes([number + 1]) * 5000)
        else:
            model.trim(offset, SLAB)
            await space.trim(SpaceOffset(offset), SLAB)
            model.settle(await read_all(space))
        await flush(space, model)


@pytest.mark.slow
def test_power_cuts_while_metadata_slots_fill_and_alternate() -> None:
    world = make("mirror", 1)
    images = world.images()
    slots = {disk.name: set() for disk in world.disks}

    async def watch() -> None:
        pool, space = await open_space(world, "s")
        for _ in range(2):
            await many_changes(pool, space, Model(SIZE))
            for member in pool._core.members.values():
                slots[member.disk.name].add(member.slot)

    world.runtime.run(watch())
    total = world.operations
    rng = random.Random(11)
    for cut_at in sorted(rng.sample(range(total // 2), 60)):
        world.rng.seed(cut_at)
        world.restore(images)
        cut_and_check(world, many_changes, cut_at)
    assert all(used == {0, 1} for used in slots.values())


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_power_cut_with_slabs_of_several_regions_and_pages(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """8 MiB slabs: two regions of 4 MiB, four checksum pages; regions leave the log all the time."""
    monkeypatch.setattr(intents, "REGIONS_HOT_MAX", 1)
    slab = 8 << 20
    world = World([10 << 20] * 2, seed)
    places = [0, 3 << 20, (4 << 20) - 2048, 5 << 20, (8 << 20) - 4096]
    pieces = {at: bytes(4096) for at in places}

    async def create() -> None:
        pool = await Pool.create(world.disks, "p", runtime=world.runtime, slab_bytes=slab)
        await pool.create_space("s", "mirror", slab)
        await pool.close()

    async def work(history: dict[int, list[bytes]]) -> None:
        pool, space = await open_space(world, "s")
        for number in range(1, 30):
            at = world.rng.choice(places)
            data = bytes([number]) * 4096
            history[at].append(data)
            await space.write(SpaceOffset(at), [data])
            if number % 3 == 0:
                before = {place: len(history[place]) for place in places}
                await space.flush()
                for place in places:
                    history[place] = history[place][before[place] - 1 :]

    async def check(history: dict[int, list[bytes]]) -> None:
        pool, space = await open_space(world, "s")
        for at in places:
            into = bytearray(4096)
            await space.read(SpaceOffset(at), memoryview(into))
            for sector in range(0, 4096, 512):
                assert bytes(into[sector : sector + 512]) in {
                    old[sector : sector + 512] for old in history[at]
                }
            pieces[at] = bytes(into)
        await check_copies(space)

    world.runtime.run(create())
    world.restore(world.images())
    for _ in range(8):
        history = {at: [pieces[at]] for at in places}
        world.operations, world.cut_at = 0, world.rng.randrange(10, 120)
        try:
            world.runtime.run(work(history))
        except PowerCut:
            pass
        world.power_cut()
        world.runtime.run(check(history))
        world.power_cut()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(30))
def test_power_cuts_while_one_disk_comes_and_goes(seed: int) -> None:
    """Within what a two-way mirror survives: one disk is away, fails or is stale; then all power goes."""
    rng = random.Random(1000 + seed)
    world = make("mirror", rng.choice((1, 2)), seed, blocks=rng.random() < 0.3, is_random=rng.random() < 0.5)
    victim = rng.randrange(4)
    model = Model(SIZE)

    async def live() -> None:
        away = rng.random() < 0.5
        pool, space = await open_space(world, "s", lambda disk: away and disk is world.disks[victim])
        content = await read_all(space)
        model.check_cut(content)
        if rng.random() < 0.3:
            world.disks[victim].fail_after = rng.randrange(60)
        await random_workload(rng, 30)(pool, space, model)
        if rng.random() < 0.3:
            before = model.unflushed()
            await pool.close()
            model.flushed(before)

    for _ in range(6):
        world.restore_open()
        world.operations, world.cut_at = 0, rng.randrange(10, 400)
        try:
            world.runtime.run(live())
        except PowerCut:
            pass
        world.disks[victim].heal()
        world.power_cut()
    world.runtime.run(verify(world, model))
