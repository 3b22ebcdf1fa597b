"""One bad place, asked for again and again. Found by the simulation of pools (seeds 10099, 10571, 11430)."""

from __future__ import annotations

import pytest

from storage.errors import BlockCorrupt
from storage.pool import copies as pool_copies
from storage.units import SpaceOffset
from tests.storage.pool.rig import Rig


def test_one_bad_place_asked_for_again_and_again_leaves_its_disk_in() -> None:
    """A block of a simple space has no other copy to be rewritten from: a client that keeps asking for it
    gets errors, and every other space keeps the disk."""
    rig = Rig(disks=3, resiliency="simple")

    async def work() -> None:
        await rig.create()
        await rig.fill()
        place = rig.space.row(0)[0].readers[0]
        rig.world.disks[place.number].unreadable = {place.data}
        for _ in range(3 * pool_copies.READ_ERRORS_MAX):
            with pytest.raises(BlockCorrupt):
                await rig.space.read(SpaceOffset(0), memoryview(bytearray(100)))
        assert rig.pool.status().disks[place.number].is_there

    rig.run(work)
