"""What the cache is for: random writes at the speed of the SSD while the hard disk catches up, in simulated
time.

"on simulated HDDs with seek cost, random 4 KiB writes are acknowledged at SSD speed until it is full, and
degrade smoothly then" (docs/design-spaces.md, "Write-back cache").
"""

from __future__ import annotations

import random
import statistics

import pytest
import trio
import trio.testing

from storage.cache.cache import WriteBackCache
from storage.cache.plain import PlainBacking
from storage.space.port import Space
from storage.units import SpaceOffset
from tests.storage.cache.timed import Hdd, Ssd, TimedSpace, TrialRuntime

SPACE = 64 << 20
JOURNAL = 8 << 20


async def random_writes(space: Space, count: int, seed: int, depth: int = 1) -> list[tuple[float, float]]:
    """(when it was acknowledged, how long it took) of 4 KiB writes, each flushed."""
    rng = random.Random(seed)
    offsets = [rng.randrange(SPACE // 4096) * 4096 for _ in range(count)]
    acknowledged: list[tuple[float, float]] = []

    async def one() -> None:
        while offsets:
            offset = SpaceOffset(offsets.pop())
            begin = trio.current_time()
            if not space.write_now(offset, [b"x" * 4096]):
                await space.write(offset, [b"x" * 4096])
            await space.flush()
            now = trio.current_time()
            acknowledged.append((now, now - begin))

    async with trio.open_nursery() as nursery:
        for _ in range(depth):
            nursery.start_soon(one)
    return acknowledged


def simulate(work, *, journal: int = JOURNAL) -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            runtime = TrialRuntime(nursery)
            backing = PlainBacking(TimedSpace(SPACE, Hdd(SPACE)), "s")
            cache = WriteBackCache(TimedSpace(journal, Ssd()), backing, runtime, identity=1)
            await cache.open()
            await work(cache)
            nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def mean(times: list[tuple[float, float]]) -> float:
    return statistics.fmean(took for _, took in times)


async def alone(medium: Hdd | Ssd, count: int) -> float:
    return mean(await random_writes(TimedSpace(SPACE, medium), count, 3))


def test_random_writes_are_acknowledged_at_the_speed_of_the_ssd() -> None:
    async def work(cache: WriteBackCache) -> None:
        hdd, ssd = await alone(Hdd(SPACE), 60), await alone(Ssd(), 60)
        cached = await random_writes(cache, 300, 4)
        assert mean(cached) < 1.5 * ssd
        assert mean(cached) < hdd / 20
        assert max(took for _, took in cached) < hdd / 4, "not one of them waits for the hard disk"

    simulate(work)


def test_a_full_cache_degrades_smoothly_to_what_sorted_destaging_gives() -> None:
    async def work(cache: WriteBackCache) -> None:
        hdd = await alone(Hdd(SPACE), 100)
        acknowledged = await random_writes(cache, 4000, 5, depth=4)
        begin, end = acknowledged[0][0], acknowledged[-1][0]
        full = next(index for index, (_, took) in enumerate(acknowledged) if took > hdd / 2)
        absorbed = full * 8192  # a record each: head and block
        assert absorbed > 0.8 * JOURNAL, "at full speed until it is nearly full"
        steady = [one for one in acknowledged if one[0] > begin + (end - begin) * 0.4]
        rate = len(steady) / (steady[-1][0] - steady[0][0])
        assert rate > 1.2 / hdd, "faster than without a cache: the head goes one way"
        windows = [0] * (int(steady[-1][0] - steady[0][0]) + 1)
        for when, _ in steady:
            windows[int(when - steady[0][0])] += 1
        assert min(windows[:-1]) > rate / 3, "no second without progress"
        assert max(took for _, took in steady) < 25 * statistics.median(took for _, took in steady)
        assert cache.status().slowed > 0

    simulate(work)


def test_overwrites_of_hot_blocks_reach_the_hard_disk_once() -> None:
    async def work(cache: WriteBackCache) -> None:
        for number in range(2000):
            await cache.write(SpaceOffset(number % 50 * 4096), [bytes([number % 251]) * 4096])
            if number % 10 == 0:
                await cache.flush()
        await trio.sleep(30)
        status = cache.status()
        assert status.dirty_bytes == 0, "idle: everything is destaged"
        assert status.destaged_bytes < status.written_bytes / 10
        into = bytearray(4096)
        await cache.read(SpaceOffset(0), memoryview(into))
        assert into == bytes([1950 % 251]) * 4096

    simulate(work)


@pytest.mark.parametrize("length", [300_000 // 4096 * 4096, 1 << 20])
def test_bulk_writes_go_around_the_journal(length: int) -> None:
    async def work(cache: WriteBackCache) -> None:
        before = cache.status().journal_written_bytes
        for at in range(0, 8 * length, length):
            await cache.write(SpaceOffset(at), [bytes(length)])
        await cache.flush()
        status = cache.status()
        assert status.passed_bytes == 8 * length
        assert status.journal_written_bytes - before < length / 4

    simulate(work)
