"""Jobs on a real pool: repair, scrub, optimize, remove; what starts by itself and what must not."""

import random

import pytest

from storage.pool.jobs.automatic import FRUITLESS_MAX
from storage.pool.jobs.job import JobKind
from storage.pool.jobs.pace import QueueDepth
from storage.pool.metadata import RetireMissing, Usage
from storage.pool.observe import pool_faults
from storage.pool.pool import Pool
from tests.sim.disk import SimDisk
from tests.sim.world import check_copies
from tests.storage.pool.rig import SIZE, SLAB, Rig

MINUTE = 60.0


class JobRig(Rig):
    """`start`: the pool looks after itself, without scrubs."""

    async def start(self) -> None:
        self.pool.jobs.automatic.scrub_every_s = None
        self.pool.jobs.start()

    async def reopen_as_is(self, without: set[int] | None = None, crash: bool = False) -> None:
        """As after the end of the server; stale copies stay stale."""
        if crash:
            self.world.power_cut()
        else:
            await self.pool.close()
            self.world.restore([bytes(disk.content) for disk in self.world.disks])
        disks = [disk for at, disk in enumerate(self.world.disks) if at not in (without or set())]
        self.pool = await Pool.open(disks, self.world.runtime, resync=False)
        self.space = self.pool.space("s")

    def new_disk(self) -> SimDisk:
        disk = SimDisk(f"d{len(self.world.disks)}", 1 << 20, self.world.runtime)
        self.world.disks.append(disk)
        return disk

    async def sleep(self, seconds: float) -> None:
        await self.world.runtime.sleep(seconds)

    def kinds(self) -> list[str]:
        return [one.kind for one in self.pool.jobs.jobs()]

    def faults(self) -> list[str]:
        return [one.fault_type for one in pool_faults(self.pool._core, self.pool.status(), self.pool.jobs)]


