"""The cache in a pool of hard disks and SSDs: power cuts before every disk operation, SSDs lost.

docs/design-spaces.md: the journal is "mirror, tolerance + 1 copies; on fast disks if there are any"; "If the
journal's space is lost for writing (...): what is in memory is written through, and the cache goes on without
a journal".
"""

from __future__ import annotations

import random

import pytest

from storage.cache.cache import WriteBackCache
from storage.errors import StorageError
from storage.pool.metadata import MediaType
from storage.pool.pool import Pool
from storage.units import SpaceOffset
from tests.sim.disk import PowerCut
from tests.sim.world import World
from tests.storage.cache.rig import CacheModel

SIZE = 512 << 10
SLAB = 64 << 10
JOURNAL = 1 << 20
MEDIA = [MediaType.HDD, MediaType.HDD, MediaType.HDD, MediaType.SSD, MediaType.SSD]
SSDS = (3, 4)


class Tank:
    def __init__(self, resiliency: str, seed: int, **kind: bool) -> None:
        self.world = World([3 << 20] * len(MEDIA), seed, **kind)
        self.rng = random.Random(seed)
        self.model = CacheModel(SIZE)
        self.world.runtime.run(self._create(resiliency))
        self.world.restore(self.world.images())

    async def _create(self, resiliency: str) -> None:
        runtime = self.world.runtime
        pool = await Pool.create(self.world.disks, "p", runtime=runtime, slab_bytes=SLAB, media=MEDIA)
        await pool.create_space(
            "s", resiliency, SIZE, columns=1, write_cache_bytes=JOURNAL, media=MediaType.HDD
        )
        self.journal_disks = {
            copy.disk
            for space in pool._core.state.spaces.values()
            if space.record.name.endswith("#journal")
            for row in space.rows
            for column in space.columns(row) or ()
            for copy in column
        }
        await pool.close()

    async def open(self, without: tuple[int, ...] = ()) -> WriteBackCache:
        disks = [disk for number, disk in enumerate(self.world.disks) if number not in without]
        self.pool = await Pool.open(disks, self.world.runtime)
        cache = self.pool.space("s")
        assert isinstance(cache, WriteBackCache)
        self.cache = cache
        return cache

    async def write(self, offset: int, data: bytes, fresh: bool = False) -> None:
        self.model.write(offset, data, fresh)
        if not self.cache.write_now(SpaceOffset(offset), [data], fresh):
            await self.cache.write(SpaceOffset(offset), [data], fresh)

    async def flush(self) -> None:
        before = self.model.unflushed()
        await self.cache.flush()
        self.model.flushed(before)

    async def trim(self, offset: int, length: int) -> None:
        self.model.trim(offset, length)
        await self.cache.trim(SpaceOffset(offset), length)
        self.model.settle(await self.content())

    async def content(self) -> bytearray:
        found = bytearray(SIZE)
        await self.cache.read(SpaceOffset(0), memoryview(found))
        return found

    async def scribble(self, steps: int) -> None:
        for _ in range(steps):
            choice, offset = self.rng.random(), self.rng.randrange(SIZE)
            length = min(SIZE - offset, self.rng.choice((1, 512, 4096, 10_000, 300_000)))
            if choice < 0.65:
                await self.write(offset, self.rng.randbytes(length), fresh=self.rng.random() < 0.3)
            elif choice < 0.85:
                await self.flush()
            elif choice < 0.95:
                await self.world.runtime.sleep(self.rng.random() * 2)
            else:
                await self.trim(offset, length)


def cut(tank: Tank, work, cut_at: int | None) -> bool:
    """Run until the cut: did it come before the end? Then look at what is found."""
    tank.world.operations, tank.world.cut_at = 0, cut_at
    was_cut = False
    try:
        tank.world.runtime.run(work(tank))
    except PowerCut:
        was_cut = True
    tank.world.runtime.kill_tasks()
    tank.world.power_cut()

    async def verify() -> None:
        await tank.open()
        tank.model.check_cut(await tank.content())
        await tank.write(3, b"alive")
        await tank.flush()
        await tank.world.runtime.sleep(10)
        assert tank.cache.status().dirty_bytes == 0
        assert await tank.content() == tank.model.now
        await tank.pool.close()

    tank.world.runtime.run(verify())
    return was_cut


async def small_writes(tank: Tank) -> None:
    await tank.open()
    await tank.write(0, b"1" * 9000)
    await tank.flush()
    await tank.write(4096, b"2" * 4096)
    await tank.write(200_000, b"3" * 20_000, fresh=True)
    await tank.flush()
    await tank.world.runtime.sleep(4)  # destaged
    await tank.write(4096, b"4" * 4096)
    await tank.flush()
    await tank.write(0, b"5" * 4096)


