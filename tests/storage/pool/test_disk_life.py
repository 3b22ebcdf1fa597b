"""Disks that come, go, crawl and return while the pool is used; slabs that move; nothing is lost
meanwhile."""

from __future__ import annotations

from dataclasses import replace

import pytest

from storage.errors import BlockCorrupt, LabelCorrupt, PoolFull, PoolInUse, SlabLost, StorageError
from storage.pool import copies as pool_copies
from storage.pool.metadata import Awareness, CopyRecord, MediaType, Usage
from storage.pool.pool import Pool
from storage.units import BLOCK_BYTES, SpaceOffset
from tests.sim.disk import SimDisk
from tests.sim.world import check_copies
from tests.storage.pool.rig import SIZE, SLAB, Rig
from tests.storage.pool.test_resiliencies import KINDS, Tank


def spare(rig: Rig | Tank, size: int = 6 << 20) -> SimDisk:
    """One more disk in the world."""
    disk = SimDisk(f"d{len(rig.world.disks)}", size, rig.world.runtime)
    rig.world.disks.append(disk)
    rig.world.listen()
    return disk


async def no_pace(count: int) -> None:
    pass


# -- reads that fail ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("blocks", [False, True])
def test_a_block_that_cannot_be_read_is_read_elsewhere_and_written_again(blocks: bool) -> None:
    rig = Rig(blocks=blocks)

    async def work() -> None:
        await rig.create()
        await rig.fill()
        place = rig.space.row(0)[0].readers[0]
        disk = rig.world.disks[place.number]
        disk.unreadable = {place.data + 3 * BLOCK_BYTES, place.checks}
        await rig.check()
        assert disk.unreadable <= {place.checks}
        status = rig.pool.status().disks[place.number]
        assert (status.operational, status.read_errors > 0, status.repaired_blocks) == ("OK", True, 1)
        await rig.reopen()
        rig.world.disks[place.number].unreadable = {place.checks}
        await rig.check()
        await rig.space.flush()
        assert not disk.unreadable
        assert rig.pool.status().disks[place.number].operational == "OK"
        await check_copies(rig.space)

    rig.run(work)


def test_a_block_without_another_copy_is_an_error_of_that_block_only() -> None:
    rig = Rig(disks=3, resiliency="simple")

    async def work() -> None:
        await rig.create()
        await rig.fill()
        place = rig.space.row(0)[0].readers[0]
        rig.world.disks[place.number].unreadable = {place.data}
        with pytest.raises(BlockCorrupt):
            await rig.space.read(SpaceOffset(0), memoryview(bytearray(100)))
        into = bytearray(SLAB - BLOCK_BYTES)
        await rig.space.read(SpaceOffset(BLOCK_BYTES), memoryview(into))
        assert into == rig.model[BLOCK_BYTES:SLAB]
        await rig.write(0, b"n" * BLOCK_BYTES)
        await rig.check()

    rig.run(work)


