"""A mounted volume grows: its tiers, a plain space, its catalog; old and plain volumes get tiers."""

import gzip
import random
from contextlib import suppress
from pathlib import Path

import pytest

from storage.errors import CatalogCorrupt, DiskFailed, VolumeFull
from storage.fs.catalog import CatalogFileSystem, load_overlay
from storage.fs.check import check_catalog
from storage.tier.space import Segment, Tier, TieredSpace
from tests.sim.runtime import InlineRuntime
from tests.storage.fs.model import run_to_end
from tests.storage.fs.tiered import METADATA_BYTES, MIB, Rig, bytes_on, get, make, put, tiered
from tests.suites.memoryspace import MemorySpace, Power

VECTORS = Path(__file__).parents[2] / "vectors"


def test_a_mounted_volume_grows_on_both_tiers_and_keeps_its_files():
    """docs/design-spaces.md, Tiers: segments; growth appends one."""

    async def body(fs, rig):
        node = make(fs, "f")
        data = random.Random(4).randbytes(5 * MIB)
        await put(fs, node, data)
        for tier, more in ((Tier.FAST, 2 * MIB), (Tier.SLOW, 3 * MIB)):
            bigger = MemorySpace(rig.parts[tier].size_bytes + more, rig.runtime, rig.power)
            bigger._view[: rig.parts[tier].size_bytes] = rig.parts[tier]._view
            rig.parts[tier] = bigger
        total = fs.usage().total_bytes
        assert await fs.grow(TieredSpace(rig.parts)) == 5 * MIB
        assert fs.usage().total_bytes == total + 5 * MIB
        assert [(s.tier, s.length) for s in fs._segments] == [
            (Tier.FAST, 4 * MIB), (Tier.SLOW, 8 * MIB), (Tier.FAST, 2 * MIB), (Tier.SLOW, 3 * MIB)
        ]  # fmt: skip
        more = make(fs, "more")
        await put(fs, more, b"m" * (11 * MIB))
        assert await get(fs, node) == data and await get(fs, more) == b"m" * (11 * MIB)
        await fs.close()
        again = await rig.open()
        assert again.usage().total_bytes == total + 5 * MIB
        assert await get(again, again.lookup(again.root(), "f").node) == data
        await again.close()

    tiered(body, fast_bytes=4 * MIB, slow_bytes=8 * MIB)


def test_a_plain_volume_grows_while_it_is_mounted():
    """storage/fs/thin.py, grow: the longer last segment."""
    runtime = InlineRuntime()

    async def main():
        metadata, data = MemorySpace(METADATA_BYTES, runtime), MemorySpace(2 * MIB, runtime)
        fs = await CatalogFileSystem.format(metadata, data, runtime)
        node = make(fs, "f")
        await put(fs, node, b"x" * MIB)
        bigger = MemorySpace(6 * MIB, runtime)
        bigger._view[: 2 * MIB] = data._view
        assert await fs.grow(bigger) == 4 * MIB
        await put(fs, node, b"y" * (4 * MIB), MIB)
        assert await fs.grow() == 0
        with pytest.raises(CatalogCorrupt):
            await fs.grow(data)
        assert await get(fs, node) == b"x" * MIB + b"y" * (4 * MIB)
        await fs.close()
        assert (await check_catalog(metadata, bigger, runtime)).problems == []

    run_to_end(runtime, main())


def test_a_plain_volume_gets_a_fast_tier():
    """storage/fs/segments.py: a volume that gets tiers later begins with one segment, all that it had."""
    runtime = InlineRuntime()

    async def main():
        rig = Rig(runtime, 4 * MIB, 4 * MIB + 5000)
        slow = rig.parts[Tier.SLOW]
        fs = await CatalogFileSystem.format(rig.metadata, slow, runtime)
        node = make(fs, "f")
        await put(fs, node, b"x" * (2 * MIB))
        assert fs.read_now(node.data, 0, memoryview(bytearray(10)))
        await fs.grow(rig.data())
        assert fs._segments == (Segment(Tier.SLOW, 0, 4 * MIB), Segment(Tier.FAST, 0, 4 * MIB))
        assert fs.has_tiers and bytes_on(fs, node, Tier.SLOW) == 2 * MIB
        assert fs.read_now(node.data, 0, memoryview(bytearray(10)))
        assert fs.tier_status().tiers[Tier.SLOW].read_bytes == 10
        await fs.pin(node, Tier.FAST)
        assert bytes_on(fs, node, Tier.SLOW) == 0 and await get(fs, node) == b"x" * (2 * MIB)
        await fs.close()
        assert await rig.problems() == []
        with pytest.raises(CatalogCorrupt, match="tiers"):
            await CatalogFileSystem.open(rig.metadata, slow, runtime)
        assert "tiers" in (await check_catalog(rig.metadata, slow, runtime)).problems[0]
        again = await rig.open()
        assert await get(again, again.lookup(again.root(), "f").node) == b"x" * (2 * MIB)
        await again.close()

    run_to_end(runtime, main())


