"""A volume of two tiers: placement, heat, pins, passes, statistics."""

import random
from bisect import bisect_left
from itertools import accumulate

import pytest

from storage.errors import BlockCorrupt, DiskFailed, VolumeFull
from storage.fs.catalog import CatalogFileSystem
from storage.fs.placement import TierSettings
from storage.tier.space import Tier
from tests.sim.runtime import InlineRuntime
from tests.storage.fs.model import run_to_end
from tests.storage.fs.tiered import CLUSTER, METADATA_BYTES, MIB, Rig, bytes_on, get, make, put, tiered
from tests.suites.memoryspace import MemorySpace

# placement ------------------------------------------------------------------------------------------


def test_new_data_goes_to_the_fast_tier_until_its_reserve():
    """docs/design-spaces.md, Tiers: new data goes to the fast tier while it has room above its reserve."""

    async def body(fs, rig):
        nodes = [make(fs, f"f{index}") for index in range(20)]
        for node in nodes:
            await put(fs, node, b"x" * (MIB // 2))
        fast = sum(bytes_on(fs, node, Tier.FAST) for node in nodes)
        assert 8 * MIB * 0.85 - MIB // 2 <= fast <= 8 * MIB * 0.85 + MIB // 2
        assert bytes_on(fs, nodes[0], Tier.SLOW) == 0 and bytes_on(fs, nodes[-1], Tier.FAST) == 0

    tiered(body)


def test_bulk_goes_to_the_slow_tier_when_the_fast_one_is_over_half_full():
    """docs/design-spaces.md, Tiers: bulk sequential (> 4 MiB at once) to the slow one."""

    async def body(fs, rig):
        first = make(fs, "first")
        await put(fs, first, b"x" * (17 * MIB))
        assert bytes_on(fs, first, Tier.FAST) == 17 * MIB
        second = make(fs, "second")
        for index in range(40):
            await put(fs, second, b"x" * (MIB // 4), index * MIB // 4)
        assert bytes_on(fs, second, Tier.SLOW) == 6 * MIB
        small = make(fs, "small")
        await put(fs, small, b"x" * 1000)
        assert bytes_on(fs, small, Tier.FAST) == CLUSTER

    tiered(body, fast_bytes=32 * MIB)


def test_a_full_tier_hands_over_to_the_other_and_only_both_full_is_volume_full():
    """docs/design-spaces.md, Tiers: falls over to the other tier; VolumeFull only when both are."""

    async def body(fs, rig):
        node = make(fs, "f")
        with pytest.raises(VolumeFull):
            for index in range(100):
                await put(fs, node, b"x" * MIB, index * MIB)
        assert fs.usage().free_bytes < MIB
        assert node.data.allocated_bytes >= 5 * MIB
        await fs.set_size(node.data, 0)
        await put(fs, node, b"y" * (6 * MIB))

    tiered(body, fast_bytes=2 * MIB, slow_bytes=4 * MIB)


@pytest.mark.parametrize("is_slow", [False, True])
def test_a_tier_whose_pool_is_full_hands_over_too(is_slow):
    """docs/design-spaces.md, Tiers: also when it is the pool that has no slab left for one tier."""

    async def body(fs, rig):
        for part in rig.parts.values():
            part.available_bytes = 2 * MIB
        if is_slow:
            rig.slow(random.Random(3))
        node = make(fs, "f")
        for at in range(0, 7 * MIB, MIB // 2)[:7]:
            await put(fs, node, b"x" * (MIB // 2), at)
        assert await get(fs, node) == b"x" * (7 * MIB // 2)
        assert bytes_on(fs, node, Tier.FAST) and bytes_on(fs, node, Tier.SLOW)
        with pytest.raises(VolumeFull):
            await put(fs, node, b"x" * MIB, 4 * MIB)
        rig.parts[Tier.SLOW].available_bytes += 2 * MIB
        await put(fs, node, b"z" * MIB, 4 * MIB)

    tiered(body)


def test_a_fast_tier_is_as_large_as_its_pool_lets_it_be():
    """storage/fs/placement.py: the reserve and the passes count with what the pool has slabs for."""

    async def body(fs, rig):
        rig.parts[Tier.FAST].available_bytes = 4 * MIB
        await rig.runtime.sleep(60)
        nodes = [make(fs, f"f{index}") for index in range(12)]
        for node in nodes:
            await put(fs, node, b"x" * (MIB // 2))
        fast = sum(bytes_on(fs, node, Tier.FAST) for node in nodes)
        assert 3 * MIB <= fast <= 4 * MIB
        rig.parts[Tier.FAST].available_bytes = 0
        for node in nodes[8:]:
            for _ in range(5):
                fs.read_now(node.data, 0, memoryview(bytearray(MIB // 2)))
        await fs.optimize_tiers()
        assert all(bytes_on(fs, node, Tier.SLOW) == 0 for node in nodes[8:])

    tiered(body)


def test_a_pinned_file_grows_on_its_tier():
    """docs/design-spaces.md, Tiers: pins by file."""

    async def body(fs, rig):
        node = make(fs, "f")
        await fs.pin(node, Tier.SLOW)
        await put(fs, node, b"x" * MIB)
        assert bytes_on(fs, node, Tier.FAST) == 0

    tiered(body)


# pins -----------------------------------------------------------------------------------------------


def test_a_pin_moves_the_file_at_once_and_outlives_a_mount():
    """docs/design-spaces.md: `pin(node, tier)`; moved at once; pins stored in the catalog."""

    async def body(fs, rig):
        node = make(fs, "f")
        data = random.Random(1).randbytes(3 * MIB + 777)
        await put(fs, node, data)
        named = fs.make_stream(node, "named")
        await put(fs, node, b"n" * 100_000, stream=named)
        result = await fs.pin(node, Tier.SLOW)
        assert (result.left_bytes, result.is_full) == (0, False)
        assert result.moved_bytes == 3 * MIB + 3 * CLUSTER
        assert bytes_on(fs, node, Tier.FAST) == 0
        assert await get(fs, node) == data and await get(fs, node, named) == b"n" * 100_000
        assert fs.tier_status().moved_down_bytes == result.moved_bytes
        await fs.close()
        again = await rig.open()
        node = again.lookup(again.root(), "F").node
        assert again.pin_of(node) is Tier.SLOW
        (pinned,) = again.pinned_files()
        assert (pinned.path, pinned.tier, pinned.elsewhere_bytes) == ("\\f", Tier.SLOW, 0)
        assert await get(again, node) == data
        await again.pin(node, Tier.FAST)
        assert bytes_on(again, node, Tier.SLOW) == 0 and await get(again, node) == data
        await again.unpin(node)
        assert again.pinned_files() == []
        again.unlink(again.root(), "f")
        await again.close()

    tiered(body)


def test_a_pin_ends_with_its_file():
    """docs/formats/catalog.md, pins: a pin belongs to a node that is there."""

    async def body(fs, rig):
        node = make(fs, "f")
        await fs.pin(node, Tier.FAST)
        fs.unlink(fs.root(), "f")
        assert fs.tier_status().pins == 0
        await fs.sync()
        assert fs._rows("select * from pins") == []

    tiered(body)


def test_a_pin_to_a_full_fast_tier_makes_room_by_moving_colder_files_down():
    """storage/fs/tiering.py, pin: if the tier has no room for all of it, colder files make some."""

    async def body(fs, rig):
        others = [make(fs, f"o{index}") for index in range(9)]
        for node in others:
            await put(fs, node, b"o" * MIB)
        node = make(fs, "f")
        await put(fs, node, b"f" * (4 * MIB))
        assert bytes_on(fs, node, Tier.SLOW) > MIB
        result = await fs.pin(node, Tier.FAST)
        assert result.left_bytes == 0 and bytes_on(fs, node, Tier.FAST) == 4 * MIB
        assert fs.tier_status().moved_down_bytes >= MIB
        for other in others:
            assert await get(fs, other) == b"o" * MIB

    tiered(body)


def test_a_pin_that_cannot_be_had_tells_what_is_left():
    """storage/fs/tiering.py, pin: `left_bytes` tells what still lies elsewhere."""

    async def body(fs, rig):
        node = make(fs, "f")
        await put(fs, node, b"f" * (6 * MIB))
        result = await fs.pin(node, Tier.FAST)
        assert result.is_full and result.left_bytes == bytes_on(fs, node, Tier.SLOW) > 0
        assert fs.pinned_files()[0].elsewhere_bytes == result.left_bytes

    tiered(body, fast_bytes=4 * MIB)


def test_shared_clusters_move_once_for_all_who_share_them():
    """storage/fs/mover.py: a piece has all its owners, or is not moved."""

    async def body(fs, rig):
        source, target = make(fs, "s"), make(fs, "t")
        data = random.Random(2).randbytes(2 * MIB)
        await put(fs, source, data)
        assert await fs.clone(source.data, 0, target.data, 0, 2 * MIB)
        assert await fs.clone(source.data, 0, source.data, 4 * MIB, MIB)
        taken = fs._allocator.used
        result = await fs.pin(target, Tier.SLOW)
        assert result.left_bytes == 0 and fs._allocator.used == taken
        assert result.moved_bytes == 2 * MIB
        assert bytes_on(fs, source, Tier.FAST) == 0
        assert await get(fs, target) == data
        assert await get(fs, source) == data + bytes(2 * MIB) + data[:MIB]
        await put(fs, source, b"!" * 5)
        assert (await get(fs, target))[:5] == data[:5]

    tiered(body)


def test_those_who_share_clusters_do_not_move_them_to_and_fro():
    """storage/fs/tiering.py: a pin to the fast tier comes first, then one to the slow one, then use."""

    async def body(fs, rig):
        one, other = make(fs, "one"), make(fs, "other")
        await put(fs, one, b"x" * MIB)
        assert await fs.clone(one.data, 0, other.data, 0, MIB)
        into = memoryview(bytearray(MIB))

        async def moved_by_passes():
            before = fs.tier_status()
            for _ in range(3):
                for _ in range(3):
                    fs.read_now(one.data, 0, into)
                await fs.optimize_tiers()
            now = fs.tier_status()
            return now.moved_up_bytes + now.moved_down_bytes - before.moved_up_bytes - before.moved_down_bytes

        assert (await fs.pin(other, Tier.SLOW)).left_bytes == 0
        assert await moved_by_passes() == 0 and bytes_on(fs, one, Tier.SLOW) == MIB
        assert (await fs.pin(one, Tier.FAST)).left_bytes == 0
        assert await moved_by_passes() == 0 and bytes_on(fs, other, Tier.FAST) == MIB
        assert (await fs.pin(other, Tier.SLOW)).left_bytes == MIB
        await fs.unpin(one)
        await fs.unpin(other)
        assert await moved_by_passes() == 0
        result = await fs.optimize_tiers()
        assert result.moved_bytes == 0 and bytes_on(fs, other, Tier.FAST) == MIB

    tiered(body, fast_bytes=2 * MIB - 4 * CLUSTER)


def test_what_cannot_be_read_stays_and_is_told():
    """storage/fs/mover.py: a piece that is unreadable is counted, the others move."""

    async def body(fs, rig):
        node = make(fs, "f")
        await put(fs, node, b"f" * (3 * MIB))
        fast = rig.parts[Tier.FAST]
        good = fast.read_blocking

        def bad(offset, into):
            if offset == MIB:
                raise BlockCorrupt("block 256 fails its checksum on every copy")
            good(offset, into)

        fast.read_blocking = bad
        result = await fs.pin(node, Tier.SLOW)
        assert result.left_bytes == MIB and fs.tier_status().failed_pieces >= 1
        fast.read_blocking = good
        assert await get(fs, node) == b"f" * (3 * MIB)

    tiered(body)


def test_a_volume_without_tiers_has_nothing_to_pin_or_count():
    """storage/fs/tiering.py: ValueError without tiers; statistics are empty."""
    runtime = InlineRuntime()

    async def main():
        metadata, data = MemorySpace(METADATA_BYTES, runtime), MemorySpace(4 * MIB, runtime)
        fs = await CatalogFileSystem.format(metadata, data, runtime)
        assert not fs.has_tiers and fs.tier_status().tiers == () and fs.hottest_files() == []
        with pytest.raises(ValueError, match="no tiers"):
            await fs.pin(make(fs, "f"), Tier.FAST)
        assert (await fs.optimize_tiers()).moved_bytes == 0
        await fs.close()

    run_to_end(runtime, main())


# heat and passes ------------------------------------------------------------------------------------

FILES = 200
FILE_BYTES = 2 * CLUSTER


class Zipf:
    """File numbers, the first the most frequent."""

    def __init__(self, rng, exponent=1.3):
        self.rng = rng
        self.sums = list(accumulate(1 / rank**exponent for rank in range(1, FILES + 1)))

    def draw(self):
        return bisect_left(self.sums, self.rng.random() * self.sums[-1])


async def read_some(fs, nodes, zipf, order, count):
    """Skewed reads for a while."""
    into = memoryview(bytearray(4096))
    for _ in range(count):
        node = nodes[order[zipf.draw()]]
        assert fs.read_now(node.data, zipf.rng.randrange(FILE_BYTES // 4096) * 4096, into)


def test_a_skewed_workload_comes_to_be_served_by_the_fast_tier_and_what_cools_goes_back():
    """The requirement: data moves to fast disks when it is accessed frequently and back when not, shown on a
    skewed workload."""

    async def body(fs, rig):
        rng = random.Random(7)
        zipf, order = Zipf(rng), list(range(FILES))
        nodes = [make(fs, f"f{index}") for index in range(FILES)]
        for node in nodes:
            await put(fs, node, bytes(FILE_BYTES))
        # The most used are the ones written last, which lie on the slow tier.
        order.reverse()
        await rig.runtime.sleep(8 * 3600)
        fs.reset_tier_statistics()
        await read_some(fs, nodes, zipf, order, 3000)
        before = fs.tier_status().hit_rate
        for _ in range(4):
            await read_some(fs, nodes, zipf, order, 3000)
            await fs.optimize_tiers()
        fs.reset_tier_statistics()
        await read_some(fs, nodes, zipf, order, 5000)
        after = fs.tier_status().hit_rate
        assert before < 0.3 and after > 0.8, (before, after)
        hot = [nodes[number] for number in order[:20]]
        assert all(bytes_on(fs, node, Tier.FAST) == FILE_BYTES for node in hot)
        assert fs.hottest_files(1)[0].path == f"\\f{order[0]}"
        # Others become the hot ones.
        order.reverse()
        for _ in range(12):
            await rig.runtime.sleep(3600)
            await read_some(fs, nodes, zipf, order, 2000)
            await fs.optimize_tiers()
        fs.reset_tier_statistics()
        await read_some(fs, nodes, zipf, order, 3000)
        assert fs.tier_status().hit_rate > 0.8
        cooled = sum(bytes_on(fs, node, Tier.SLOW) for node in hot)
        assert cooled > 0.8 * len(hot) * FILE_BYTES, cooled
        assert fs.tier_status().moved_down_bytes > 0

    tiered(body, fast_bytes=8 * MIB, slow_bytes=32 * MIB)


def test_the_background_task_makes_passes_within_its_rate():
    """docs/design-spaces.md, Tiers: moves in the background under a bandwidth limit."""

    async def body(fs, rig):
        fs.set_tier_settings(TierSettings(rate_bytes_s=10_000, pass_s=60.0))
        node = make(fs, "f")
        await fs.pin(node, Tier.SLOW)
        await put(fs, node, b"x" * (4 * MIB))
        await fs.unpin(node)
        into = memoryview(bytearray(MIB))
        moved, begun = 0, rig.runtime.now()
        while bytes_on(fs, node, Tier.FAST) < 4 * MIB:
            assert rig.runtime.now() < begun + 3600
            for at in range(4):
                fs.read_now(node.data, at * MIB, into)
            await rig.runtime.sleep(60)
            assert fs.tier_status().moved_up_bytes - moved <= 10_000 * 60 + MIB
            moved = fs.tier_status().moved_up_bytes
        assert rig.runtime.now() - begun >= 4 * MIB / 10_000
        assert fs.tier_status().passes >= 1
        await fs.close()
        again = await rig.open()
        assert again.tier_settings == TierSettings(rate_bytes_s=10_000, pass_s=60.0)
        await again.close()

    tiered(body)


def test_heat_is_found_again_and_older():
    """docs/design-spaces.md, Tiers: heat is saved in the catalog and loaded again."""

    async def body(fs, rig):
        node = make(fs, "f")
        await put(fs, node, b"x" * MIB)
        heat = fs.hottest_files(1)[0].heat_bytes
        assert heat == pytest.approx(MIB, rel=0.01)
        await fs.close()
        await rig.runtime.sleep(3600)
        again = await rig.open()
        assert again.hottest_files(1)[0].heat_bytes == pytest.approx(heat / 2, rel=0.01)
        await again.close()

    tiered(body)


def test_reads_and_writes_are_counted_where_they_happen():
    """storage/fs/placement.py: the tally of the tier the bytes lie on, in operations and bytes."""

    async def body(fs, rig):
        fast, slow = make(fs, "fast"), make(fs, "slow")
        await fs.pin(slow, Tier.SLOW)
        await put(fs, fast, b"x" * MIB)
        await put(fs, slow, b"x" * MIB)
        fs.reset_tier_statistics()
        for _ in range(3):
            fs.read_now(fast.data, 5, memoryview(bytearray(1000)))
        await fs.read(slow.data, 0, memoryview(bytearray(2000)))
        await put(fs, slow, b"y" * 500, 100)
        usage = {tier.tier: tier for tier in fs.tier_status().tiers}
        counts = [(u.reads, u.read_bytes, u.writes, u.write_bytes) for u in (usage[0], usage[1])]
        assert counts == [(3, 3000, 0, 0), (1, 2000, 1, 500)]
        assert fs.tier_status().hit_rate == 0.6

    tiered(body)


def test_a_disk_that_fails_under_a_background_move_does_not_end_the_volume():
    """storage/fs/mover.py: it is this piece that cannot be written; others go on."""

    async def body(fs, rig):
        fs.set_tier_settings(TierSettings(pass_s=60.0))
        node = make(fs, "f")
        await fs.pin(node, Tier.SLOW)
        await put(fs, node, b"x" * (2 * MIB))
        await fs.sync()
        fs._pins[node.id] = Tier.FAST
        fast = rig.parts[Tier.FAST]
        write, fast._write = fast._write, failing
        await rig.runtime.sleep(200)
        assert fs.tier_status().passes >= 2 and fs.tier_status().failed_pieces >= 4
        assert bytes_on(fs, node, Tier.FAST) == 0
        fast._write = write
        await rig.runtime.sleep(200)
        assert bytes_on(fs, node, Tier.SLOW) == 0 and await get(fs, node) == b"x" * (2 * MIB)

    def failing(*arguments):
        raise DiskFailed("the disk does not answer")

    tiered(body)


def test_a_volume_that_has_failed_still_closes():
    """storage/fs/drain.py: a drain that fails ends the file system; closing it says why and lets go."""
    runtime = InlineRuntime()

    async def main():
        rig = Rig(runtime, 4 * MIB, 4 * MIB)
        fs = await rig.format()
        await put(fs, make(fs, "f"), b"x" * MIB)
        rig.power.left = 0
        with pytest.raises(DiskFailed):
            await fs.sync()
        with pytest.raises(DiskFailed):
            await fs.close()
        assert fs._closed

    run_to_end(runtime, main())
