"""A volume is closed while an administrator's work is under way.

Found by the simulation: a pin that was asked for while the volume closed made the catalog durable beside
what closing wrote last, and both took the same segment (overlay.py: `done`).
"""

import random

import pytest

from storage.tier.space import Tier
from tests.sim.runtime import InlineRuntime
from tests.storage.fs.model import run_to_end
from tests.storage.fs.tiered import MIB, Rig, get, make, put


@pytest.mark.parametrize("seed", range(10))
def test_a_pin_while_the_volume_closes_harms_nothing(seed):
    rng = random.Random(seed)
    runtime = InlineRuntime(rng=rng)
    rig = Rig(runtime, 4 * MIB, 8 * MIB)
    data = rng.randbytes(MIB)

    async def main() -> None:
        fs = await rig.format()
        node = make(fs, "f")
        fs.hold(node)
        await put(fs, node, data)
        await fs.sync()
        for space in rig.spaces:
            space.slow(rng)
        pauses = rng.randrange(60)

        async def upkeep() -> None:
            for _ in range(pauses):
                await runtime.sleep(0)
            for tier in (Tier.SLOW, Tier.FAST) * 5:
                await fs.pin(node, tier)
                await fs.unpin(node)

        runtime.spawn(upkeep, "upkeep")
        await fs.close()
        again = await rig.open()
        assert await get(again, again.lookup(again.root(), "f").node) == data
        await again.close()
        assert await rig.problems() == []

    run_to_end(runtime, main())
