"""A thin space goes on taking writes, new rows too, while as many disks are away as it tolerates to lose.

Found by the simulation: with no disk to spare every write to where nothing was before ended with PoolFull
when a disk was lost, though the pool was nearly empty; the cache of a parity space filled up and stopped.
"""

import pytest

from storage.errors import DiskFailed, PoolFull
from storage.pool.pool import Pool
from storage.units import SpaceOffset
from tests.sim.world import World

SLAB = 64 << 10
SIZE = 1 << 20
CASES = [
    ("mirror", 2, 1),
    ("mirror", 3, 1),
    ("three-way-mirror", 3, 1),
    ("parity", 3, 1),
    ("dual-parity", 4, 1),
]


def pattern(number: int) -> bytes:
    return bytes([number + 1]) * 4096


async def write_each_row(space, first: int) -> None:
    for number in range(first, SIZE // SLAB, 3):
        await space.write(SpaceOffset(number * SLAB), [pattern(number)])
    await space.flush()


async def check(space, numbers) -> None:
    for number in numbers:
        content = bytearray(4096)
        await space.read(SpaceOffset(number * SLAB), memoryview(content))
        assert content == pattern(number), number


@pytest.mark.parametrize(("resiliency", "disks", "lost"), CASES)
def test_new_rows_are_written_while_disks_are_away_and_made_whole_when_they_are_back(resiliency, disks, lost):
    """Degraded writes of every type work for every loss that it promises to survive."""
    world = World([16 << 20] * disks)

    async def main() -> None:
        pool = await Pool.create(world.disks, "p", runtime=world.runtime, slab_bytes=SLAB)
        space = await pool.create_space("s", resiliency, SIZE)
        await write_each_row(space, 0)
        for disk in world.disks[:lost]:
            disk.fail()
        await write_each_row(space, 1)
        assert pool.status().spaces[0].health == "Warning"
        await pool.close()
        world.restore_open()
        pool = await Pool.open(world.disks[lost:], world.runtime)
        await write_each_row(pool.space("s"), 2)
        await check(pool.space("s"), range(SIZE // SLAB))
        await pool.close()
        for disk in world.disks:
            disk.heal()
        world.restore_open()
        pool = await Pool.open(world.disks, world.runtime)
        assert {space.health for space in pool.status().spaces} == {"Healthy"}
        world.disks[-1].fail()
        await check(pool.space("s"), range(SIZE // SLAB))

    world.runtime.run(main())


def test_no_row_is_made_when_more_disks_are_away_than_the_space_tolerates():
    world = World([16 << 20] * 5)

    async def main() -> None:
        pool = await Pool.create(world.disks, "p", runtime=world.runtime, slab_bytes=SLAB)
        await pool.create_space("s", "parity", SIZE, columns=5)
        machine = next(one for one in pool._core.spaces.values() if one.name == "s")
        for lost, rows in enumerate((True, True, False)):
            for disk in world.disks[:lost]:
                disk.fail()
            await pool._core.flush_disks(set(range(5)))
            assert bool(pool._core.rows_available(machine)) is rows, lost
        with pytest.raises(PoolFull):
            await pool._core.allocate_row(machine, 0)

    world.runtime.run(main())


def test_what_could_still_be_written_counts_rows_that_lack_a_copy():
    world = World([4 << 20] * 2)

    async def main() -> None:
        pool = await Pool.create(world.disks, "p", runtime=world.runtime, slab_bytes=SLAB)
        space = await pool.create_space("s", "mirror", SIZE)
        world.disks[0].fail()
        with pytest.raises(DiskFailed):
            await world.disks[0].flush()
        await space.write(SpaceOffset(0), [pattern(0)])
        assert space.usage().available_bytes >= SIZE - SLAB

    world.runtime.run(main())
