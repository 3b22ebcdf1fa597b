"""Pools of several media: what was put on fast disks for their speed stays there, whatever is repaired or
evened
out.
"""

from __future__ import annotations

from storage.pool import parts
from storage.pool.metadata import DiskRecord, DiskState, MediaType, Usage
from storage.pool.pool import Pool
from storage.space.resiliency import resiliency
from storage.units import SpaceOffset
from tests.sim.world import World

SLAB = 64 << 10
MEDIA = [MediaType.HDD] * 4 + [MediaType.SSD] * 3


def allocated(pool: Pool) -> list[int]:
    return [disk.allocated_bytes // SLAB for disk in pool.status().disks]


def test_a_full_fast_tier_is_not_taken_for_unevenness() -> None:
    world = World([2 << 20] * 7)

    async def work() -> None:
        pool = await Pool.create(world.disks, "p", runtime=world.runtime, slab_bytes=SLAB, media=MEDIA)
        fast = await pool.create_space("f", "mirror", 2 << 20, media=MediaType.SSD, write_cache_bytes=0)
        await fast.write(SpaceOffset(0), [bytes(2 << 20)])
        await fast.flush()
        before = allocated(pool)
        assert before[:4] == [0] * 4 and sum(before[4:]) == 64
        assert pool.status().spaces[0].operational == "OK"
        job = await pool.jobs.optimize()
        assert (await pool.jobs.wait(job)).state == "Completed" and allocated(pool) == before

    world.runtime.run(work())


def test_a_journal_is_rebuilt_on_fast_disks_while_there_are_any() -> None:
    world = World([4 << 20] * 7)

    async def work() -> None:
        pool = await Pool.create(world.disks, "p", runtime=world.runtime, slab_bytes=SLAB, media=MEDIA)
        space = await pool.create_space("s", "mirror", 1 << 20, write_cache_bytes=1 << 20, columns=1)
        await space.write(SpaceOffset(0), [bytes(100_000)])
        await space.flush()
        journal = 2 * (1 << 20) // SLAB
        assert sum(allocated(pool)[4:]) >= journal
        world.disks[5].fail()
        pool.lose_disk(5, "pulled out")
        await pool.retire_disk(5)
        assert (await pool.jobs.wait(await pool.jobs.repair())).state == "Completed"
        assert allocated(pool)[5] == 0 and sum(allocated(pool)[4:]) >= journal
        assert pool.status().spaces[0].health == "Healthy"

    world.runtime.run(work())


def test_a_hot_spare_takes_what_a_retired_disk_held() -> None:
    world = World([2 << 20] * 5)

    async def work() -> None:
        pool = await Pool.create(world.disks, "p", runtime=world.runtime, slab_bytes=SLAB)
        await pool.set_disk(4, usage=Usage.HOT_SPARE)
        space = await pool.create_space("s", "mirror", 1 << 20, write_cache_bytes=0, columns=1)
        await space.write(SpaceOffset(0), [bytes(1 << 20)])
        await space.flush()
        before = allocated(pool)
        assert before[4] == 0
        await pool.retire_disk(0)
        assert (await pool.jobs.wait(await pool.jobs.repair())).state == "Completed"
        after = allocated(pool)
        assert (after[0], after[4], after[1:4]) == (0, before[0], before[1:4])

    world.runtime.run(work())


def a_disk(number: int, media: MediaType, usage: Usage = Usage.AUTO_SELECT) -> DiskRecord:
    return DiskRecord(number, bytes(16), 1 << 40, 100, DiskState.OK, f"d{number}", "", media, usage)


def test_an_automatic_cache_is_made_if_there_are_fast_disks_enough_for_its_copies() -> None:
    """[New-VirtualDisk] WriteCacheSize: auto."""
    hdd, ssd = MediaType.HDD, MediaType.SSD
    slow = [a_disk(number, hdd) for number in range(4)]
    mixed = [*slow, a_disk(4, ssd), a_disk(5, ssd)]
    marked = [*slow, a_disk(4, hdd, Usage.JOURNAL), a_disk(5, hdd, Usage.JOURNAL)]
    all_fast = [a_disk(number, ssd) for number in range(6)]

    def size(name: str, disks: list[DiskRecord], free: int = 100 << 30) -> int:
        left = {disk.number: free for disk in disks}
        return parts.journal_auto_bytes(resiliency(name), disks, left, 1 << 20) >> 20

    for disks, mirror in ((slow, 0), (mixed, 1024), (marked, 1024), (all_fast, 0)):
        assert size("mirror", disks) == mirror
        assert size("three-way-mirror", disks) == 0
        assert size("parity", disks) == (mirror or 32) and size("dual-parity", disks) == 32
    assert size("simple", [*slow, a_disk(4, ssd)]) == 1024
    assert size("mirror", mixed, 1 << 30) == 128, "an eighth of what is free on the fast disks"
    assert size("mirror", mixed, 100 << 20) == 0, "too little for one that helps"