async def around_and_over(tank: Tank) -> None:
    await tank.open()
    await tank.write(100_000, b"1" * 50_000)
    await tank.flush()
    await tank.write(65_536, b"2" * 300_000, fresh=True)  # voids what is in the journal
    await tank.flush()
    await tank.write(100_000, b"3" * 4096)
    await tank.flush()
    await tank.write(0, b"4" * 300_000)  # bulk over dirty blocks
    await tank.flush()
    await tank.world.runtime.sleep(4)
    await tank.trim(65_536, 131_072)
    await tank.write(65_536, b"5" * 8192)
    await tank.flush()
    before = tank.model.unflushed()
    await tank.pool.close()
    tank.model.flushed(before)


@pytest.mark.slow
@pytest.mark.parametrize("work", [small_writes, around_and_over])
@pytest.mark.parametrize("resiliency", ["mirror", "simple"])
def test_a_power_cut_before_any_disk_operation_loses_nothing_flushed(resiliency: str, work) -> None:
    tank = Tank(resiliency, 1)
    images = tank.world.images()
    cut_at = 0
    while True:
        tank.world.rng.seed(cut_at)
        tank.world.restore(images)
        tank.model = CacheModel(SIZE)
        if not cut(tank, work, cut_at):
            break
        cut_at += 1
    assert cut_at > 40


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_power_cuts_while_an_ssd_comes_and_goes(seed: int) -> None:
    rng = random.Random(seed)
    tank = Tank("mirror", seed, blocks=rng.random() < 0.4, is_random=rng.random() < 0.5)
    assert tank.journal_disks == set(SSDS)
    victim = rng.choice(SSDS)

    async def live() -> None:
        await tank.open((victim,) if rng.random() < 0.4 else ())
        tank.model.check_cut(await tank.content())
        if rng.random() < 0.4:
            tank.world.disks[victim].fail_after = rng.randrange(60)
        await tank.scribble(25)
        if rng.random() < 0.3:
            before = tank.model.unflushed()
            await tank.pool.close()
            tank.model.flushed(before)

    for _ in range(5):
        tank.world.restore_open()
        tank.world.operations, tank.world.cut_at = 0, rng.randrange(10, 500)
        try:
            tank.world.runtime.run(live())
        except PowerCut:
            pass
        tank.world.disks[victim].heal()
        tank.world.runtime.kill_tasks()
        tank.world.power_cut()
    tank.world.operations, tank.world.cut_at = 0, None
    tank.world.runtime.run(live())


@pytest.mark.parametrize("seed", range(6))
def test_without_its_ssds_the_cache_writes_through_what_it_holds_and_goes_on(seed: int) -> None:
    """More SSDs are lost than the journal survives, while the space behind is whole: nothing is lost."""
    tank = Tank("mirror", seed)

    async def first() -> None:
        cache = await tank.open()
        await tank.scribble(20)
        for number in SSDS:
            tank.world.disks[number].fail()
        await tank.write(0, b"after" * 3000)
        await tank.flush()
        assert cache.status().state == "Write-through"
        await tank.scribble(20)
        assert await tank.content() == tank.model.now
        await tank.flush()

    async def second() -> None:
        """The SSDs are back, with their old journal: nobody replays it."""
        for number in SSDS:
            tank.world.disks[number].heal()
        pool = await Pool.open(tank.world.disks, tank.world.runtime)
        space = pool.space("s")
        assert not isinstance(space, WriteBackCache)
        found = bytearray(SIZE)
        await space.read(SpaceOffset(0), memoryview(found))
        tank.model.check_cut(found)
        await pool.close()

    tank.world.runtime.run(first())
    tank.world.runtime.kill_tasks()
    tank.world.power_cut()
    tank.world.runtime.run(second())


def test_a_space_without_its_journal_is_detached() -> None:
    """What was flushed lies in the journal: without it the space would show old content as if it were
    whole."""
    tank = Tank("mirror", 5)

    async def first() -> None:
        await tank.open()
        await tank.write(0, b"x" * 8192)
        await tank.flush()

    async def second() -> None:
        disks = [disk for number, disk in enumerate(tank.world.disks) if number not in SSDS]
        pool = await Pool.open(disks, tank.world.runtime)
        with pytest.raises(StorageError):
            pool.space("s")

    tank.world.runtime.run(first())
    tank.world.runtime.kill_tasks()
    tank.world.power_cut()
    tank.world.runtime.run(second())
