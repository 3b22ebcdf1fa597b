"""A row that is trimmed while somebody waits for it: they find zeros, and touch its slabs no more."""

import random

import pytest

from storage.space import slow
from tests.sim.world import World
from tests.storage.pool.rig import SIZE, SLAB, Rig


@pytest.fixture
def trim_first(monkeypatch):
    """Whoever wants to claim a range waits until row 0 was trimmed, and until `rig.then` is done."""
    real = slow.acquire

    def prepare(rig: Rig, then) -> None:
        async def acquire(space, start, end):
            monkeypatch.setattr(slow, "acquire", real)
            await rig.space.trim(0, SLAB)
            await then()
            return await real(space, start, end)

        monkeypatch.setattr(slow, "acquire", acquire)

    return prepare


async def no_pace(count: int) -> None:
    return


async def make(rig: Rig) -> None:
    await rig.create()
    await rig.fill()


def rot_row_0(world: World, rig: Rig) -> None:
    """So that its reader wants to repair."""
    for place in rig.space.row(0)[0].readers:
        world.disks[place.number].rot(place.data, SLAB, random.Random(77))


def test_a_read_that_waits_while_its_row_is_trimmed_finds_zeros(trim_first):
    """Seeds 54 and 65 of the pool simulation: the read had waited for its claim while the row was given back,
    and compared what its slabs held then with checksums of another time: BlockCorrupt."""
    rig = Rig(disks=2)

    async def work() -> None:
        await make(rig)
        rot_row_0(rig.world, rig)
        trim_first(rig, rig.space.flush)
        buffer = bytearray(b"x" * SLAB)
        await rig.space.read(0, memoryview(buffer))
        assert buffer == bytes(SLAB)

    rig.run(work)


def test_a_refill_that_waits_while_its_row_is_trimmed_leaves_the_slab_alone(trim_first):
    """Its slab may belong to another row by then."""
    rig = Rig(disks=3)

    async def give_away() -> None:
        await rig.space.flush()
        rig.model[:SLAB] = bytes(SLAB)

    async def work() -> None:
        await make(rig)
        await rig.reopen(without={1})
        await rig.write(0, rig.rng.randbytes(SIZE))
        await rig.space.flush()
        await rig.pool.return_disk(rig.world.disks[1])
        slabs = rig.space.row(0)[0]
        (stale,) = [place for place in slabs.writers if place not in slabs.readers]
        trim_first(rig, give_away)
        assert await rig.space.refill(slabs, stale, no_pace) == 0
        await rig.pool.resync()
        await rig.check()

    rig.run(work)
