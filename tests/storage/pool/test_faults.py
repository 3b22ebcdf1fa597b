"""Disks that fail, vanish, come back, rot: what a mirror survives, and what the pool says where it cannot."""

from __future__ import annotations

import random

import pytest

from storage.errors import (
    BlockCorrupt,
    LabelCorrupt,
    PoolFull,
    PoolInUse,
    PoolUnavailable,
    SlabLost,
    StorageError,
)
from storage.pool import label as labels
from storage.pool.pool import Pool
from storage.space.mirror import MirrorSpace
from storage.space.resiliency import Provisioning
from storage.units import BLOCK_BYTES, SpaceOffset
from tests.sim.disk import PowerCut, SimDisk
from tests.sim.world import World, check_copies, open_space, read_all

SLAB = 64 << 10
SIZE = 512 << 10


class Rig:
    """A pool with one space on simulated disks; `model` is what the space holds."""

    def __init__(
        self, disks: int = 4, resiliency: str = "mirror", columns: int = 1, seed: int = 1, **kind: bool
    ) -> None:
        self.world = World([1 << 20] * disks, seed, **kind)
        self.rng = random.Random(seed)
        self.model = bytearray(SIZE)
        self.columns = columns
        self.resiliency = resiliency

    async def create(self) -> None:
        self.pool = await Pool.create(self.world.disks, "tank", runtime=self.world.runtime, slab_bytes=SLAB)
        space = await self.pool.create_space("s", self.resiliency, SIZE, columns=self.columns)
        assert isinstance(space, MirrorSpace)
        self.space = space

    async def write(self, offset: int, data: bytes) -> None:
        if not self.space.write_now(SpaceOffset(offset), [data]):
            await self.space.write(SpaceOffset(offset), [data])
        self.model[offset : offset + len(data)] = data

    async def fill(self) -> None:
        await self.write(0, self.rng.randbytes(SIZE))
        await self.space.flush()

    async def scribble(self, times: int) -> None:
        for _ in range(times):
            offset = self.rng.randrange(SIZE)
            await self.write(
                offset, self.rng.randbytes(min(SIZE - offset, self.rng.choice((1, 600, 4096, 20_000))))
            )

    async def check(self) -> None:
        assert await read_all(self.space) == self.model

    async def reopen(self, *, without: set[int] | None = None, crash: bool = False) -> None:
        if crash:
            self.world.power_cut()
        else:
            await self.pool.close()
            self.world.restore([bytes(disk.content) for disk in self.world.disks])
        gone = without or set()
        self.pool, self.space = await open_space(
            self.world, "s", lambda disk: self.world.disks.index(disk) in gone
        )

    def health(self) -> tuple[str, str]:
        status = self.pool.status().spaces[0]
        return status.health, status.operational

    def run(self, work) -> None:
        self.world.runtime.run(work())


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


# -- labels and quorum -------------------------------------------------------------------------------------


def spoil_labels(disk: SimDisk, both: bool = True) -> None:
    disk.rot(20, 64, random.Random(1))
    if both:
        disk.rot(labels.second_place(disk.size_bytes) + 20, 64, random.Random(2))


def test_one_bad_label_of_two_is_repaired_by_opening() -> None:
    rig = Rig()

    async def work() -> None:
        await rig.create()
        await rig.fill()
        await rig.pool.close()
        rig.world.restore(rig.world.images())
        for disk in rig.world.disks:
            spoil_labels(disk, both=False)
        rig.pool, rig.space = await open_space(rig.world, "s")
        await rig.reopen()
        for disk in rig.world.disks:
            assert labels.decode(bytes(disk.content[:BLOCK_BYTES]), disk.size_bytes)
        await rig.check()

    rig.run(work)