async def degraded(rig: JobRig) -> None:
    """Disk 3 missed a rewrite of the second half, and is there again."""
    await rig.create()
    await rig.fill()
    await rig.reopen_as_is(without={3})
    for at in range(SIZE // 2, SIZE, 4096):
        await rig.write(at, rig.rng.randbytes(4096))
    await rig.space.flush()
    await rig.reopen_as_is()


def test_repair_copies_only_what_a_disk_missed():
    """longhorn #10997: a brief outage must not become a full rebuild."""
    rig = JobRig(disks=4)

    async def work() -> None:
        await degraded(rig)
        status = await rig.pool.jobs.wait(await rig.pool.jobs.repair())
        assert (status.state, status.percent, status.name) == ("Completed", 100, "tank - Repair")
        assert rig.health() == ("Healthy", "OK")
        await rig.check()
        await check_copies(rig.space)
        assert status.bytes_processed == status.bytes_total <= SIZE // 2 + SLAB

    rig.run(work)


def test_repair_goes_on_after_a_crash():
    rig = JobRig(disks=4)

    async def work() -> None:
        await degraded(rig)
        rig.pool.jobs.set_speed(QueueDepth.VERY_LOW, 8 << 10)
        await rig.pool.jobs.repair()
        await rig.sleep(1.5)
        await rig.reopen_as_is(crash=True)
        assert [record.kind for record in rig.pool._core.state.jobs.values()] == [JobKind.REPAIR]
        await rig.start()
        await rig.sleep(MINUTE)
        assert rig.pool.jobs.jobs()[0].state == "Completed"
        assert rig.health() == ("Healthy", "OK")
        assert not rig.pool._core.state.jobs
        await rig.check()

    rig.run(work)


def test_repair_starts_by_itself_when_a_disk_returns_and_never_without_need():
    rig = JobRig(disks=4)

    async def work() -> None:
        await rig.create()
        await rig.fill()
        await rig.start()
        await rig.sleep(10 * MINUTE)
        assert rig.kinds() == []
        rig.world.disks[2].fail()
        for at in range(0, SIZE, 4096):
            await rig.write(at, rig.rng.randbytes(4096))
        await rig.space.flush()
        assert rig.health() == ("Warning", "Degraded")
        await rig.sleep(MINUTE)
        assert rig.kinds() == []
        rig.world.disks[2].heal()
        await rig.pool.return_disk(rig.world.disks[2])
        await rig.sleep(MINUTE)
        assert rig.kinds() == ["Repair"]
        assert rig.health() == ("Healthy", "OK")
        await rig.check()

    rig.run(work)


@pytest.mark.parametrize(
    ("policy", "spare", "rebuilt"),
    [
        (RetireMissing.ALWAYS, False, True),
        (RetireMissing.AUTO, False, False),
        (RetireMissing.AUTO, True, True),
        (RetireMissing.NEVER, True, False),
    ],
)
def test_a_missing_disk_is_retired_after_the_delay_by_policy(policy, spare, rebuilt):
    """[Set-StoragePool] RetireMissingPhysicalDisks: Auto (if there is a hot spare), Always, Never; 5 minutes
    after the failed write."""
    rig = JobRig(disks=4)

    async def work() -> None:
        await rig.create()
        await rig.pool.set_policy(retire_missing=policy)
        if spare:
            await rig.pool.add_disks([rig.new_disk()], usage=Usage.HOT_SPARE)
        await rig.fill()
        await rig.start()
        rig.world.disks[1].fail()
        await rig.write(0, rig.rng.randbytes(SIZE))
        await rig.space.flush()
        await rig.sleep(4 * MINUTE)
        assert "Repair" not in rig.kinds()
        await rig.sleep(3 * MINUTE)
        assert ("Repair" in rig.kinds()) == rebuilt
        assert rig.health()[0] == ("Healthy" if rebuilt else "Warning")
        if rebuilt:
            await rig.pool.remove_disk(1)
        if rebuilt and spare:
            assert rig.pool._core.slabs_on(4)
        await rig.check()

    rig.run(work)


def test_an_emptied_disk_leaves_the_pool():
    rig = JobRig(disks=4)

    async def work() -> None:
        await rig.create()
        await rig.fill()
        status = await rig.pool.jobs.wait(await rig.pool.jobs.remove(0))
        assert (status.state, status.target) == ("Completed", "disk 0")
        assert [disk.number for disk in rig.pool.status().disks] == [1, 2, 3]
        assert rig.health() == ("Healthy", "OK")
        await rig.check()
        await check_copies(rig.space)

    rig.run(work)


def test_repair_in_vain_backs_off_and_becomes_a_fault():
    """longhorn #9051: a rebuild that loops for ever. Three attempts that achieve nothing are told."""
    rig = JobRig(disks=2)

    async def work() -> None:
        await rig.create()
        await rig.fill()
        await rig.start()
        await rig.pool.retire_disk(0)
        await rig.sleep(30 * MINUTE)
        attempts = [one for one in rig.pool.jobs.jobs() if one.kind == "Repair"]
        assert FRUITLESS_MAX <= len(attempts) <= FRUITLESS_MAX + 2
        assert all(one.state == "Exception" and "no free slab" in one.error for one in attempts)
        assert "no free slab" in rig.pool.jobs.automatic.repair_trouble
        await rig.pool.add_disks([rig.new_disk()])
        await rig.sleep(MINUTE)
        assert rig.pool.jobs.jobs()[0].state == "Completed"
        assert rig.pool.jobs.automatic.repair_trouble == ""
        assert rig.health()[0] == "Healthy"
        await rig.check()

    rig.run(work)


def test_a_cancelled_repair_is_not_started_again_until_the_disks_change():
    rig = JobRig(disks=4)

    async def work() -> None:
        await degraded(rig)
        rig.pool.jobs.set_speed(QueueDepth.VERY_LOW, 16 << 10)
        await rig.start()
        rig.pool.jobs.set_speed(QueueDepth.VERY_LOW, 16 << 10)
        await rig.sleep(3)
        (job,) = rig.pool.jobs.jobs()
        await rig.pool.jobs.cancel(job.id)
        await rig.sleep(10 * MINUTE)
        assert [one.state for one in rig.pool.jobs.jobs()] == ["Killed"]
        rig.pool.jobs.set_speed(QueueDepth.MEDIUM)
        await rig.pool.add_disks([rig.new_disk()])
        await rig.sleep(MINUTE)
        assert rig.health() == ("Healthy", "OK")

    rig.run(work)


def test_scrub_finds_and_repairs_what_nobody_reads():
    rig = JobRig(disks=4)

    async def work() -> None:
        await rig.create()
        await rig.fill()
        slabs = rig.space.row(2)[0]
        for place, at in zip(slabs.readers, (0, 8 * 4096), strict=True):
            rig.world.disks[place.number].rot(place.data + at, 4096, random.Random(5))
        status = await rig.pool.jobs.wait(await rig.pool.jobs.scrub())
        assert (status.state, status.percent) == ("Completed", 100)
        assert sum(disk.repaired_blocks for disk in rig.pool.status().disks) == 2
        await check_copies(rig.space)
        await rig.check()

    rig.run(work)


def test_a_scrub_that_finds_lost_blocks_says_so():
    rig = JobRig(disks=4)

    async def work() -> None:
        await rig.create()
        await rig.fill()
        for place in rig.space.row(2)[0].readers:
            rig.world.disks[place.number].rot(place.data, 4096, random.Random(place.number))
        status = await rig.pool.jobs.wait(await rig.pool.jobs.scrub("s"))
        assert status.state == "Exception"
        assert "row 2: 1 blocks are lost" in status.error

    rig.run(work)


def test_the_regular_scrub_counts_from_the_last_one_also_after_a_restart():
    rig = JobRig(disks=2)

    async def work() -> None:
        await rig.create()
        await rig.fill()
        await rig.pool.jobs.wait(await rig.pool.jobs.scrub())
        await rig.sleep(4 * MINUTE)
        await rig.reopen_as_is()
        assert rig.pool.jobs.automatic.scrub_every_s == 7 * 24 * 3600
        rig.pool.jobs.automatic.scrub_every_s = 7 * MINUTE
        rig.pool.jobs.start()
        await rig.sleep(2.5 * MINUTE)
        assert rig.kinds() == []
        await rig.sleep(1 * MINUTE)
        assert rig.kinds() == ["Scrub"]
        await rig.pool.jobs.stop()

    rig.run(work)


def test_added_disks_are_filled_evenly_by_moves_and_then_nothing_moves():
    rig = JobRig(disks=3)

    async def work() -> None:
        await rig.create()
        await rig.fill()
        await rig.start()
        await rig.pool.add_disks([rig.new_disk(), rig.new_disk()])
        assert rig.pool.jobs.is_suboptimal()
        await rig.sleep(5 * MINUTE)
        used = [rig.pool._core.slabs_on(number) for number in range(5)]
        assert max(used) - min(used) <= 2
        assert rig.kinds() == ["Optimize"]
        assert rig.health() == ("Healthy", "OK")
        await rig.check()
        await check_copies(rig.space)

    rig.run(work)


def test_a_disk_that_crawls_is_retired_if_the_others_can_take_its_slabs():
    """A repair that never ends because of one slow disk: an outlier is treated as failing."""
    rig = JobRig(disks=5)

    async def work() -> None:
        await rig.create()
        await rig.fill()
        await rig.start()
        core = rig.pool._core
        for _ in range(20):
            for member in core.online():
                for _ in range(6):
                    number = member.meter.begin(0.0)
                    member.meter.end(number, 2, 1.0 if member.number == 2 else 0.005)
            await rig.sleep(8)
        await rig.sleep(MINUTE)
        assert core.state.disks[2].usage is Usage.RETIRED
        assert core.slabs_on(2) == 0
        assert rig.health()[0] == "Healthy"
        await rig.check()

    rig.run(work)


def test_faults_come_and_go_with_what_is_seen():
    rig = JobRig(disks=4)

    async def work() -> None:
        await rig.create()
        await rig.fill()
        await rig.start()
        assert rig.faults() == []
        rig.world.disks[3].fail()
        await rig.write(0, rig.rng.randbytes(SIZE))
        await rig.space.flush()
        assert rig.faults() == ["PhysicalDisk.FailedMedia", "VirtualDisks.LastCopy"]
        rig.world.disks[3].heal()
        await rig.pool.return_disk(rig.world.disks[3])
        await rig.sleep(MINUTE)
        assert rig.faults() == []

    rig.run(work)