def test_a_disk_that_fails_to_read_in_many_places_is_out() -> None:
    rig = Rig()

    async def work() -> None:
        await rig.create()
        await rig.fill()
        places = [slabs.readers[0] for row in range(8) for slabs in rig.space.row(row)]
        bad = places[0].number
        mine = [place for place in places if place.number == bad]
        disk = rig.world.disks[bad]
        for turn in range(pool_copies.READ_ERRORS_MAX):
            assert rig.pool.status().disks[bad].is_there
            disk.unreadable = {mine[turn % len(mine)].data + turn // len(mine) * BLOCK_BYTES}
            await rig.check()
        assert rig.pool.status().disks[bad].operational == "IO error"
        await rig.check()

    rig.run(work)


# -- disks that return -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [kind for kind, value in KINDS.items() if value[3]])
@pytest.mark.parametrize("seed", range(3))
def test_a_disk_that_was_away_is_back_with_what_it_missed(kind: str, seed: int) -> None:
    tank = Tank(kind, seed)

    async def work() -> None:
        await tank.create()
        await tank.scribble(25)
        for victim in tank.rng.sample(range(tank.disks), 2):
            disk = tank.world.disks[victim]
            disk.fail()
            await tank.scribble(10)
            await tank.check()
            if tank.rng.random() < 0.5:
                await tank.space.flush()
            if tank.pool.status().disks[victim].is_there:
                tank.pool._core.disk_failed(victim, StorageError("pulled out"))
            disk.heal()
            disk.power_cut(tank.rng)
            tank.world.listen()
            assert await tank.pool.return_disk(disk) == victim
            await tank.check()
            await tank.scribble(10)
            await tank.pool.resync()
            await tank.check()
            assert tank.health()[0] == "Healthy"
        for other in range(tank.tolerance):
            tank.world.disks[other].fail()
        await tank.check()
        for disk in tank.world.disks:
            disk.heal()
        await tank.space.flush()
        await tank.reopen(crash=True)
        await tank.check()

    tank.world.runtime.run(work())


def test_only_what_changed_is_copied_to_a_disk_that_was_away() -> None:
    rig = Rig(disks=2)

    async def work() -> None:
        await rig.create()
        await rig.fill()
        await rig.reopen()
        rig.world.disks[1].fail()
        await rig.write(3 * SLAB + 100, b"changed while it was away")
        await rig.space.flush()
        rig.world.disks[1].heal()
        await rig.pool.return_disk(rig.world.disks[1])
        assert rig.health() == ("Warning", "Degraded")
        assert await rig.pool.resync() <= 64 << 10
        assert rig.health() == ("Healthy", "OK")
        rig.world.disks[0].fail()
        await rig.check()

    rig.run(work)


def test_the_only_copy_that_was_away_with_unflushed_writes_is_told_at_the_next_flush() -> None:
    rig = Rig(disks=1, resiliency="simple")

    async def work() -> None:
        await rig.create()
        await rig.fill()
        await rig.write(0, b"never flushed" * 1000)
        disk = rig.world.disks[0]
        disk.fail()
        rig.pool._core.disk_failed(0, StorageError("pulled out"))
        disk.heal()
        disk.power_cut(rig.rng)
        rig.world.listen()
        await rig.pool.return_disk(disk)
        with pytest.raises(StorageError, match="away before writes were flushed"):
            await rig.space.flush()
        into = bytearray(SIZE)
        await rig.space.read(SpaceOffset(0), memoryview(into))
        assert into[16 << 10 :] == rig.model[16 << 10 :]

    rig.run(work)


def test_a_disk_that_doesnt_belong_is_not_let_in() -> None:
    rig = Rig(disks=3)

    async def work() -> None:
        await rig.create()
        await rig.fill()
        with pytest.raises(PoolInUse, match="is there already"):
            await rig.pool.return_disk(rig.world.disks[1])
        other = spare(rig)
        with pytest.raises(LabelCorrupt):
            await rig.pool.return_disk(other)
        foreign = await Pool.create([other], "other", runtime=rig.world.runtime, slab_bytes=SLAB)
        await foreign.close()
        other.is_closed = False
        with pytest.raises(PoolInUse, match="belongs to pool other"):
            await rig.pool.return_disk(other)
        with pytest.raises(PoolInUse, match="belongs to pool other"):
            await rig.pool.add_disks([other])
        with pytest.raises(PoolInUse, match="a member that is there"):
            await rig.pool.reset_disk(rig.world.disks[0])
        with pytest.raises(PoolInUse, match="belongs to pool tank"):
            await rig.pool.add_disks([rig.world.disks[0]], overwrite=True)
        await rig.pool.reset_disk(other)
        assert await rig.pool.add_disks([other]) == [3]

    rig.run(work)


def test_a_disk_in_maintenance_is_out_until_it_returns_and_only_if_nothing_hangs_on_it() -> None:
    rig = Rig(disks=2)

    async def work() -> None:
        await rig.create()
        await rig.fill()
        await rig.pool.set_maintenance(1)
        assert rig.pool.status().disks[1].operational == "In maintenance mode"
        await rig.scribble(5)
        with pytest.raises(PoolInUse, match="could not be read without disk 0"):
            await rig.pool.set_maintenance(0)
        await rig.pool.return_disk(rig.world.disks[1])
        assert rig.pool.status().disks[1].operational == "OK"
        await rig.pool.resync()
        await rig.pool.set_maintenance(0)
        await rig.check()

    rig.run(work)


@pytest.mark.parametrize("kind", ["parity", "mirror+cache"])
def test_a_space_that_lacks_too_much_is_detached_until_its_disks_return(kind: str) -> None:
    tank = Tank(kind)

    async def work() -> None:
        await tank.create()
        await tank.scribble(20)
        await tank.space.flush()
        await tank.pool.close()
        for disk in tank.world.disks:
            disk.is_closed = False
        found = 0
        for gone in range(tank.disks - 1):
            there = [disk for disk in tank.world.disks if disk not in tank.world.disks[gone : gone + 2]]
            if 2 * len(there) <= tank.disks:
                continue
            tank.pool = await Pool.open(there, tank.world.runtime)
            if tank.pool.status().spaces[0].operational == "Detached":
                found += 1
                with pytest.raises(SlabLost, match="detached"):
                    tank.pool.space("s")
            for disk in tank.world.disks[gone : gone + 2]:
                await tank.pool.return_disk(disk)
            tank.space = tank.pool.space("s")
            await tank.pool.resync()
            await tank.check()
            await tank.scribble(3)
            await tank.pool.close()
            for disk in tank.world.disks:
                disk.is_closed = False
        assert found or kind == "mirror+cache"

    tank.world.runtime.run(work())


# -- disks that are added, emptied, removed ----------------------------------------------------------------


def test_added_disks_are_members_and_get_slabs() -> None:
    rig = Rig(disks=2)

    async def work() -> None:
        await rig.create()
        await rig.fill()
        new = [spare(rig), spare(rig)]
        numbers = await rig.pool.add_disks(
            new, media=MediaType.SSD, usage=Usage.AUTO_SELECT, fault_domain="r1/c1/n1"
        )
        assert numbers == [2, 3]
        other = await rig.pool.create_space("t", "mirror", SIZE, columns=2)
        await other.write(SpaceOffset(0), [b"on four disks" * 20_000])
        await other.flush()
        disks = rig.pool.status().disks
        assert disks[2].allocated_bytes and disks[3].allocated_bytes
        assert (disks[2].media, disks[2].usage, disks[2].fault_domain) == ("SSD", "Auto-Select", "r1/c1/n1")
        await rig.reopen(crash=True)
        await rig.check()
        assert len(rig.pool.status().disks) == 4 and rig.pool.status().health == "Healthy"
        with pytest.raises(PoolFull, match="too small"):
            await rig.pool.add_disks([spare(rig, 100 << 10)])
        with pytest.raises(ValueError, match="rack/chassis/node"):
            await rig.pool.add_disks([spare(rig)], fault_domain="a/b/c/d")

    rig.run(work)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "simple"])