def test_a_disk_with_both_labels_bad_is_missing_and_below_quorum_the_label_is_named() -> None:
    rig = Rig(disks=4)

    async def work() -> None:
        await rig.create()
        await rig.fill()
        await rig.pool.close()
        rig.world.restore(rig.world.images())
        spoil_labels(rig.world.disks[0])
        rig.pool, rig.space = await open_space(rig.world, "s")
        await rig.check()
        assert "d0" in rig.pool.status().warnings[0] and "believed" in rig.pool.status().warnings[0]
        await rig.pool.close()
        rig.world.restore(rig.world.images())
        spoil_labels(rig.world.disks[1])
        spoil_labels(rig.world.disks[2])
        with pytest.raises(
            LabelCorrupt, match="1 of its 3 disks .* Found: d3. Missing: d1, d2.*disk d1: neither"
        ):
            await Pool.open(rig.world.disks, rig.world.runtime)

    rig.run(work)


def test_disks_without_any_label_are_no_pool() -> None:
    world = World([1 << 20] * 2)
    with pytest.raises(LabelCorrupt, match="no pool found on these disks"):
        world.runtime.run(Pool.open(world.disks, world.runtime))
    with pytest.raises(PoolUnavailable, match="no disk was given"):
        world.runtime.run(Pool.open([], world.runtime))


def test_below_quorum_the_pool_says_which_disks_are_missing() -> None:
    rig = Rig(disks=6)

    async def work() -> None:
        await rig.create()
        await rig.pool.close()
        rig.world.restore(rig.world.images())
        with pytest.raises(
            PoolUnavailable, match="3 of its 6 disks are there.*Found: d0, d1, d2. Missing: d3, d4, d5"
        ):
            await Pool.open(rig.world.disks[:3], rig.world.runtime)
        pool = await Pool.open(rig.world.disks[:4], rig.world.runtime)
        assert pool.status().operational == "Degraded"

    rig.run(work)


