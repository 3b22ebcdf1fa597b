"""Disks that fail, vanish, come back, rot: what a mirror survives."""

from __future__ import annotations

import pytest

from storage.errors import (
    BlockCorrupt,
    PoolUnavailable,
    SlabLost,
    StorageError,
)
from storage.pool.pool import Pool
from storage.units import BLOCK_BYTES, SpaceOffset
from tests.sim.world import check_copies, open_space
from tests.storage.pool.rig import SIZE, SLAB, Rig

# -- a disk that goes away ---------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("blocks", [False, True])
def test_a_mirror_reads_and_writes_on_when_a_disk_fails_under_it(columns: int, blocks: bool) -> None:
    rig = Rig(columns=columns, blocks=blocks)

    async def work() -> None:
        await rig.create()
        await rig.fill()
        rig.world.disks[1].fail()
        await rig.check()
        await rig.scribble(30)
        await rig.check()
        await rig.space.flush()
        status = rig.pool.status()
        assert (status.disks[1].health, status.disks[1].operational) == ("Warning", "IO error")
        assert "d1" in status.disks[1].detail
        assert rig.health() == ("Warning", "Degraded")

    rig.run(work)


def test_a_write_on_fewer_copies_is_acknowledged_only_after_the_missing_copy_is_durably_stale() -> None:
    """Reference D, I3: mark-before-ack. A power cut right after the first degraded write, and the failed disk
    comes back."""
    rig = Rig()

    async def before() -> None:
        await rig.create()
        await rig.fill()
        rig.world.disks[0].fail()
        await rig.write(0, b"new" * 2000)
        await rig.write(200_000, b"new" * 2000)
        await rig.space.flush()

    async def after() -> None:
        rig.world.disks[0].heal()
        await rig.reopen(crash=True)
        await rig.check()
        await check_copies(rig.space)
        assert rig.health() == ("Healthy", "OK")

    rig.run(before)
    rig.run(after)


def test_a_disk_that_failed_with_unflushed_writes_is_stale_although_nothing_was_written_since() -> None:
    rig = Rig(disks=2)

    async def work() -> None:
        await rig.create()
        await rig.fill()
        await rig.scribble(5)
        disk = rig.world.disks[1]
        disk.fail()
        await rig.space.flush()
        disk.content[:] = disk.durable
        disk.unflushed.clear()
        await rig.pool.close()
        disk.heal()
        rig.world.restore([bytes(disk.content) for disk in rig.world.disks])
        rig.pool, rig.space = await open_space(rig.world, "s")
        await check_copies(rig.space)
        await rig.check()

    rig.run(work)


@pytest.mark.parametrize("crash", [False, True])
def test_a_disk_that_was_away_is_resynced_by_what_changed_and_serves_again(crash: bool) -> None:
    rig = Rig()

    async def work() -> None:
        await rig.create()
        await rig.fill()
        await rig.reopen(without={2})
        assert rig.health() == ("Warning", "Incomplete")
        assert rig.pool.status().disks[2].operational == "Lost communication"
        await rig.write(5000, b"x" * 100)
        assert rig.health() == ("Warning", "Degraded") or not rig.space.row(0)[0].copies[0].stale
        await rig.scribble(3)
        await rig.space.flush()
        await rig.check()
        writes = rig.world.disks[2].writes
        await rig.reopen(crash=crash)
        await rig.check()
        assert rig.health() == ("Healthy", "OK")
        assert rig.world.disks[2].writes - writes < 40, "resync wrote more than what changed"
        await check_copies(rig.space)

    rig.run(work)


def test_rows_not_written_while_a_disk_was_away_stay_current() -> None:
    rig = Rig()

    async def work() -> None:
        await rig.create()
        await rig.fill()
        await rig.reopen(without={0})
        await rig.write(0, b"row zero only")
        await rig.space.flush()
        stale = sum(
            copy.stale
            for row in rig.space.state.rows
            for ones in rig.space.state.columns(row)
            for copy in ones
        )
        assert stale == (1 if any(copy.disk == 0 for copy in rig.space.row(0)[0].copies) else 0)

    rig.run(work)


