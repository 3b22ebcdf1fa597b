"""Clusters moved under files in use: random operations against the model, tasks at once, power cuts."""

import random

import pytest

from storage.errors import StorageError, VolumeFull
from storage.fs.check import check_catalog
from storage.fs.mover import Piece, cut_pieces, merged
from storage.fs.thin import rows_to_empty
from storage.tier.space import Tier
from tests.sim.runtime import InlineRuntime
from tests.storage.fs.model import check_recovered, run_to_end
from tests.storage.fs.test_concurrency import CLUSTER, Crowd
from tests.storage.fs.test_crash import adopt
from tests.storage.fs.tiered import MIB, Rig, TierScript, bytes_on, get, make, put, tiered

FAST_BYTES, SLOW_BYTES = 3 * MIB, 9 * MIB


@pytest.mark.parametrize("seed", range(5))
def test_random_operations_with_movers_agree_with_the_model(seed):
    """storage/fs/mover.py: whatever is moved, every file has the bytes it had; the catalog stays
    consistent."""
    rng = random.Random(seed)
    runtime = InlineRuntime(rng=rng)

    async def main():
        rig = Rig(runtime, FAST_BYTES, SLOW_BYTES)
        if seed % 2:
            rig.slow(rng)
        fs = await rig.format()
        for part in rig.parts.values():
            part.row_bytes = 4 * CLUSTER
        script = TierScript(rng, fs)
        for _ in range(3):
            for _ in range(50):
                await script.step()
            await script.compare()
            for file in script.files():
                if file.links:
                    result = await fs.pin(file.node, Tier.SLOW)
                    assert result.left_bytes == bytes_on(fs, file.node, Tier.FAST)
            await script.compare()
            for file in script.held:
                fs.drop(file.node)
            script.held = []
            await fs.close()
            assert await rig.problems() == []
            fs = script.fs = await rig.open()
            script.refresh()
            await script.compare()
        await fs.close()

    run_to_end(runtime, main())


@pytest.mark.parametrize("seed", range(6))
def test_after_a_power_cut_while_moving_every_file_is_as_it_was_since_the_last_flush(seed):
    """storage/fs/mover.py: durability is that of any write; after a power cut every file has the same bytes,
    here or there."""
    rng = random.Random(2000 + seed)
    runtime = InlineRuntime(rng=rng)
    rigs = []
    scripts = []

    async def begin():
        rigs.append(Rig(runtime, FAST_BYTES, SLOW_BYTES))
        await (await rigs[0].format()).close()

    async def life():
        rig = rigs[-1]
        fs = await rig.open()
        assert await rig.problems() == []
        if scripts:
            await check_recovered(scripts[-1], fs)
        script = TierScript(rng, fs)
        await adopt(script, fs)
        scripts.append(script)
        rig.power.left = rng.randrange(1, 150)
        try:
            for _ in range(300):
                try:
                    await script.step()
                finally:
                    script.photograph()
        except StorageError:
            assert rig.power.is_off

    run_to_end(runtime, begin())
    for _ in range(4):
        rig = rigs[-1]
        rig.power.left, rig.power.is_off = None, False
        for space in rig.spaces:
            space.keeps_versions = True
        if seed % 2:
            rig.slow(rng)
        run_to_end(runtime, life())
        runtime = InlineRuntime(rng=rng)
        rigs.append(rig.power_cut(rng, runtime))


def test_a_power_cut_at_any_write_of_a_move_leaves_the_file_whole():
    """storage/fs/mover.py: after a power cut every file has the same bytes, here or there; shared clusters
    too."""
    rng = random.Random(5)
    contents = {name: rng.randbytes(CLUSTER + 5000) for name in "abc"}
    left, is_over = 0, False
    while not is_over:
        left += 1
        runtime = InlineRuntime()
        rig = Rig(runtime, MIB, 2 * MIB)
        for part in rig.parts.values():
            part.row_bytes = 4 * CLUSTER
        run_to_end(runtime, filled(rig, contents))
        for space in rig.spaces:
            space.keeps_versions = True
        runtime = InlineRuntime()
        rig = rig.power_cut(rng, runtime)  # nothing is lost: it was closed
        rig.power.left = left
        done = []
        run_to_end(runtime, moves(rig, done))
        is_over = bool(done)
        for _ in range(2):
            runtime = InlineRuntime()
            found = rig.power_cut(rng, runtime)
            run_to_end(runtime, whole(found, contents))
    assert left > 8


