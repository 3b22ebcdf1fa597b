"""Writes that nobody ends: the inline call reached one copy, and its caller was cancelled.

Found by the simulation: a client was lost between the two halves of its WRITE. One copy of a block then
failed its checksum for good, and the other was the only one left, though both disks were well; a clean
shutdown even emptied the intent log, which could have told.
"""

from storage.pool.pool import Pool
from storage.units import SpaceOffset
from tests.sim.world import World, check_copies, open_space

OLD, NEW = b"old!" * 1024, b"new!" * 1024


async def half_a_write(world: World) -> Pool:
    pool = await Pool.create(world.disks, "p", runtime=world.runtime, slab_bytes=64 << 10)
    space = await pool.create_space("s", "mirror", 256 << 10, columns=1)
    await space.write(SpaceOffset(0), [OLD])
    await space.flush()
    world.disks[1].blocks = True
    assert not space.write_now(SpaceOffset(0), [NEW])
    world.disks[1].blocks = False
    return pool


def test_a_flush_makes_the_copies_of_a_half_done_write_equal():
    world = World([4 << 20] * 2)

    async def main() -> None:
        pool = await half_a_write(world)
        space = pool.space("s")
        await space.flush()
        assert await check_copies(space) == 2
        world.disks[1].fail()
        content = bytearray(4096)
        await space.read(SpaceOffset(0), memoryview(content))
        assert content == OLD

    world.runtime.run(main())


def test_a_clean_shutdown_leaves_no_half_done_write_behind():
    world = World([4 << 20] * 2)

    async def main() -> None:
        pool = await half_a_write(world)
        await pool.close()
        for disk in world.disks:
            disk.is_closed = False
        _, space = await open_space(world, "s")
        assert await check_copies(space) == 2

    world.runtime.run(main())
