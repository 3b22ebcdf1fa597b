"""Whoever waits for the cache may be cancelled at any moment: nothing is torn, and nothing stays taken."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import trio
import trio.testing

from storage.cache.cache import WriteBackCache
from storage.cache.limits import CacheLimits
from storage.cache.plain import PlainBacking
from storage.units import SpaceOffset
from tests.storage.cache.timed import Hdd, Ssd, TimedSpace, TrialRuntime

BLOCKS = 512
LIMITS = replace(CacheLimits(), young_bytes=128 << 10, spill_bytes=64 << 10, batch_bytes=64 << 10, idle_s=0.1)


@pytest.mark.parametrize("seed", range(5))
def test_cancelled_callers_leave_the_old_or_the_new_block_and_hold_nothing(seed: int) -> None:
    rng = random.Random(seed)
    history: dict[int, set[bytes]] = {number: {bytes(4096)} for number in range(BLOCKS)}

    async def one(cache: WriteBackCache) -> None:
        kind = rng.random()
        first = rng.randrange(BLOCKS)
        count = min(BLOCKS - first, rng.choice((1, 1, 3, 90)))
        offset, length = SpaceOffset(first * 4096), count * 4096
        with trio.move_on_after(rng.choice((1e-4, 1e-3, 0.02, 5))):
            if kind < 0.7:
                data = bytes([rng.randrange(1, 256)]) * length
                for number in range(first, first + count):
                    history[number].add(data[:4096])
                await cache.write(offset, [data])
            elif kind < 0.85:
                await cache.flush()
            elif kind < 0.95:
                into = bytearray(length)
                await cache.read(offset, memoryview(into))
            else:
                for number in range(first, first + count):
                    history[number].add(b"\xee" * 4096)
                await cache.trim(offset, length)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            runtime = TrialRuntime(nursery)
            space = TimedSpace(BLOCKS * 4096, Hdd(BLOCKS * 4096))
            cache = WriteBackCache(
                TimedSpace(1 << 20, Ssd()), PlainBacking(space), runtime, identity=1, limits=LIMITS
            )
            await cache.open()
            for _ in range(30):
                async with trio.open_nursery() as callers:
                    for _ in range(12):
                        callers.start_soon(one, cache)
            core = cache._core
            assert not core.claims and not core._promised and not core.waiting_for_room
            await cache.flush()
            await cache.close()
            for number in range(BLOCKS):
                block = bytes(space._view[number * 4096 : number * 4096 + 4096])
                assert block in history[number], number
            nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