async def filled(rig, contents):
    fs = await rig.format()
    for name, data in contents.items():
        await put(fs, make(fs, name), data)
    source = fs.lookup(fs.root(), "a").node
    fs.unlink(fs.root(), "b")
    target = make(fs, "b")
    assert await fs.clone(source.data, 0, target.data, 0, source.data.size_bytes)
    contents["b"] = contents["a"]
    await fs.close()


async def moves(rig, done):
    """Everything that moves clusters, until the power is gone."""
    try:
        fs = await rig.open()
        a, c = (fs.lookup(fs.root(), name).node for name in "ac")
        await fs.pin(a, Tier.SLOW)
        await fs.pin(c, Tier.SLOW)
        await fs.unpin(c)
        await fs.pin(a, Tier.FAST)
        await fs.consolidate()
        await fs.retrim()
        await fs.close()
        done.append(True)
    except StorageError:
        assert rig.power.is_off


async def whole(rig, contents):
    assert await rig.problems() == []
    fs = await rig.open()
    for name, data in contents.items():
        assert await get(fs, fs.lookup(fs.root(), name).node) == data
    await fs.close()
    assert await rig.problems() == []


class MovedCrowd(Crowd):
    """The crowd of test_concurrency.py, with movers among it."""

    async def step(self, node, index):
        what = self.rng.random()
        if what < 0.15:
            await self.fs.pin(node, self.rng.choice((Tier.FAST, Tier.SLOW)))
        elif what < 0.2:
            await self.fs.optimize_tiers()
        elif what < 0.25:
            await self.fs.consolidate()
        elif what < 0.28:
            await self.fs.retrim()
        elif what < 0.36:
            length = min(3 * CLUSTER, node.data.size_bytes)
            await self.fs.clone(node.data, 0, node.data, 12 * CLUSTER, length)
        else:
            await super().step(node, index)


@pytest.mark.parametrize("seed", range(6))
def test_movers_among_tasks_never_mix_files_and_leave_a_sound_catalog(seed):
    """storage/fs/mover.py: copies, writes, truncations, clones, deletions and movers that wait at the same
    time; half of the seeds end in a power cut."""
    rng = random.Random(seed)
    runtime = InlineRuntime(rng=rng)

    async def main():
        rig = Rig(runtime, rng.choice((1, 4)) * MIB, rng.choice((2, 12)) * MIB)
        fs = await rig.format()
        rig.slow(rng)
        for space in rig.spaces:
            space.keeps_versions = True
        for part in rig.parts.values():
            part.row_bytes = 4 * CLUSTER
        if seed % 2:
            rig.power.left = rng.randrange(20, 400)
        crowd = MovedCrowd(fs, rng)
        for _ in range(4):
            runtime.spawn(crowd.task, "task")
        await runtime.sleep(0.01)
        while crowd.running:
            await runtime.sleep(0.01)
        if crowd.stopped:
            assert rig.power.is_off
            rig = rig.power_cut(rng, runtime)
        else:
            rig.power.left = None
            await crowd.compare(fs)
            await fs.close()
        assert await rig.problems() == []
        again = await rig.open()
        await crowd.compare(again)
        await again.close()
        assert await rig.problems() == []

    run_to_end(runtime, main())


# one move, and what comes between ------------------------------------------------------------------


