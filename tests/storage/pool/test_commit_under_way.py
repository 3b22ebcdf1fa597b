"""A change that a commit has taken on is not durable before that commit has ended."""

import pytest

from tests.storage.pool.rig import SLAB, Rig


def test_a_flush_waits_for_the_commit_that_took_its_row():
    """P4, seed 312 of the pool simulation: a commit under way had taken the new row's record, so nothing was
    pending; the flush returned, the power was cut, and the row had never been."""
    rig = Rig(disks=2)

    async def work() -> None:
        await rig.create()
        core, runtime = rig.pool._core, rig.world.runtime
        gate, ended = runtime.event(), []
        real = core.write_metadata

        async def late(*parts) -> None:
            await gate.wait()
            await real(*parts)

        core.write_metadata = late
        await rig.write(0, rig.rng.randbytes(SLAB))
        runtime.spawn(core.commit, "commit")
        await runtime.sleep(0.01)
        assert not core._pending

        async def flush() -> None:
            await rig.space.flush()
            ended.append(True)

        runtime.spawn(flush, "flush")
        await runtime.sleep(0.01)
        assert not ended
        gate.set()
        await runtime.sleep(0.01)
        assert ended
        await rig.reopen(crash=True)
        await rig.check()

    rig.run(work)


@pytest.mark.parametrize("change", ["pending", "under way"])
def test_a_region_is_not_ready_before_stale_marks_are_durable(change):
    """P1: mark before ack, also if the marks are in a commit that somebody else began."""
    rig = Rig(disks=3)

    async def work() -> None:
        await rig.create()
        await rig.fill()
        await rig.reopen(without={2})
        core, runtime = rig.pool._core, rig.world.runtime
        gate, ready = runtime.event(), []
        real = core.write_metadata

        async def late(*parts) -> None:
            await gate.wait()
            await real(*parts)

        core.write_metadata = late
        sets = [rig.space.row(row)[0] for row in range(8)]
        slabs = next(one for one in sets if any(copy.disk == 2 for copy in one.copies))
        core.mark_absent(slabs)
        if change == "under way":
            runtime.spawn(core.commit, "commit")
            await runtime.sleep(0.01)

        async def make_ready() -> None:
            await core.make_ready(slabs, 1)
            ready.append(True)

        runtime.spawn(make_ready, "make ready")
        await runtime.sleep(0.01)
        assert not ready
        gate.set()
        await runtime.sleep(0.01)
        assert ready

    rig.run(work)
