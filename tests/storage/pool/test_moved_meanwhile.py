"""A slab that moves while another thread reads it: what was read of the old place counts for nothing."""

from __future__ import annotations

from storage.units import SpaceOffset
from tests.storage.pool.rig import Rig


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