def interrupted(between, seed=None):
    """Move a file down; `between` runs while its first piece is being copied."""

    async def body(fs, rig):
        node = make(fs, "f")
        await put(fs, node, b"a" * MIB)
        fs.hold(node)
        slow = rig.parts[Tier.SLOW]
        done = []
        write_now, copying = slow.write_now, slow.write

        async def write(offset, data, fresh=False):
            if not done:
                done.append(True)
                await between(fs, node)
            await copying(offset, data, fresh)

        slow.write_now = lambda offset, data, fresh=False: bool(done) and write_now(offset, data, fresh)
        slow.write = write
        result = await fs.pin(node, Tier.SLOW)
        assert done
        fs.result = result
        await check(fs, node)
        fs.drop(node)

    async def check(fs, node):
        assert await get(fs, node) == fs.expected
        assert bytes_on(fs, node, Tier.FAST) == 0
        assert fs._allocator.used == -(-len(fs.expected) // CLUSTER)

    return tiered(body)


def test_a_range_written_while_it_is_moved_is_tried_again():
    """docs/design-spaces.md, Tiers: a range written while it is moved is tried again."""

    async def between(fs, node):
        assert fs.write_now(node.data, 100, memoryview(b"new"))
        fs.expected = b"a" * 100 + b"new" + b"a" * (MIB - 103)

    interrupted(between)


def test_a_truncation_while_it_is_moved_wins():
    """storage/fs/mover.py: nothing changed since? no: give the new ones back."""

    async def between(fs, node):
        await fs.set_size(node.data, 3 * CLUSTER + 5)
        fs.expected = b"a" * (3 * CLUSTER + 5)

    interrupted(between)


def test_a_clone_made_while_it_is_moved_moves_along_or_not_at_all():
    """storage/fs/mover.py: what changed is seen by the count of references, too."""

    async def between(fs, node):
        target = make(fs, "t")
        assert await fs.clone(node.data, 0, target.data, 0, MIB)
        fs.expected = b"a" * MIB

    interrupted(between)


def test_a_deletion_while_it_is_moved_frees_old_and_new():
    """storage/fs/mover.py: what was copied for nobody is given back."""

    async def body(fs, rig):
        node = make(fs, "f")
        await put(fs, node, b"a" * MIB)
        slow = rig.parts[Tier.SLOW]
        copying = slow.write

        async def write(offset, data, fresh=False):
            if fs.lookup(fs.root(), "f") is not None:
                fs.unlink(fs.root(), "f")
            await copying(offset, data, fresh)

        slow.write_now = lambda *_, **__: False
        slow.write = write
        await fs.pin(node, Tier.SLOW)
        await fs.sync()
        while fs._releasing:
            await rig.runtime.sleep(0.1)
        assert fs._allocator.free() == fs._allocator.clusters

    tiered(body)


def test_a_writer_waits_for_one_piece_at_most():
    """docs/design-spaces.md, Tiers: never holds a write back longer than one 1 MiB copy."""

    async def body(fs, rig):
        node = make(fs, "f")
        await put(fs, node, b"a" * (6 * MIB))
        fs.hold(node)
        slow = rig.parts[Tier.SLOW]
        copying, state = slow.write, {"writes": 0, "left": True}

        async def write(offset, data, fresh=False):
            await rig.runtime.sleep(0.1)
            await copying(offset, data, fresh)

        async def writer():
            while state["left"]:
                begun = rig.runtime.now()
                if not fs.write_now(node.data, state["writes"] % (6 * MIB), memoryview(b"b")):
                    await fs.write(node.data, state["writes"] % (6 * MIB), memoryview(b"b"))
                assert rig.runtime.now() - begun < 0.35
                state["writes"] += 1
                await rig.runtime.sleep(0.01)

        slow.write_now, slow.write = (lambda *_, **__: False), write
        rig.runtime.spawn(writer, "writer")
        await fs.pin(node, Tier.SLOW)
        state["left"] = False
        await rig.runtime.sleep(1)
        assert bytes_on(fs, node, Tier.FAST) == 0
        count = min(state["writes"], 6 * MIB)
        assert count > 20 and await get(fs, node) == b"b" * count + b"a" * (6 * MIB - count)
        fs.drop(node)

    tiered(body)


@pytest.mark.parametrize("how", ["optimize", "pin", "consolidate", "retrim"])
def test_closing_stops_a_move_between_two_pieces(how):
    """storage/fs/mover.py: no piece is under way when the volume is closed, and the volume is sound."""

    async def body(fs, rig):
        node = make(fs, "f")
        await put(fs, node, b"a" * (6 * MIB))
        results = []

        async def pace(length):
            await rig.runtime.sleep(1)

        async def move():
            if how == "optimize":
                results.append(await fs.optimize_tiers(pace=pace))
            elif how == "pin":
                results.append(await fs.pin(node, Tier.SLOW, pace))
            elif how == "consolidate":
                results.append(await fs.consolidate(pace))
            else:
                results.append(await fs.retrim(pace))

        await fs.pin(node, Tier.FAST)
        fs._pins[node.id] = Tier.SLOW
        for part in rig.parts.values():
            part.row_bytes = 4 * MIB
        rig.runtime.spawn(move, "move")
        await rig.runtime.sleep(2.5)
        await fs.close()
        while not results:
            await rig.runtime.sleep(1)
        if how == "retrim":
            assert 0 < results[0] <= 34 * MIB
        elif how == "consolidate":
            assert results[0].moved_bytes < 6 * MIB
        else:
            assert results[0].is_stopped and 0 < results[0].moved_bytes < 6 * MIB
        again = await rig.open()
        node = again.lookup(again.root(), "f").node
        assert await get(again, node) == b"a" * (6 * MIB)
        await again.close()

    tiered(body)


# thin -----------------------------------------------------------------------------------------------


def plain(body, data_bytes, row_bytes):
    """A volume on one thin space with rows."""
    from storage.fs.catalog import CatalogFileSystem
    from tests.suites.memoryspace import MemorySpace

    runtime = InlineRuntime()

    async def main():
        metadata, data = MemorySpace(8 * MIB, runtime), MemorySpace(data_bytes, runtime)
        data.row_bytes = row_bytes
        data.available_bytes = data_bytes
        fs = await CatalogFileSystem.format(metadata, data, runtime)
        await body(fs, data)
        await fs.close()
        assert (await check_catalog(metadata, data, runtime)).problems == []

    run_to_end(runtime, main())


def rows_in_use(data):
    return {cluster * CLUSTER // data.row_bytes for cluster in data._allocated}


def test_consolidation_empties_sparse_rows_and_gives_them_back():
    """docs/design-spaces.md, Tiers: sparse slabs are emptied by moves and trimmed (`consolidate`)."""

    async def body(fs, data):
        nodes = [make(fs, f"f{index}") for index in range(64)]
        for index, node in enumerate(nodes):
            await put(fs, node, bytes([index]) * (4 * CLUSTER))
        for index in range(64):
            if index % 4:
                fs.unlink(fs.root(), f"f{index}")
        await fs.sync()
        while fs._releasing:
            await fs._released.wait()
        assert len(rows_in_use(data)) == 8
        paced = []

        async def pace(length):
            paced.append(length)

        result = await fs.consolidate(pace)
        assert len(rows_in_use(data)) == 2 and result.moved_bytes == sum(paced)
        for index, node in enumerate(nodes[::4]):
            assert await get(fs, node) == bytes([4 * index]) * (4 * CLUSTER)
        assert (await fs.consolidate()).moved_bytes == 0

    plain(body, 16 * MIB, 2 * MIB)


def test_retrim_tells_of_every_free_cluster():
    """storage/fs/thin.py, retrim: also of shorter runs and of those whose trim was lost."""

    async def body(fs, data):
        nodes = [make(fs, f"f{index}") for index in range(40)]
        for node in nodes:
            await put(fs, node, b"x" * CLUSTER)
        for index in range(0, 40, 2):
            fs.unlink(fs.root(), f"f{index}")
        await fs.sync()
        while fs._releasing:
            await fs._released.wait()
        assert len(data._allocated) == 40
        assert await fs.retrim() == 16 * MIB - 20 * CLUSTER
        assert len(data._allocated) == 20
        for node in nodes[1::2]:
            assert await get(fs, node) == b"x" * CLUSTER

    plain(body, 16 * MIB, 2 * MIB)


@pytest.mark.parametrize("how", ["delete", "trim", "zero", "zero a sparse one", "truncate", "allocation"])
def test_what_files_give_up_goes_back_to_the_pool(how):
    """The requirement: deletes, FSCTL_FILE_LEVEL_TRIM, SET_ZERO_DATA and truncation give slabs back."""

    async def body(fs, data):
        node = make(fs, "f", attributes=0x220 if "sparse" in how else 0x20)
        await put(fs, node, b"x" * (8 * MIB))
        before = data.available_bytes
        if how == "delete":
            fs.unlink(fs.root(), "f")
        elif how == "trim":
            await fs.trim(node.data, 0, 8 * MIB)
        elif how.startswith("zero"):
            await fs.zero(node.data, 0, 8 * MIB)
        elif how == "truncate":
            await fs.set_size(node.data, 0)
        else:
            await fs.set_allocation(node.data, 0)
        await fs.sync()
        while fs._releasing:
            await fs._released.wait()
        assert data.available_bytes == before + 8 * MIB
        if how == "zero":
            assert node.data.allocated_bytes == 8 * MIB == fs._allocator.used * CLUSTER
            assert await get(fs, node) == bytes(8 * MIB)
            await put(fs, node, b"y", 5 * MIB)
            assert await get(fs, node) == bytes(5 * MIB) + b"y" + bytes(3 * MIB - 1)

    plain(body, 16 * MIB, 2 * MIB)


def test_zeros_over_a_file_that_fills_the_volume_stay_in_place():
    """storage/fs/ranges.py, _exchange: the same clusters if there are no others."""

    async def body(fs, data):
        node = make(fs, "f")
        await put(fs, node, b"x" * (4 * MIB))
        await fs.zero(node.data, 0, 4 * MIB)
        assert await get(fs, node) == bytes(4 * MIB) and node.data.allocated_bytes == 4 * MIB

    plain(body, 4 * MIB, MIB)


def test_a_writer_gets_the_clusters_that_are_being_trimmed():
    """storage/fs/thin.py: nobody gets clusters while they are trimmed, but who needs them waits."""

    async def body(fs, data):
        trimming, state = data.trim, {"inside": 0}

        async def trim(offset, length):
            state["inside"] += 1
            await fs._runtime.sleep(1)
            await trimming(offset, length)
            state["inside"] -= 1

        data.trim = trim
        fs._runtime.spawn(lambda: retrim(fs), "retrim")
        while not state["inside"]:
            await fs._runtime.sleep(0.1)
        node = make(fs, "f")
        await put(fs, node, b"x" * (3 * MIB))
        assert await get(fs, node) == b"x" * (3 * MIB)

    async def retrim(fs):
        await fs.retrim()

    plain(body, 4 * MIB, CLUSTER)


def test_a_pool_without_slabs_still_takes_what_fits_where_slabs_are():
    """storage/fs/placement.py: new clusters are looked for where others were before."""

    async def body(fs, data):
        data.available_bytes = 4 * MIB
        nodes = [make(fs, f"f{index}") for index in range(64)]
        for node in nodes:
            await put(fs, node, b"x" * CLUSTER)
        for index in range(0, 64, 4):
            fs.unlink(fs.root(), f"f{index}")
        await fs.sync()
        while fs._releasing:
            await fs._released.wait()
        assert data.available_bytes == 0
        more = make(fs, "more")
        await put(fs, more, b"y" * (10 * CLUSTER))
        await put(fs, more, b"z" * (6 * CLUSTER), 10 * CLUSTER)
        assert await get(fs, more) == b"y" * (10 * CLUSTER) + b"z" * (6 * CLUSTER)
        with pytest.raises(VolumeFull):
            await put(fs, more, b"z", 16 * CLUSTER)
        data.available_bytes = 4 * MIB
        await put(fs, more, b"z" * CLUSTER, 16 * CLUSTER)
        await fs._runtime.sleep(60)
        await put(fs, more, b"z" * CLUSTER, 17 * CLUSTER)
        assert not fs._allocator.is_packing

    plain(body, 64 * MIB, 2 * MIB)


# pure -----------------------------------------------------------------------------------------------


def test_pieces_have_the_same_owners_all_through():
    """storage/fs/mover.py, cut_pieces."""
    pieces = cut_pieces([(10, 50, 1, 0), (20, 30, 2, 5)])
    assert pieces == [
        Piece(10, 10, ((1, 0),)), Piece(20, 10, ((1, 10), (2, 5))), Piece(30, 16, ((1, 20),)),
        Piece(46, 4, ((1, 36),)),
    ]  # fmt: skip
    assert merged([(5, 9), (1, 3), (2, 6), (9, 10), (20, 21)]) == [(1, 10), (20, 21)]


@pytest.mark.parametrize("seed", range(30))
def test_rows_to_empty_fit_into_the_others(seed):
    """storage/fs/thin.py: rows half full at most into the fullest ones, which have room for all of it."""
    rng = random.Random(seed)
    used = [rng.choice((0, 1, 5, 9, rng.randrange(11), 10)) for _ in range(rng.randrange(12))]
    empty, full = rows_to_empty(used, 10)
    assert all(0 < used[row] <= 5 for row in empty)
    assert sorted(empty + full) == [row for row, count in enumerate(used) if count]
    assert sum(used[row] for row in empty) <= sum(10 - used[row] for row in full)
    assert [used[row] for row in full] == sorted((used[row] for row in full), reverse=True)


