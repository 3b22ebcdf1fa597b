"""Power cuts at every disk operation while disks are added, return, are emptied, and slabs move.

After each the pool opens, what was flushed is there, current copies agree, and no slab is lost or given
twice.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import pytest

from storage.errors import DiskFailed
from storage.pool.pool import Pool
from storage.space.mirror import MirrorSpace
from storage.space.port import Space
from storage.units import SpaceOffset
from tests.sim.disk import PowerCut
from tests.sim.world import Model, World, check_copies, read_all

SLAB = 64 << 10
SIZE = 256 << 10


class Life:
    """One world; `members` of its disks are in the pool from the start."""

    def __init__(self, members: int, spares: int, seed: int = 1) -> None:
        self.world = World([600 << 10] * (members + spares), seed)
        self.members = members
        self.model = Model(SIZE)
        self.pool: Pool
        self.space: Space

    async def create(self, resiliency: str = "mirror", columns: int = 1) -> None:
        disks = self.world.disks[: self.members]
        self.pool = await Pool.create(disks, "p", runtime=self.world.runtime, slab_bytes=SLAB)
        self.space = await self.pool.create_space(
            "s", resiliency, SIZE, columns=columns, write_cache_bytes=0
        )
        await self.write(0, self.world.rng.randbytes(SIZE))
        await self.flush()
        await self.pool.close()

    async def open(self, without: int | None = None) -> None:
        disks = [disk for number, disk in enumerate(self.world.disks) if number != without]
        self.pool = await Pool.open(disks, self.world.runtime)
        for disk in disks:
            disk.is_closed = False
        self.space = self.pool.space("s")

    async def write(self, offset: int, data: bytes) -> None:
        self.model.write(offset, data)
        if not self.space.write_now(SpaceOffset(offset), [data]):
            await self.space.write(SpaceOffset(offset), [data])

    async def flush(self) -> None:
        before = self.model.unflushed()
        await self.space.flush()
        self.model.flushed(before)

    async def scribble(self, count: int, rng: random.Random) -> None:
        for _ in range(count):
            offset = rng.randrange(SIZE)
            await self.write(offset, rng.randbytes(min(SIZE - offset, rng.choice((5, 4096, 20_000)))))

    async def verify(self) -> None:
        await self.open()
        self.model.check_cut(await read_all(self.space))
        space = self.space
        assert isinstance(space, MirrorSpace)
        await check_copies(space)
        core = self.pool._core
        core.state.check()
        held = dict.fromkeys(core.state.disks, 0)
        for _, _, copy in core.state.slabs():
            held[copy.disk] += 1
        assert held == {number: core.slabs_on(number) for number in held}
        await self.write(7, b"alive")
        await self.flush()
        assert await read_all(self.space) == self.model.now


async def no_pace(count: int) -> None:
    pass


async def moves(life: Life) -> None:
    """Every row's first copy goes elsewhere, while it is written to."""
    rng = random.Random(3)
    await life.open()
    core, space = life.pool._core, life.space
    assert isinstance(space, MirrorSpace)
    for row in range(2):
        slabs = space.row(row)[0]
        old = slabs.copies[0]
        await life.scribble(1, rng)
        place = await core.start_copy(space, slabs, old)
        await life.scribble(2, rng)
        await space.refill(slabs, place, no_pace)
        await life.scribble(2, rng)
        if row:
            await life.flush()
        await core.finish_copy(space, slabs, place, old)
        await life.scribble(2, rng)
    await life.flush()
    await life.scribble(1, rng)


async def adds(life: Life) -> None:
    rng = random.Random(4)
    await life.open()
    await life.scribble(2, rng)
    life.world.disks[-1].is_closed = False
    await life.pool.add_disks([life.world.disks[-1]])
    life.model.trim(0, SLAB)
    await life.space.trim(SpaceOffset(0), SLAB)
    life.model.settle(await read_all(life.space))
    await life.scribble(3, rng)
    await life.flush()


async def returns(life: Life) -> None:
    """A disk is away, misses writes, returns in the middle of others."""
    rng = random.Random(5)
    await life.open()
    await life.scribble(2, rng)
    victim = life.world.disks[1]
    life.pool._core.disk_failed(1, DiskFailed("pulled out"))
    await life.scribble(3, rng)
    await life.flush()
    await life.scribble(1, rng)
    await life.pool.return_disk(victim)
    await life.scribble(2, rng)
    await life.pool.resync()
    await life.scribble(2, rng)
    await life.flush()
    life.pool._core.disk_failed(0, DiskFailed("pulled out"))
    await life.scribble(1, rng)
    await life.flush()


async def empties(life: Life) -> None:
    """A disk is retired, emptied by the job, and leaves the pool."""
    rng = random.Random(6)
    await life.open()
    await life.scribble(2, rng)
    job = await life.pool.jobs.remove(0)
    await life.scribble(2, rng)
    assert (await life.pool.jobs.wait(job)).state == "Completed"
    await life.scribble(2, rng)
    await life.flush()


CASES: dict[str, tuple[Callable[[Life], Awaitable[None]], int, int]] = {
    "moves": (moves, 4, 0),
    "adds": (adds, 2, 1),
    "returns": (returns, 3, 0),
    "empties": (empties, 4, 0),
}


@pytest.mark.slow
@pytest.mark.parametrize(("resiliency", "columns"), [("mirror", 1), ("mirror", 2), ("three-way-mirror", 1)])
@pytest.mark.parametrize("case", CASES)
def test_power_cut_before_any_disk_operation_of_a_disks_life(
    case: str, resiliency: str, columns: int
) -> None:
    workload, members, spares = CASES[case]
    copies = 3 if resiliency.startswith("three") else 2
    life = Life(max(members, copies * columns + (case in ("moves", "empties"))), spares)
    world = life.world
    world.runtime.run(life.create(resiliency, columns))
    images, content = world.images(), bytes(life.model.now)
    cut_at, rng = 0, random.Random(case)
    while True:
        world.restore(images)
        world.rng.seed(cut_at)
        life.model = Model(SIZE)
        life.model.now[:] = content
        world.operations, world.cut_at = 0, cut_at
        was_cut = False
        try:
            world.runtime.run(workload(life))
        except PowerCut:
            was_cut = True
        world.runtime.kill_tasks()
        world.power_cut()
        world.runtime.run(life.verify())
        world.runtime.kill_tasks()
        world.restore_open()
        if not was_cut:
            break
        cut_at += rng.choice((1, 1, 2, 3))
    assert cut_at > 30
