"""Any writes, trims, flushes and destaging, with the power cut anywhere: what was flushed is there.

storage/space/port.py: "After a power cut a block that was written since the last flush reads as its old or
its new content (512-byte sectors may be mixed), the same from every copy; every other block reads as it was.
Never an error for that reason, never other bytes."
"""

from __future__ import annotations

import random

import pytest

from storage.cache.cache import WriteBackCache
from storage.errors import StorageError
from tests.storage.cache.rig import SIZE, Rig


async def steps(rig: Rig, cache: WriteBackCache, count: int) -> None:
    rng = rig.rng
    hot = [rng.randrange(SIZE) for _ in range(6)]
    for _ in range(count):
        choice = rng.random()
        offset = rng.choice(hot) if rng.random() < 0.5 else rng.randrange(SIZE)
        if rng.random() < 0.6:
            offset &= ~4095
        length = min(SIZE - offset, rng.choice((1, 512, 4096, 4096, 4096, 10_000, 60_000, 300_000)))
        if choice < 0.65:
            await rig.write(cache, offset, rng.randbytes(length), fresh=rng.random() < 0.25)
        elif choice < 0.8:
            await rig.flush(cache)
        elif choice < 0.9:
            await rig.runtime.sleep(rng.random())
        elif choice < 0.95:
            await rig.trim(cache, offset, length)
        else:
            assert await rig.content(cache) == rig.model.now


async def live(rig: Rig, count: int) -> None:
    cache = rig.make()
    await cache.open()
    found = await rig.content(cache)
    rig.model.check_cut(found)
    await steps(rig, cache, count)
    if rig.rng.random() < 0.5:
        before = rig.model.unflushed()
        await cache.close(destage=rig.rng.random() < 0.5)
        rig.model.flushed(before)


MORE = [pytest.param(seed, marks=pytest.mark.slow) for seed in range(6, 60)]


@pytest.mark.parametrize("seed", [*range(6), *MORE])
def test_a_power_cut_at_any_moment_loses_nothing_flushed(seed: int) -> None:
    rng = random.Random(seed)
    rig = Rig(seed, slow=rng.random() < 0.7)
    for _ in range(4):
        rig.power.left = rng.choice((None, rng.randrange(20, 300)))
        try:
            rig.runtime.run(live(rig, 40))
        except StorageError:
            assert rig.power.is_off
        rig.cut()
    rig.runtime.run(live(rig, 5))