def test_a_simple_space_says_which_data_it_lost_and_keeps_the_rest() -> None:
    rig = Rig(resiliency="simple", columns=1)

    async def work() -> None:
        await rig.create()
        await rig.fill()
        rig.world.disks[0].fail()
        lost = 0
        for row in range(SIZE // SLAB):
            into = bytearray(SLAB)
            try:
                await rig.space.read(SpaceOffset(row * SLAB), memoryview(into))
                assert into == rig.model[row * SLAB : (row + 1) * SLAB]
            except SlabLost as error:
                assert "disk 0" in str(error)
                lost += 1
        assert 0 < lost < SIZE // SLAB
        assert rig.health() == ("Unhealthy", "No redundancy")
        rig.world.disks[0].heal()
        await rig.reopen(crash=True)
        await rig.check()

    rig.run(work)


def test_a_pool_of_two_disks_survives_the_loss_of_either_and_opens_again_from_the_survivor() -> None:
    for lost in (0, 1):
        rig = Rig(disks=2)

        async def work(rig: Rig = rig, lost: int = lost) -> None:
            await rig.create()
            await rig.fill()
            rig.world.disks[lost].fail()
            await rig.scribble(5)
            await rig.space.flush()
            rig.world.disks[lost].heal()
            await rig.reopen(without={lost}, crash=True)
            await rig.check()
            await rig.pool.close()
            rig.world.restore(rig.world.images())
            with pytest.raises(PoolUnavailable, match="1 of its 2 disks|0 of its 1 disks"):
                await Pool.open([rig.world.disks[lost]], rig.world.runtime)

        rig.run(work)


def test_losing_too_many_disks_at_once_stops_the_pool_with_a_typed_error() -> None:
    rig = Rig(disks=5)

    async def work() -> None:
        await rig.create()
        await rig.fill()
        for disk in rig.world.disks[:3]:
            disk.fail()
        with pytest.raises(StorageError):
            for _ in range(50):
                await rig.write(rig.rng.randrange(SIZE - 5000), b"?" * 5000)
                await rig.space.flush()

    rig.run(work)


def test_a_disk_that_fails_at_any_operation_costs_nothing_acknowledged() -> None:
    for after in range(60):
        rig = Rig(disks=3, seed=after)

        async def work(rig: Rig = rig, after: int = after) -> None:
            await rig.create()
            rig.world.disks[after % 3].fail_after = after
            await rig.scribble(6)
            await rig.space.flush()
            await rig.space.trim(SpaceOffset(0), 2 * SLAB)
            rig.model[: 2 * SLAB] = bytes(2 * SLAB)
            await rig.scribble(6)
            await rig.space.flush()
            await rig.check()
            rig.world.disks[after % 3].heal()
            await rig.reopen(crash=True)
            await rig.check()
            await check_copies(rig.space)

        rig.run(work)


# -- rot, misdirected and lost writes ----------------------------------------------------------------------


def test_rot_on_one_copy_is_read_from_the_other_and_repaired() -> None:
    rig = Rig()

    async def work() -> None:
        await rig.create()
        await rig.fill()
        place = rig.space.row(0)[0].readers[0]
        rig.world.disks[place.number].rot(place.data + 3 * BLOCK_BYTES, 100, rig.rng)
        assert not rig.space.read_now(SpaceOffset(0), memoryview(bytearray(SLAB)))
        await rig.check()
        assert rig.pool.status().disks[place.number].repaired_blocks == 1
        assert rig.space.read_now(SpaceOffset(0), memoryview(bytearray(SLAB)))
        await check_copies(rig.space)

    rig.run(work)


def test_rot_on_both_copies_is_an_error_never_wrong_bytes() -> None:
    rig = Rig()

    async def work() -> None:
        await rig.create()
        await rig.fill()
        for place in rig.space.row(0)[0].readers:
            rig.world.disks[place.number].rot(place.data, 512, rig.rng)
        with pytest.raises(BlockCorrupt, match="no copy passes"):
            await rig.space.read(SpaceOffset(100), memoryview(bytearray(10)))
        with pytest.raises(BlockCorrupt):
            rig.space.read_blocking(SpaceOffset(100), memoryview(bytearray(10)))
        with pytest.raises(BlockCorrupt):
            await rig.space.write(SpaceOffset(100), [b"part of it"])
        await rig.write(0, b"w" * BLOCK_BYTES)
        await rig.check()

    rig.run(work)


def test_rot_outside_of_the_intent_log_is_not_adopted_after_a_power_cut() -> None:
    rig = Rig(resiliency="simple")

    async def work() -> None:
        await rig.create()
        await rig.fill()
        await rig.reopen()
        place = rig.space.row(0)[0].readers[0]
        await rig.write(5 * SLAB, b"something hot")
        rig.world.disks[place.number].rot(place.data, 512, rig.rng)
        await rig.reopen(crash=True)
        with pytest.raises(BlockCorrupt):
            await rig.space.read(SpaceOffset(0), memoryview(bytearray(10)))

    rig.run(work)


def test_a_misdirected_write_is_found_at_both_ends() -> None:
    rig = Rig()

    async def work() -> None:
        await rig.create()
        await rig.fill()
        place = rig.space.row(1)[0].readers[0]
        rig.world.disks[place.number].misdirect_next = place.data + 7 * BLOCK_BYTES
        await rig.write(SLAB, b"m" * BLOCK_BYTES)
        await rig.check()
        assert rig.pool.status().disks[place.number].repaired_blocks == 2
        await rig.space.flush()
        await check_copies(rig.space)

    rig.run(work)


def test_a_copy_that_lost_data_and_checksums_of_a_write_is_told_by_its_generation() -> None:
    rig = Rig()

    async def work() -> None:
        await rig.create()
        await rig.fill()
        disk = rig.world.disks[rig.space.row(0)[0].readers[0].number]
        old = bytes(disk.content[disk.size_bytes // 8 :])
        await rig.write(0, b"newer" * 1000)
        await rig.space.flush()
        place = rig.space.row(0)[0].readers[0]
        start, end = place.data, place.checks + BLOCK_BYTES
        shift = disk.size_bytes // 8
        disk.content[start:end] = old[start - shift : end - shift]
        disk.durable[start:end] = old[start - shift : end - shift]
        await rig.reopen()
        await rig.check()
        await rig.space.flush()
        await check_copies(rig.space)

    rig.run(work)


def test_rotted_checksums_are_told_from_rotted_data() -> None:
    rig = Rig()

    async def work() -> None:
        await rig.create()
        await rig.fill()
        place = rig.space.row(0)[0].readers[1]
        await rig.reopen()
        rig.world.disks[place.number].rot(place.checks, 128, rig.rng)
        await rig.check()
        await rig.space.flush()
        await check_copies(rig.space)

    rig.run(work)


@pytest.mark.parametrize("seed", range(12))
def test_any_tolerated_damage_reads_the_last_written_bytes(seed: int) -> None:
    """One bad copy of any block at a time: rotted data, rotted checksums, an old version, a disk away."""
    rig = Rig(seed=seed, columns=1 + seed % 2)

    async def work() -> None:
        await rig.create()
        await rig.fill()
        victim = rig.rng.randrange(4)
        for _ in range(8):
            disk = rig.world.disks[victim]
            image = bytes(disk.content)
            await rig.scribble(4)
            if rig.rng.random() < 0.7:
                await rig.space.flush()
            fault = rig.rng.choice(("rot", "checks", "old", "away", "none"))
            mine = [
                place
                for sets in rig.space.rows.values()
                for s in sets
                for place in s.writers
                if place.number == victim
            ]
            if not mine:
                continue
            place = rig.rng.choice(mine)
            if fault == "rot":
                disk.rot(place.data + rig.rng.randrange(SLAB - 600), 600, rig.rng)
            elif fault == "checks":
                await rig.reopen()
                rig.world.disks[victim].rot(place.checks, 64, rig.rng)
            elif fault == "old":
                disk.content[place.data : place.data + SLAB] = image[place.data : place.data + SLAB]
            elif fault == "away":
                await rig.reopen(without={victim})
                await rig.scribble(4)
                await rig.check()
                await rig.reopen()
            await rig.check()
        await rig.reopen()
        await rig.check()

    rig.run(work)