def small_metadata(runtime, power=None):
    return MemorySpace(4 * MIB, runtime, power), MemorySpace(8 * MIB, runtime, power)


def test_a_full_catalog_takes_files_again_when_its_space_has_grown():
    """storage/fs/thin.py, grow: what the metadata space has more, while others make files."""
    runtime = InlineRuntime(rng=random.Random(3))

    async def main():
        metadata, data = small_metadata(runtime)
        fs = await CatalogFileSystem.format(metadata, data, runtime, security=b"root")
        metadata.slow(random.Random(4))
        count, working = fill(fs, 0), [True]

        async def work():
            while working[0]:
                fs.changed(fs.root())
                await fs.flush(fs.root())
                await runtime.sleep(0.01)

        runtime.spawn(work, "work")
        metadata.grow(8 * MIB)
        assert await fs.grow() == 0
        more = fill(fs, count)
        assert more > 2 * count > 1000
        await fs.sync()
        working[0] = False
        await fs.close()
        assert (await check_catalog(metadata, data, runtime)).problems == []
        again = await CatalogFileSystem.open(metadata, data, runtime)
        assert len(again.entries(again.root(), None, 10**6)) == more
        await again.close()

    run_to_end(runtime, main())


def fill(fs, start):
    """Make files until the catalog is full; how many there are then."""
    for index in range(start, 10**6):
        try:
            make(fs, f"f{index} " + "with a long name" * 12)
        except VolumeFull:
            return index
    raise AssertionError("it is never full")


def test_a_power_cut_while_the_catalog_grows_leaves_it_whole():
    """storage/fs/thin.py: the log moves by one write of the header, when it is empty."""
    rng = random.Random(6)
    grown = set()
    for left in range(1, 48, 4):
        runtime = InlineRuntime(rng=rng)
        power, kept = Power(), []
        metadata, data = small_metadata(runtime, power)
        run_to_end(runtime, files_kept(metadata, data, runtime, power, left, kept))
        for _ in range(2):
            runtime = InlineRuntime(rng=rng)
            found = metadata.power_cut(rng, runtime), data.power_cut(rng, runtime)
            run_to_end(runtime, files_found(*found, runtime, kept, grown))
    assert grown == {4 * MIB, 6 * MIB + 4096}


async def files_kept(metadata, data, runtime, power, left, kept):
    """Files are made and flushed while the catalog grows, until the power is gone; `kept` are durable."""
    fs = await CatalogFileSystem.format(metadata, data, runtime, security=b"root")
    for space in (metadata, data):
        space.keeps_versions = True
    metadata.slow(random.Random(left))

    async def work():
        with suppress(DiskFailed):
            for index in range(100):
                node = make(fs, f"f{index}")
                await put(fs, node, bytes([index]) * 7000)
                await fs.flush(node)
                kept.append(index)

    with suppress(DiskFailed):
        runtime.spawn(work, "work")
        while len(kept) < 5:
            await runtime.sleep(0.001)
        metadata.grow(6 * MIB + 5000)
        power.left = left
        await fs.grow()
        while not power.is_off:
            await runtime.sleep(0.5)


async def files_found(metadata, data, runtime, kept, grown):
    layout = (await load_overlay(metadata)).layout
    grown.add(layout.wal_at + layout.wal_bytes)
    assert (await check_catalog(metadata, data, runtime)).problems == []
    fs = await CatalogFileSystem.open(metadata, data, runtime)
    for index in kept:
        assert await get(fs, fs.lookup(fs.root(), f"f{index}").node) == bytes([index]) * 7000
    assert fs._layout.wal_at + fs._layout.wal_bytes == metadata.size_bytes // 4096 * 4096
    await fs.close()
    assert (await check_catalog(metadata, data, runtime)).problems == []


def vector(name, runtime):
    raw = gzip.decompress((VECTORS / f"{name}.img.gz").read_bytes())
    space = MemorySpace(len(raw), runtime)
    space._view[:] = raw
    return space


def test_a_volume_of_the_first_version_gets_tiers():
    """docs/formats/catalog.md: mounting brings an older catalog to the newest version."""
    runtime = InlineRuntime()

    async def main():
        metadata, slow = vector("catalog-v1-metadata", runtime), vector("catalog-v1-data", runtime)
        data = TieredSpace({Tier.SLOW: slow, Tier.FAST: MemorySpace(4 * MIB, runtime)})
        fs = await CatalogFileSystem.open(metadata, data, runtime)
        folder = fs.lookup(fs.root(), "folder").node
        for name, size in (("one", 200_000), ("two", 70_000), ("three", 10)):
            node = fs.lookup(folder, name).node
            expected = (name.encode() * size)[:size]
            assert await get(fs, node) == expected
            await fs.pin(node, Tier.FAST)
            assert bytes_on(fs, node, Tier.SLOW) == 0 and await get(fs, node) == expected
        await fs.close()
        assert (await check_catalog(metadata, data, runtime)).problems == []

    run_to_end(runtime, main())