def test_an_older_half_of_the_disks_cannot_bring_back_old_metadata() -> None:
    rig = Rig(disks=4)

    async def work() -> None:
        await rig.create()
        await rig.fill()
        for number in (0, 1):
            rig.world.disks[number].fail()
            for row in range(SIZE // SLAB):
                try:
                    await rig.write(row * SLAB, b"degraded")
                except SlabLost:
                    pass
            await rig.pool._core.commit()
        for disk in rig.world.disks:
            disk.heal()
        rig.world.power_cut()
        with pytest.raises(PoolUnavailable):
            await Pool.open(rig.world.disks[:2], rig.world.runtime)

    rig.run(work)


def test_disks_of_two_pools_are_not_mixed() -> None:
    world = World([1 << 20] * 5)

    async def work() -> None:
        first = await Pool.create(world.disks[:3], "one", runtime=world.runtime, slab_bytes=SLAB)
        second = await Pool.create(world.disks[3:], "two", runtime=world.runtime, slab_bytes=SLAB)
        with pytest.raises(PoolInUse, match="belongs to pool one already"):
            await Pool.create(world.disks[:1], "three", runtime=world.runtime, slab_bytes=SLAB)
        await first.close()
        await second.close()
        world.restore(world.images())
        pool = await Pool.open(world.disks, world.runtime)
        assert pool.name == "one" and len(pool.status().disks) == 3
        assert any("belongs to another pool, two" in one for one in pool.status().warnings)

    world.runtime.run(work())


@pytest.mark.parametrize("seed", range(30))
def test_openings_interrupted_on_any_majority_never_lose_a_committed_change(seed: int) -> None:
    """storage/pool/quorum.py: a change that an interrupted opening left on too few disks never wins over a
    later, complete one."""
    rng = random.Random(seed)
    world = World([400 << 10] * 3, seed)

    async def create() -> None:
        pool = await Pool.create(world.disks, "q", runtime=world.runtime, slab_bytes=SLAB)
        await pool.close()

    async def change(disks: list[SimDisk], name: str) -> set[str]:
        pool = await Pool.open(disks, world.runtime)
        found = set(pool.space_names)
        await pool.create_space(name, "simple", SLAB, columns=1)
        committed.add(name)
        return found

    world.runtime.run(create())
    world.restore(world.images())
    committed: set[str] = set()
    tried: set[str] = set()
    for step in range(12):
        disks = rng.sample(world.disks, rng.choice((2, 2, 3)))
        world.operations, world.cut_at = 0, rng.randrange(5, 60)
        before = set(committed)
        tried.add(f"s{step}")
        try:
            found = world.runtime.run(change(disks, f"s{step}"))
            assert before <= found <= tried, (before, found)
        except PowerCut:
            pass
        except PoolUnavailable as error:
            assert "of its" in str(error)
        world.power_cut()


# -- capacity ----------------------------------------------------------------------------------------------


def test_a_full_pool_refuses_writes_keeps_everything_and_recovers_when_space_is_freed() -> None:
    world = World([600 << 10] * 2)

    async def work() -> None:
        pool = await Pool.create(world.disks, "small", runtime=world.runtime, slab_bytes=SLAB)
        space = await pool.create_space("s", "mirror", 4 << 20, columns=1)
        rows = space.usage().available_bytes // SLAB
        assert 3 <= rows <= 6
        for row in range(rows):
            await space.write(SpaceOffset(row * SLAB), [bytes([row + 1]) * SLAB])
        assert space.usage().available_bytes == 0
        with pytest.raises(PoolFull, match="add a disk or free space"):
            await space.write(SpaceOffset(rows * SLAB), [b"one too many"])
        await space.flush()
        await space.trim(SpaceOffset(SLAB), SLAB)
        await space.write(SpaceOffset(rows * SLAB), [b"fits now"])
        await space.flush()
        into = bytearray(8)
        await space.read(SpaceOffset(rows * SLAB), memoryview(into))
        assert into == b"fits now"
        await space.read(SpaceOffset(2 * SLAB), memoryview(into))
        assert into == b"\x03" * 8
        await space.read(SpaceOffset(SLAB), memoryview(into))
        assert into == bytes(8)

    world.runtime.run(work())


def test_a_fixed_space_has_all_its_slabs_from_the_start_or_is_refused() -> None:
    world = World([1 << 20] * 4)

    async def work() -> None:
        pool = await Pool.create(world.disks, "p", runtime=world.runtime, slab_bytes=SLAB)
        free = pool.status().free_bytes
        with pytest.raises(PoolFull):
            await pool.create_space("big", "mirror", free, Provisioning.FIXED)
        assert pool.status().free_bytes == free and pool.space_names == []
        space = await pool.create_space("fits", "mirror", free // 4, Provisioning.FIXED)
        assert space.usage().allocated_bytes == free // 4
        await space.trim(SpaceOffset(0), free // 4)
        assert space.usage().allocated_bytes == free // 4
        await pool.delete_space("fits")
        assert pool.status().free_bytes == free

    world.runtime.run(work())


def test_bad_arguments_are_refused_with_nothing_changed() -> None:
    world = World([1 << 20] * 3)

    async def work() -> None:
        pool = await Pool.create(world.disks, "p", runtime=world.runtime, slab_bytes=SLAB)
        await pool.create_space("a", "simple", SIZE)
        for arguments in (
            ("a", "simple", SIZE),
            ("b", "parity", SIZE),
            ("", "simple", SIZE),
            ("b", "simple", 0),
        ):
            with pytest.raises(ValueError):
                await pool.create_space(*arguments)
        with pytest.raises(PoolFull, match="needs 4 disks; 3 are there"):
            await pool.create_space("b", "mirror", SIZE, columns=2)
        with pytest.raises(ValueError):
            await pool.create_space("b", "mirror", SIZE, interleave_bytes=5000)
        with pytest.raises(KeyError):
            pool.space("b")
        with pytest.raises(ValueError, match="outside of space"):
            pool.space("a").read_now(SpaceOffset(SIZE - 1), memoryview(bytearray(2)))
        with pytest.raises(ValueError, match="power of two"):
            await Pool.create(world.disks, "p", runtime=world.runtime, slab_bytes=100_000)
        assert pool.space_names == ["a"]

    world.runtime.run(work())
