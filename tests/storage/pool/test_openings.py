"""Labels, quorum and capacity: what a pool says where it cannot go on, and that it says it in time."""

from __future__ import annotations

import random

import pytest

from storage.errors import (
    LabelCorrupt,
    PoolFull,
    PoolInUse,
    PoolUnavailable,
    SlabLost,
)
from storage.pool import label as labels
from storage.pool.pool import Pool
from storage.space.resiliency import Provisioning
from storage.units import BLOCK_BYTES, SpaceOffset
from tests.sim.disk import PowerCut, SimDisk
from tests.sim.world import World, open_space
from tests.storage.pool.rig import SIZE, SLAB, Rig

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
            ("b", "raid-5", SIZE),
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
