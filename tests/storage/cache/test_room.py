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


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_many_who_write_around_a_nearly_full_journal_find_room_for_what_they_note(seed: int) -> None:
    """Each of them is promised room for its records before it begins, beside what small writes take."""
    rig = Rig(seed, slow=True)
    rig.limits = replace(CacheLimits(), batch_bytes=64 << 10, idle_s=0.2)
    rng = random.Random(seed)
    ended: list[int] = []

    async def main() -> None:
        cache = rig.make()
        await cache.open()

        async def around() -> None:
            for _ in range(6):
                offset = rng.randrange((SIZE - 300_000) // 4096) * 4096
                if rng.random() < 0.5:
                    await cache.write(SpaceOffset(offset), [bytes(70 * 4096)], True)
                else:
                    await cache.trim(SpaceOffset(offset), rng.choice((4096, 40960)))
            ended.append(1)

        async def through() -> None:
            for _ in range(50):
                offset = SpaceOffset(rng.randrange(SIZE // 4096) * 4096)
                if not cache.write_now(offset, [b"x" * 4096]):
                    await cache.write(offset, [b"x" * 4096])
                if rng.random() < 0.1:
                    await cache.flush()
            ended.append(1)

        for number in range(24):
            rig.runtime.spawn(around if number % 2 else through, "writer")
        while len(ended) < 24:
            await rig.runtime.sleep(0.1)
        await cache.close()
        assert not cache._core.claims and not cache._core._promised

    rig.runtime.run(main())
