"""A tiered volume on a real pool of fast and slow disks: thin slabs come and go, growth, power cuts."""

import random

import pytest

from storage.fs.catalog import CatalogFileSystem
from storage.fs.check import check_catalog
from storage.pool.metadata import MediaType
from storage.pool.pool import Pool
from storage.tier.space import Tier, TieredSpace
from tests.sim.disk import PowerCut
from tests.sim.world import World
from tests.storage.fs.model import run_to_end
from tests.storage.fs.tiered import MIB, bytes_on, get, make, put

SLAB = 256 << 10


async def begin(world, slow="mirror"):
    """A pool of two fast and some slow disks, with the spaces of a volume; one on parity has a write-back
    cache."""
    media = [MediaType.SSD, MediaType.SSD] + [MediaType.HDD] * (len(world.disks) - 2)
    pool = await Pool.create(world.disks, "p", runtime=world.runtime, slab_bytes=SLAB, media=media)
    await pool.create_space("v/metadata", "mirror", 8 * MIB, columns=1, write_cache_bytes=0)
    await pool.create_space(
        "v/fast", "mirror", 6 * MIB, columns=1, write_cache_bytes=0, media=MediaType.SSD
    )
    columns, cache = (1, 0) if slow == "mirror" else (3, 4 * MIB)
    await pool.create_space(
        "v/data", slow, 16 * MIB, columns=columns, write_cache_bytes=cache, media=MediaType.HDD
    )
    fs = await CatalogFileSystem.format(*parts(pool), world.runtime, security=b"root")
    return pool, fs


def parts(pool):
    data = TieredSpace({Tier.FAST: pool.space("v/fast"), Tier.SLOW: pool.space("v/data")})
    return pool.space("v/metadata"), data


def pool_world(seed, slow=2):
    return World([32 * MIB, 32 * MIB] + [40 * MIB] * slow, seed)


async def released(fs):
    await fs.sync()
    while fs._releasing:
        await fs._released.wait()


def allocated(pool, name):
    return pool.space(f"v/{name}").usage().allocated_bytes


def test_moved_deleted_and_consolidated_data_gives_slabs_back():
    """The requirement: deletes give slabs back (with consolidation); data moves between the tiers' disks."""
    world = pool_world(3)

    async def main():
        pool, fs = await begin(world)
        rng = random.Random(1)
        contents = {}
        for index in range(40):
            node = make(fs, f"f{index}")
            contents[index] = rng.randbytes(100_000)
            await put(fs, node, contents[index])
        await fs.sync()
        assert allocated(pool, "fast") >= 40 * 131072 - SLAB
        down = await fs.pin(make(fs, "nothing"), Tier.SLOW)
        assert down.moved_bytes == 0
        for index in range(40):
            await fs.pin(fs.lookup(fs.root(), f"f{index}").node, Tier.SLOW)
        await released(fs)
        await fs.retrim()
        await fs.sync()
        assert allocated(pool, "fast") == 0 and allocated(pool, "data") <= 40 * 131072 + SLAB
        for index in range(40):
            if index % 5:
                fs.unlink(fs.root(), f"f{index}")
                del contents[index]
        await released(fs)
        before = allocated(pool, "data")
        result = await fs.consolidate()
        await fs.sync()
        assert result.moved_bytes > 0 and allocated(pool, "data") < before
        assert allocated(pool, "data") <= len(contents) * 131072 + SLAB
        for index, data in contents.items():
            assert await get(fs, fs.lookup(fs.root(), f"f{index}").node) == data
        await fs.close()
        assert (await check_catalog(*parts(pool), world.runtime)).problems == []
        await pool.close()

    run_to_end(world.runtime, main())


def test_a_resized_pool_space_makes_the_mounted_volume_larger():
    """docs/design-spaces.md: after Pool.resize_space, `grow()`."""
    world = pool_world(4)

    async def main():
        pool, fs = await begin(world)
        node = make(fs, "f")
        await put(fs, node, b"x" * (4 * MIB))
        total = fs.usage().total_bytes
        await pool.resize_space("v/data", 20 * MIB)
        assert await fs.grow() == 4 * MIB and fs.usage().total_bytes == total + 4 * MIB
        await pool.resize_space("v/fast", 8 * MIB)
        await pool.resize_space("v/metadata", 12 * MIB)
        assert await fs.grow() == 2 * MIB
        assert fs._layout.wal_at + fs._layout.wal_bytes == 12 * MIB
        for index in range(300):
            make(fs, f"with a long name {index}" * 8)
        more = make(fs, "more")
        await put(fs, more, b"y" * (15 * MIB))
        assert bytes_on(fs, more, Tier.SLOW) and await get(fs, more) == b"y" * (15 * MIB)
        await fs.close()
        fs = await CatalogFileSystem.open(*parts(pool), world.runtime)
        assert await get(fs, fs.lookup(fs.root(), "f").node) == b"x" * (4 * MIB)
        assert await get(fs, fs.lookup(fs.root(), "more").node) == b"y" * (15 * MIB)
        await fs.close()
        await pool.close()

    run_to_end(world.runtime, main())


@pytest.mark.parametrize(
    ("seed", "slow"), [(seed, "parity" if seed % 2 else "mirror") for seed in range(8)]
)
def test_a_power_cut_in_the_pool_while_data_moves_loses_nothing_flushed(seed, slow):
    """storage/fs/mover.py: after a power cut every file has the same bytes, here or there."""
    rng = random.Random(seed)
    world = pool_world(seed, 2 if slow == "mirror" else 4)
    contents = {name: rng.randbytes(rng.choice((5000, 300_000, MIB + 77))) for name in "abcdef"}

    async def before():
        pool, fs = await begin(world, slow)
        for name, data in contents.items():
            await put(fs, make(fs, name), data)
        clone = make(fs, "clone")
        source = fs.lookup(fs.root(), "a").node.data
        assert await fs.clone(source, 0, clone.data, 0, source.size_bytes)
        contents["clone"] = contents["a"]
        await fs.close()
        await pool.close()

    async def moving():
        pool = await Pool.open(world.disks, world.runtime)
        fs = await CatalogFileSystem.open(*parts(pool), world.runtime)
        for _ in range(20):
            name = rng.choice(sorted(contents))
            await fs.pin(fs.lookup(fs.root(), name).node, rng.choice((Tier.FAST, Tier.SLOW)))
            await rng.choice((fs.consolidate, fs.retrim, fs.sync))()

    async def after():
        pool = await Pool.open(world.disks, world.runtime)
        assert (await check_catalog(*parts(pool), world.runtime)).problems == []
        fs = await CatalogFileSystem.open(*parts(pool), world.runtime)
        for name, data in contents.items():
            assert await get(fs, fs.lookup(fs.root(), name).node) == data
        await fs.close()
        await pool.close()

    run_to_end(world.runtime, before())
    world.restore_open()
    world.cut_at = world.operations + rng.randrange(1, 600)
    try:
        run_to_end(world.runtime, moving())
    except PowerCut:
        pass
    world.power_cut()
    world.restore_open()
    run_to_end(world.runtime, after())
