"""What a scrub repaired is repaired for good. Found by the simulation of pools, seed 11979: a flushed block
of a mirror was lost, as its other copy's disk went, and then the power, with the repair of this one."""

from __future__ import annotations

import random

import pytest

from storage.pool.pool import Pool
from storage.space.mirror import MirrorSpace
from storage.units import BLOCK_BYTES
from tests.sim.world import check_copies
from tests.storage.pool.rig import SLAB, Rig
from tests.storage.pool.test_resiliencies import KINDS, Tank

PROTECTED = [name for name, (_, _, _, tolerance) in KINDS.items() if tolerance]


@pytest.mark.parametrize("kind", PROTECTED)
@pytest.mark.parametrize("is_held", [False, True])
def test_a_scrub_that_completed_outlives_the_power_and_another_disk(kind: str, is_held: bool) -> None:
    """All slabs of one disk rot, data and checksums alike; after the scrub any other disk may be lost.
    `is_held`: a move is refilling another copy of each slab meanwhile."""
    tank, rotten = Tank(kind), 1

    async def work() -> None:
        await tank.create()
        await tank.scribble(30)
        await tank.space.flush()
        core = tank.pool._core
        label, taken = core.members[rotten].known_label, set()
        for _, _, copy in core.state.slabs():
            if copy.disk == rotten:
                taken.add(copy.slab)
                tank.world.disks[rotten].rot(
                    label.slab_at(copy.slab), label.stride_bytes, random.Random(copy.slab)
                )
        assert taken
        rows = [(one, row) for one in core.spaces.values() for row in one.state.rows]
        held = [slabs for one, row in rows if is_held for slabs in one.row(row) or ()]
        for slabs in held:
            slabs.inflight += 1
        status = await tank.pool.jobs.wait(await tank.pool.jobs.scrub())
        assert status.state == "Completed", status.error
        for slabs in held:
            slabs.inflight -= 1
        tank.world.runtime.kill_tasks()
        images = tank.world.images()
        for lost in range(len(tank.world.disks)):
            if lost == rotten:
                continue
            tank.world.restore(images)  # nothing that wasn't flushed
            disks = [disk for at, disk in enumerate(tank.world.disks) if at != lost]
            tank.pool = await Pool.open(disks, tank.world.runtime)
            tank.space = tank.pool.space("s")
            await tank.check()
            await tank.pool.close()

    tank.world.runtime.run(work())


def test_a_page_that_something_else_holds_is_written_by_the_next_flush() -> None:
    """A refill of another copy holds the slab for long, and writes no page of the copies that are good."""
    rig = Rig()

    async def pace(count: int) -> None:
        assert count >= 0

    async def work() -> None:
        await rig.create()
        await rig.fill()
        assert isinstance(rig.space, MirrorSpace)
        slabs = rig.space.row(1)[0]
        place = slabs.readers[1]
        rig.world.disks[place.number].rot(place.checks, BLOCK_BYTES, random.Random(1))
        slabs.inflight += 1
        await rig.space.scrub_row(1, pace)
        slabs.inflight -= 1
        await rig.space.flush()
        await check_copies(rig.space)
        assert len(slabs.pages[0]) * 4 == BLOCK_BYTES and rig.space.slab_bytes == SLAB

    rig.run(work)
