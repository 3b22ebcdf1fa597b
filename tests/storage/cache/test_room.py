"""Writers are held to the room that the journal has, also while it is being written."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from storage.cache.limits import CacheLimits
from storage.units import SpaceOffset
from tests.storage.cache.rig import SIZE, Rig


@pytest.mark.parametrize("seed", range(4))
def test_inline_writes_during_an_append_never_outgrow_the_ring(seed: int) -> None:
    """core.py: "the head never reaches the tail". More may be young here than the whole ring holds, so only
    the room that is left keeps writers back."""
    rig = Rig(seed, slow=True)
    rig.limits = replace(CacheLimits(), batch_bytes=64 << 10, idle_s=0.2)
    rng = random.Random(seed)

    async def main() -> None:
        cache = rig.make()
        await cache.open()
        for _ in range(1200):
            offset = rng.randrange(SIZE // 4096) * 4096
            await rig.write(cache, offset, rng.randbytes(4096))
            if rng.random() < 0.02:
                await rig.flush(cache)
            elif rng.random() < 0.1:
                await rig.runtime.sleep(0)
        await rig.flush(cache)
        assert await rig.content(cache) == rig.model.now
        await cache.close()
        check = bytearray(4096)
        rig.space.read_blocking(SpaceOffset(0), memoryview(check))
        assert check == rig.model.now[:4096]

    rig.runtime.run(main())