def test_a_replaced_disk_is_emptied_by_a_job_and_leaves_the_pool(kind: str) -> None:
    tank = Tank(kind, 3)

    async def work() -> None:
        await tank.create()
        await tank.scribble(30)
        new = await tank.pool.replace_disk(1, spare(tank, 8 << 20))
        assert new == tank.disks
        (job,) = [one for one in tank.pool.jobs.jobs() if one.kind == "Remove"]
        await tank.scribble(10)
        ended = await tank.pool.jobs.wait(job.id)
        assert ended.state == "Completed", ended
        status = tank.pool.status()
        assert [disk.number for disk in status.disks] == [0, *range(2, tank.disks + 1)]
        await tank.check()
        await tank.space.flush()
        await tank.reopen(without=(1,))
        await tank.check()
        assert tank.health()[0] == "Healthy" and tank.pool.status().health == "Healthy"

    tank.world.runtime.run(work())


def test_a_lost_disk_that_is_retired_is_rebuilt_into_free_space_by_the_repair_job() -> None:
    rig = Rig(disks=4)

    async def work() -> None:
        await rig.create()
        await rig.fill()
        rig.world.disks[2].fail()
        await rig.scribble(20)
        await rig.space.flush()
        await rig.pool.retire_disk(2)
        assert (await rig.pool.jobs.wait(await rig.pool.jobs.repair())).state == "Completed"
        assert rig.health() == ("Healthy", "OK")
        assert rig.pool.status().disks[2].allocated_bytes == 0
        await rig.pool.remove_disk(2)
        assert len(rig.pool.status().disks) == 3
        rig.world.disks[0].fail()
        await rig.check()

    rig.run(work)


def test_a_disk_with_slabs_is_not_removed_and_the_last_one_never() -> None:
    rig = Rig(disks=1, resiliency="simple")

    async def work() -> None:
        await rig.create()
        await rig.fill()
        with pytest.raises(PoolInUse, match="still holds 8 slabs"):
            await rig.pool.remove_disk(0)
        await rig.pool.delete_space("s")
        with pytest.raises(PoolInUse, match="last one"):
            await rig.pool.remove_disk(0)
        with pytest.raises(KeyError):
            await rig.pool.remove_disk(7)

    rig.run(work)


