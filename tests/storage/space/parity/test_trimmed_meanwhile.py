"""A row in which nothing is written yet goes back to the pool at a trim, unless it is about to be written to.

Found by the simulation: free clusters were trimmed while the cache wrote the first block of another stripe
of the row. The row went away between the two, and with it what had been prepared.
"""

from __future__ import annotations

import pytest

from storage.units import BLOCK_BYTES, SpaceOffset
from tests.storage.space.parity.rig import Rig


def test_a_row_with_a_prepared_stripe_is_not_released() -> None:
    rig = Rig(4, 1)
    stripe = rig.map.stripe_bytes

    async def work() -> None:
        data = rig.noise(1)
        batch = [(stripe, memoryview(data))]
        await rig.machine.prepare(batch)
        await rig.trim(0, stripe)
        await rig.machine.apply(batch)
        rig.model[stripe // BLOCK_BYTES] = {data}
        await rig.flush()
        await rig.check()
        assert await rig.check_redundancy()
        rig.model[stripe // BLOCK_BYTES] = None
        await rig.trim(0, rig.map.row_bytes)
        assert not rig.host.state.rows and not rig.machine.wanted

    rig.run(work())


@pytest.mark.parametrize("seed", range(30))
def test_first_writes_and_trims_of_one_row_side_by_side(seed: int) -> None:
    rig = Rig(4, 1, rows=1, seed=seed, is_random=True)
    stripe, stripe_blocks = rig.map.stripe_bytes, rig.map.stripe_bytes // BLOCK_BYTES

    async def work() -> None:
        for turn in range(3):
            ended = rig.runtime.event()

            async def trims(ended=ended) -> None:
                for _ in range(4):
                    await rig.machine.trim(SpaceOffset(0), stripe)
                ended.set()

            rig.runtime.spawn(trims, "trims")
            if turn == 1:
                await rig.write_fresh(2, 1)
                rig.model.update((block, {data}) for block, data in rig.fresh.items())
            else:
                await rig.write([(stripe_blocks, 1), (2 * stripe_blocks + 1, 1)])
            await ended.wait()
            await rig.flush()
            await rig.check()
            assert await rig.check_redundancy()
            await rig.trim(0, rig.map.row_bytes)
            rig.model.clear()
            assert not rig.host.state.rows and not rig.machine.wanted

    rig.run(work())
