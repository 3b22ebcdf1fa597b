"""A slab that moves while others use it: nobody takes what the old place holds for data, nobody waits."""

from __future__ import annotations

import pytest

from storage.space.mirror import MirrorSpace
from storage.units import SpaceOffset
from tests.storage.pool.rig import Rig
from tests.storage.pool.test_resiliencies import SIZE, Tank


def test_a_slab_that_was_freed_under_a_reader_in_another_thread_is_not_read_as_zeros() -> None:
    rig = Rig()

    async def work() -> None:
        await rig.create()
        await rig.fill()
        await rig.reopen()
        core, space = rig.pool._core, rig.space
        slabs = space.row(0)[0]
        old = slabs.readers[0]
        copy = slabs.copies[0]
        assert copy.disk == old.number
        slabs.pages.clear()
        disk = rig.world.disks[old.number]
        read, done = disk.read_blocking, []

        def late(offset, into) -> None:
            """The slab is given away just before the reader gets to it."""
            if offset == old.checks and not done:
                done.append(offset)
                slabs.readers = tuple(one for one in slabs.readers if one.number != old.number)
                disk.content[old.data : old.checks + 4096] = bytes(old.checks + 4096 - old.data)
            read(offset, into)

        core.members[old.number].disk.read_blocking = late
        into = bytearray(8192)
        space.read_blocking(SpaceOffset(0), memoryview(into))
        assert done and into == rig.model[:8192]

    rig.run(work)


class Stopped(Exception):
    """The test has seen enough."""


@pytest.mark.parametrize("kind", ["mirror", "three-way-mirror", "parity", "dual-parity"])
@pytest.mark.parametrize("is_scrub", [False, True])
def test_a_job_that_is_held_back_holds_no_writer_back(kind: str, is_scrub: bool) -> None:
    """`pace` may wait for ever: wherever it is awaited, the whole space can be written and read."""
    tank = Tank(kind, 2)

    async def work() -> None:
        await tank.create()
        await tank.write(0, tank.rng.randbytes(SIZE), fresh=True)
        await tank.space.flush()
        core = tank.pool._core
        machine = next(one for one in core.spaces.values() if one.name == "s")
        looked = 0

        async def pace(count: int) -> None:
            nonlocal looked
            looked += 1
            for _ in range(100):
                if not (machine.claims if isinstance(machine, MirrorSpace) else machine.claims._held):
                    break
                await tank.world.runtime.sleep(0.01)
            else:
                raise AssertionError("a claim is held while the job waits")
            if looked % 3 == 0:
                await tank.write(0, tank.rng.randbytes(SIZE), fresh=True)
                await tank.space.flush()
                await tank.check()
            if looked >= 12:
                raise Stopped

        slabs = machine.row(0)[0]
        place = None if is_scrub else await core.start_copy(machine, slabs, slabs.copies[0])
        try:
            for _ in range(12):
                if place is None:
                    await machine.scrub_row(0, pace)
                else:
                    await machine.refill(slabs, place, pace)
        except Stopped:
            pass
        assert looked >= 3
        await tank.check()
        await tank.pool.close()

    tank.world.runtime.run(work())