def test_usages_keep_slabs_where_they_belong() -> None:
    """[Set-PhysicalDisk] Usage: retired, manual and spare disks get nothing on their own; journal disks get
    journals only."""
    tank = Tank("mirror+cache")

    async def work() -> None:
        runtime = tank.world.runtime
        for _ in range(6):
            spare(tank)
        tank.pool = await Pool.create(tank.world.disks, "p", runtime=runtime, slab_bytes=SLAB)
        usages = {4: Usage.JOURNAL, 5: Usage.JOURNAL, 6: Usage.HOT_SPARE, 7: Usage.MANUAL_SELECT}
        for number, usage in usages.items():
            await tank.pool.set_disk(number, usage=usage)
        await tank.pool.retire_disk(8)
        tank.space = await tank.pool.create_space("s", "mirror", SIZE, write_cache_bytes=1 << 20)
        await tank.write(0, tank.rng.randbytes(SIZE))
        await tank.space.flush()
        disks = tank.pool.status().disks
        assert [disk.allocated_bytes > 0 for disk in disks[4:9]] == [True, True, False, False, False]
        assert disks[4].allocated_bytes == disks[5].allocated_bytes == 1 << 20
        assert all(disk.allocated_bytes for disk in disks[:4])

    tank.world.runtime.run(work())


def test_a_space_of_one_medium_stays_on_it() -> None:
    rig = Rig(disks=5)

    async def work() -> None:
        media = [MediaType.HDD] * 3 + [MediaType.SSD] * 2
        pool = await Pool.create(
            rig.world.disks, "p", runtime=rig.world.runtime, slab_bytes=SLAB, media=media
        )
        fast = await pool.create_space("fast", "mirror", SIZE, media=MediaType.SSD, write_cache_bytes=0)
        await fast.write(SpaceOffset(0), [bytes(4 * SLAB)])
        assert [bool(disk.allocated_bytes) for disk in pool.status().disks] == [False] * 3 + [True] * 2
        with pytest.raises(PoolFull, match="needs 3 disks; 2 are there"):
            await pool.create_space("x", "three-way-mirror", SIZE, media=MediaType.SSD)

    rig.run(work)


@pytest.mark.parametrize("resiliency", ["mirror", "three-way-mirror", "parity"])
def test_nodes_keep_the_copies_of_a_slab_apart_whatever_moves(resiliency: str) -> None:
    """[New-VirtualDisk] FaultDomainAwareness: the loss of a whole node costs one copy of anything."""
    rig = Rig(disks=8)
    nodes = ["r1/c1/n1", "r1/c1/n2", "r1/c2/n3", "r2/c3/n4"]

    async def work() -> None:
        pool = await Pool.create(rig.world.disks, "p", runtime=rig.world.runtime, slab_bytes=SLAB)
        for number in range(8):
            await pool.set_disk(number, fault_domain=nodes[number // 2])
        with pytest.raises(PoolFull, match="in 2 fault domains"):
            await pool.create_space("racks", "three-way-mirror", SIZE, awareness=Awareness.RACK)
        columns = 3 if resiliency == "parity" else 1
        space = await pool.create_space(
            "s", resiliency, SIZE // 2, columns=columns, awareness=Awareness.NODE, write_cache_bytes=None
        )
        await space.write(SpaceOffset(0), [bytes(SIZE // 2)])
        await space.flush()

        def are_apart() -> bool:
            for state in pool._core.state.spaces.values():
                for row in state.rows:
                    columns = state.columns(row)
                    sets = [[c for ones in columns for c in ones]] if resiliency == "parity" else columns
                    if state.record.parent:
                        sets = columns
                    for copies in sets:
                        found = [nodes[copy.disk // 2] for copy in copies]
                        if len(set(found)) != len(found):
                            return False
            return True

        assert are_apart()
        await pool.retire_disk(2)
        assert (await pool.jobs.wait(await pool.jobs.repair())).state == "Completed"
        assert pool.status().disks[2].allocated_bytes == 0 and are_apart()
        await pool.close()

    rig.run(work)


# -- spaces that grow, pools of version 1 ------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_space_grows_while_it_is_used(kind: str) -> None:
    tank = Tank(kind, 4)

    async def work() -> None:
        await tank.create()
        await tank.write(SIZE - 5000, tank.rng.randbytes(5000))
        with pytest.raises(ValueError, match="cannot shrink"):
            await tank.pool.resize_space("s", SIZE - 4096)
        await tank.pool.resize_space("s", 2 * SIZE)
        assert tank.space.size_bytes == 2 * SIZE
        data = tank.rng.randbytes(60_000)
        await tank.space.write(SpaceOffset(2 * SIZE - 60_000), [data])
        await tank.space.flush()
        await tank.reopen(crash=True)
        into = bytearray(60_000)
        await tank.space.read(SpaceOffset(2 * SIZE - 60_000), memoryview(into))
        assert into == data and tank.space.size_bytes == 2 * SIZE
        await tank.check()

    tank.world.runtime.run(work())


def test_a_pool_of_version_1_says_what_needs_an_upgrade() -> None:
    rig = Rig(disks=3)

    async def work() -> None:
        await rig.create()
        core = rig.pool._core
        core.change(replace(core.state.pool, version=1, next_disk=0))
        await core.commit()
        await rig.reopen()
        assert rig.pool.status().version == 1
        for refused in (
            rig.pool.create_space("t", "three-way-mirror", SIZE),
            rig.pool.set_disk(0, usage=Usage.JOURNAL),
            rig.pool.retire_disk(0),
            rig.pool.set_policy(retire_delay_s=5),
        ):
            with pytest.raises(ValueError, match="sofs pool upgrade"):
                await refused
        await rig.fill()
        rig.world.disks[1].fail()
        await rig.scribble(5)
        rig.world.disks[1].heal()
        await rig.pool.return_disk(rig.world.disks[1])
        await rig.pool.jobs.wait(await rig.pool.jobs.repair())
        assert rig.health() == ("Healthy", "OK") and not rig.pool._core.state.jobs
        assert await rig.pool.upgrade() == 2
        await rig.pool.retire_disk(0)
        await rig.reopen()
        assert rig.pool.status().version == 2
        await rig.check()

    rig.run(work)


# -- moves -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_a_slab_moves_under_writers_and_every_copy_is_good_after(seed: int) -> None:
    """P6, P7: until the new copy is current the old ones serve; then it serves as well as they do."""
    rig = Rig(seed=seed, columns=1 + seed % 2, is_random=True)

    async def work() -> None:
        await rig.create()
        await rig.fill()
        core, space = rig.pool._core, rig.space
        done = rig.world.runtime.event()

        async def writer() -> None:
            for _ in range(12):
                await rig.scribble(3)
                await space.flush()
            done.set()

        rig.world.runtime.spawn(writer, "writer")
        for row in list(space.state.rows)[:3]:
            slabs = space.row(row)[0]
            old = slabs.copies[0]
            place = await core.start_copy(space, slabs, old)
            assert place.number not in {copy.disk for copy in slabs.copies if not copy.joining}
            assert place not in slabs.readers and place in slabs.writers
            await space.refill(slabs, place, no_pace)
            await core.finish_copy(space, slabs, place, old)
            assert old.disk not in {copy.disk for copy in slabs.copies} and place in slabs.readers
        await done.wait()
        await rig.check()
        await space.flush()
        await check_copies(space)
        used = sum(disk.allocated_bytes for disk in rig.pool.status().disks)
        assert used == 2 * SIZE, "the slabs that were left are free again"
        await rig.reopen(crash=True)
        await rig.check()

    rig.run(work)


def test_a_move_that_was_given_up_or_cut_off_leaves_nothing_behind() -> None:
    rig = Rig()

    async def work() -> None:
        await rig.create()
        await rig.fill()
        core, space = rig.pool._core, rig.space
        slabs = space.row(0)[0]
        place = await core.start_copy(space, slabs, slabs.copies[0])
        with pytest.raises(StorageError, match="joins already"):
            await core.start_copy(space, slabs, slabs.copies[0])
        await core.drop_copy(space, slabs, CopyRecord(place.number, place.slab))
        assert len(slabs.copies) == 2 and sum(d.allocated_bytes for d in rig.pool.status().disks) == 2 * SIZE
        await core.start_copy(space, slabs, slabs.copies[0])
        await rig.reopen(crash=True)
        assert sum(disk.allocated_bytes for disk in rig.pool.status().disks) == 2 * SIZE
        await rig.check()
        assert rig.health() == ("Healthy", "OK")

    rig.run(work)


def test_scrub_finds_and_repairs_what_nobody_reads() -> None:
    rig = Rig(disks=3, resiliency="three-way-mirror")

    async def work() -> None:
        await rig.create()
        await rig.fill()
        first, second, third = rig.space.row(2)[0].readers
        rig.world.disks[first.number].rot(first.data + 9000, 200, rig.rng)
        rig.world.disks[third.number].rot(third.data + 30_000, 9000, rig.rng)
        rig.world.disks[second.number].rot(second.checks, 64, rig.rng)
        rig.world.disks[second.number].unreadable = {second.data + 5 * BLOCK_BYTES}
        result = await rig.space.scrub_row(2, no_pace)
        assert (result.checked, result.lost) == (3 * SLAB // BLOCK_BYTES, 0)
        assert result.repaired == 1 + 3 + 1 + 1
        await rig.space.flush()
        await check_copies(rig.space)
        again = await rig.space.scrub_row(2, no_pace)
        assert (again.repaired, again.lost) == (0, 0)
        for place in (first, second, third):
            rig.world.disks[place.number].rot(place.data, 100, rig.rng)
        assert (await rig.space.scrub_row(2, no_pace)).lost == 1

    rig.run(work)
