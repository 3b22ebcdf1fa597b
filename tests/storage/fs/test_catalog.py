"""The catalog file system beside its contract: durability and its price, full volumes, large directories,
failures."""

import random

import pytest

from storage.errors import BlockCorrupt, CatalogCorrupt, DiskFailed, VolumeFull
from storage.fs import limits
from storage.fs.catalog import CatalogFileSystem
from storage.fs.check import check_catalog
from storage.fs.port import ExtendedAttribute
from tests.sim.runtime import InlineRuntime
from tests.storage.fs.model import run_to_end
from tests.suites.memoryspace import MemorySpace, Power

METADATA_BYTES = 16 << 20
CLUSTER = limits.CLUSTER_BYTES


def volume(body, *, metadata_bytes=METADATA_BYTES, data_bytes=16 << 20, seed=None, sound=True):
    """Run `body(fs, metadata, data, runtime)` on a new volume; afterwards its catalog is consistent."""
    runtime = InlineRuntime(rng=None if seed is None else random.Random(seed))

    async def main():
        power = Power()
        metadata, data = (MemorySpace(size, runtime, power) for size in (metadata_bytes, data_bytes))
        fs = await CatalogFileSystem.format(metadata, data, runtime, label="test", security=b"root")
        await body(fs, metadata, data, runtime)
        if sound:
            await fs.close()
            assert (await check_catalog(metadata, data, runtime)).problems == []

    run_to_end(runtime, main())


def make(fs, name, directory=None, **more):
    return fs.make(
        directory or fs.root(),
        name,
        **{"is_directory": False, "attributes": 0x20, "now": 7, "security": b"sd", **more},
    )


def put(fs, node, offset, data):
    return fs.write_now(node.data, offset, memoryview(data))


def get(fs, node, offset, length):
    into = memoryview(bytearray(b"\xee" * length))
    assert fs.read_now(node.data, offset, into)
    return bytes(into)


# durability ---------------------------------------------------------------------------------------


def test_those_who_flush_at_the_same_time_share_the_flushes():
    """storage/fs/drain.py: everybody who waits shares one drain (group commit)."""

    async def body(fs, metadata, data, runtime):
        nodes = [make(fs, f"file{i}") for i in range(50)]
        for node in nodes:
            put(fs, node, 0, b"x" * 1000)
        before = metadata.flushes, data.flushes
        done = []

        async def flush(node):
            await fs.flush(node)
            done.append(node)

        for node in nodes:
            runtime.spawn(lambda node=node: flush(node), "flush")
        while len(done) < len(nodes):
            await runtime.sleep(0.001)
        assert metadata.flushes - before[0] <= 4
        assert data.flushes - before[1] <= 2

    volume(body)


def test_a_flush_of_what_is_durable_touches_no_space():
    """Nothing changed since: nothing to wait for."""

    async def body(fs, metadata, data, runtime):
        node, other = make(fs, "a"), make(fs, "b")
        put(fs, node, 0, b"data")
        await fs.flush(node)
        fs.changed(other)
        counts = metadata.flushes, metadata.writes, data.flushes, data.writes
        await fs.flush(node)
        assert (metadata.flushes, metadata.writes, data.flushes, data.writes) == counts

    volume(body)


def test_an_overwrite_alone_costs_one_data_flush_and_no_metadata():
    """Bytes written in place change no metadata; a flush makes them durable."""

    async def body(fs, metadata, data, runtime):
        node = make(fs, "a")
        put(fs, node, 0, b"data" * 1000)
        await fs.flush(node)
        counts = metadata.writes, data.flushes
        put(fs, node, 8, b"more")
        await fs.flush(node)
        assert (metadata.writes, data.flushes - 1) == counts

    volume(body)


def test_data_is_durable_before_the_metadata_that_shows_it():
    """storage/fs/port.py: never metadata that exposes bytes which were not written."""

    async def body(fs, metadata, data, runtime):
        order = []
        for space, name in ((metadata, "metadata"), (data, "data")):
            real = space.flush

            async def flush(real=real, name=name):
                order.append(name)
                await real()

            space.flush = flush
        node = make(fs, "a")
        put(fs, node, 0, b"data")
        await fs.flush(node)
        assert order[0] == "data" and set(order[1:]) == {"metadata"}

    volume(body)


def test_changes_become_durable_by_themselves():
    """storage/fs/port.py: or a short time later by itself."""

    async def body(fs, metadata, data, runtime):
        make(fs, "a")
        await runtime.sleep(limits.DRAIN_DELAY_S + 3 * limits.COMMIT_DELAY_S)
        again = await CatalogFileSystem.open(
            metadata.power_cut(random.Random(1), runtime), data.power_cut(random.Random(1), runtime), runtime
        )
        assert again.lookup(again.root(), "A") is not None
        await again.close()

    volume(body)


def test_a_node_that_lost_its_name_while_held_is_freed_by_the_next_mount():
    """storage/fs/port.py: A node without names lives on until the last drop; a crash frees it too."""

    async def body(fs, metadata, data, runtime):
        free = fs.usage().free_bytes
        node = make(fs, "a")
        fs.hold(node)
        put(fs, node, 0, bytes(5 * CLUSTER))
        fs.set_eas(node, [ExtendedAttribute(b"N", b"v")])
        fs.make_stream(node, "s")
        fs.unlink(fs.root(), "a")
        await fs.sync()
        rng = random.Random(3)
        spaces = metadata.power_cut(rng, runtime), data.power_cut(rng, runtime)
        again = await CatalogFileSystem.open(*spaces, runtime)
        assert again.node(node.id) is None
        assert again.usage().free_bytes == free
        await again.close()
        assert (await check_catalog(*spaces, runtime)).problems == []
        fs.drop(node)

    volume(body)


def test_ids_are_not_used_again_after_a_crash():
    """storage/fs/port.py: never reused for another file, even one whose file never became durable."""

    async def body(fs, metadata, data, runtime):
        lost = make(fs, "lost").id
        rng = random.Random(3)
        again = await CatalogFileSystem.open(
            metadata.power_cut(rng, runtime), data.power_cut(rng, runtime), runtime
        )
        assert again.lookup(again.root(), "lost") is None
        assert make(again, "other").id > lost
        await again.close()

    volume(body)


def test_freed_clusters_are_used_again_only_when_that_is_durable():
    """A crash may bring the file back that had them."""

    async def body(fs, metadata, data, runtime):
        old = make(fs, "old")
        put(fs, old, 0, b"o" * (100 * CLUSTER))
        await fs.sync()
        fs.unlink(fs.root(), "old")
        new = make(fs, "new")
        assert put(fs, new, 0, b"n" * (100 * CLUSTER))
        rng = random.Random(4)
        again = await CatalogFileSystem.open(
            metadata.power_cut(rng, runtime), data.power_cut(rng, runtime), runtime
        )
        found = again.lookup(again.root(), "old")
        assert found is not None
        assert get(again, found.node, 0, 100 * CLUSTER) == b"o" * (100 * CLUSTER)
        await again.close()

    volume(body)


def test_a_failed_flush_ends_the_file_system():
    """storage/disk.py: a flush that failed is never retried; every later change says so."""

    async def body(fs, metadata, data, runtime):
        node = make(fs, "a")
        put(fs, node, 0, b"data")
        metadata.power.left = 0
        with pytest.raises(DiskFailed):
            await fs.flush(node)
        metadata.power.left = None
        metadata.power.is_off = False
        with pytest.raises(DiskFailed):
            await fs.sync()
        with pytest.raises(DiskFailed):
            make(fs, "b")
        with pytest.raises(DiskFailed):
            await fs.write(node.data, 0, memoryview(b"x" * CLUSTER))
        with pytest.raises(DiskFailed):
            await fs.close()

    volume(body, sound=False)


# full ---------------------------------------------------------------------------------------------


def test_a_full_volume_says_so_changes_nothing_and_recovers():
    """storage/fs/port.py, write_now: Raises VolumeFull with nothing changed that a reader could see."""

    async def body(fs, metadata, data, runtime):
        free = fs.usage().free_bytes
        node, small = make(fs, "a"), make(fs, "small")
        put(fs, small, 0, b"small")
        put(fs, node, 0, b"a" * (free - 4 * CLUSTER))
        with pytest.raises(VolumeFull):
            put(fs, node, free - 4 * CLUSTER, b"b" * (8 * CLUSTER))
        with pytest.raises(VolumeFull):
            await fs.write(node.data, free - 4 * CLUSTER, memoryview(b"b" * (8 * CLUSTER)))
        with pytest.raises(VolumeFull):
            await fs.set_size(small.data, free)
        assert (node.data.size_bytes, small.data.size_bytes) == (free - 4 * CLUSTER, 5)
        assert get(fs, small, 0, 5) == b"small"
        fs.unlink(fs.root(), "a")
        big = b"c" * (free - 2 * CLUSTER)
        other = make(fs, "other")
        await fs.write(other.data, 0, memoryview(big))
        assert get(fs, other, 0, len(big)) == big

    volume(body)


def test_a_full_pool_is_a_full_volume_and_trim_lets_it_go_on():
    """A thin data space without slabs fails the write with VolumeFull; what is deleted is trimmed and can
    be used."""

    async def body(fs, metadata, data, runtime):
        fs.trim_bytes_min = CLUSTER
        data.available_bytes = 40 * CLUSTER
        assert fs.usage().free_bytes <= 40 * CLUSTER
        node = make(fs, "a")
        put(fs, node, 0, b"a" * (30 * CLUSTER))
        other = make(fs, "b")
        assert not put(fs, other, 0, b"b" * (20 * CLUSTER)), "`write` may find room where slabs are"
        assert other.data.size_bytes == other.data.allocated_bytes == 0
        with pytest.raises(VolumeFull):
            await fs.write(other.data, 0, memoryview(b"b" * (20 * CLUSTER)))
        assert get(fs, node, 0, CLUSTER) == b"a" * CLUSTER
        fs.unlink(fs.root(), "a")
        await fs.sync()
        while data.available_bytes < 20 * CLUSTER:
            await runtime.sleep(0.01)
        await fs.write(other.data, 0, memoryview(b"b" * (20 * CLUSTER)))
        assert get(fs, other, 0, 20 * CLUSTER) == b"b" * (20 * CLUSTER)

    volume(body)


def test_a_full_pool_takes_a_write_at_once_after_a_delete():
    """What is being freed is waited for, not refused: `rm old; cp new` works on a full thin pool too."""

    async def body(fs, metadata, data, runtime):
        fs.trim_bytes_min = CLUSTER
        data.available_bytes = 40 * CLUSTER
        put(fs, make(fs, "a"), 0, b"a" * (30 * CLUSTER))
        other = make(fs, "b")
        fs.unlink(fs.root(), "a")
        new = b"b" * (25 * CLUSTER)
        assert not fs.write_now(other.data, 0, memoryview(new)), "it has to wait"
        await fs.write(other.data, 0, memoryview(new))
        assert get(fs, other, 0, len(new)) == new

    volume(body)


def test_a_full_catalog_refuses_new_files_and_lets_them_be_deleted():
    """The metadata space has an end; what was accepted is committed, and deleting always works."""

    async def body(fs, metadata, data, runtime):
        names = []
        with pytest.raises(VolumeFull):
            for i in range(200_000):
                name = f"{i:06d}" + "n" * 200
                make(fs, name)
                names.append(name)
                if i % 500 == 0:
                    await fs.sync()
        await fs.sync()
        assert len(names) > 1000
        for name in names[: len(names) // 2]:
            fs.unlink(fs.root(), name)
        await fs.sync()
        make(fs, "fits")
        await fs.sync()

    volume(body, metadata_bytes=limits.METADATA_BYTES_MIN)


# memory -------------------------------------------------------------------------------------------


@pytest.fixture
def small_limits(monkeypatch):
    for name, value in (
        ("NODES_MAX", 400), ("NAMES_MAX", 500), ("DIRECTORY_NAMES_MAX", 300), ("DIRECTORY_LOAD_MAX", 100),
    ):  # fmt: skip
        monkeypatch.setattr(limits, name, value)


def test_a_large_directory_is_listed_in_pages_within_bounded_memory(small_limits):
    """Directory listing must not need all entries in memory; what is being changed meanwhile is seen."""

    async def body(fs, metadata, data, runtime):
        folder = make(fs, "folder", is_directory=True)
        fs.hold(folder)
        names = sorted(f"FILE{i:05d}" for i in range(5000))
        shuffled = list(names)
        random.Random(1).shuffle(shuffled)
        for name in shuffled:
            make(fs, name.lower(), folder)
        await runtime.sleep(1)
        assert len(fs._nodes) <= 401
        assert len(folder.private.names) <= 500
        found, after = [], None
        while page := fs.entries(folder, after, 100):
            found += [entry.name.upper() for entry in page]
            after = page[-1].name
            if len(found) == 1000:
                make(fs, "file02500x", folder)
                fs.unlink(folder, "file02600")
            await runtime.sleep(0.3)
            assert len(fs._nodes) <= 800
        assert found == sorted({*names, "FILE02500X"} - {"FILE02600"})
        assert fs.lookup(folder, "file02600") is None
        assert fs.lookup(folder, "FILE00017").node.links == 1
        assert not fs.is_empty(folder)
        fs.drop(folder)

    volume(body)


def test_a_held_node_is_never_forgotten(small_limits):
    """storage/fs/port.py: There is exactly one Node object per file while anyone holds it."""

    async def body(fs, metadata, data, runtime):
        held = make(fs, "held")
        fs.hold(held)
        held.state = "mine"
        for i in range(2000):
            make(fs, f"f{i}")
            if i % 300 == 0:
                await runtime.sleep(1)
        assert fs.lookup(fs.root(), "HELD").node is held
        assert fs.node(held.id) is held and held.state == "mine"
        fs.drop(held)

    volume(body)


# clusters -----------------------------------------------------------------------------------------


def test_a_small_file_costs_a_block_not_a_cluster():
    """A 1 KiB file must not cost a 64 KiB write."""

    async def body(fs, metadata, data, runtime):
        written = []
        real = data.write_now
        data.write_now = lambda offset, parts, fresh=False: (
            written.append(sum(map(len, parts))) or real(offset, parts, fresh)
        )
        put(fs, make(fs, "a"), 0, b"k" * 1024)
        assert sum(written) == limits.PAGE_BYTES

    volume(body)


def test_streams_that_grow_side_by_side_stay_in_few_runs():
    """Allocation in long runs, though writes of several streams come by turns; nothing is kept back after
    the drop."""

    async def body(fs, metadata, data, runtime):
        free = fs.usage().free_bytes
        nodes = [make(fs, f"n{i}") for i in range(4)]
        for node in nodes:
            fs.hold(node)
        for i in range(40):
            for node in nodes:
                put(fs, node, i * CLUSTER, bytes((i,)) * CLUSTER)
        for node in nodes:
            assert len(fs._extents(node.data)) <= 10
            assert get(fs, node, 39 * CLUSTER, CLUSTER) == bytes((39,)) * CLUSTER
            fs.drop(node)
        await fs.sync()
        assert fs.usage().free_bytes == free - 160 * CLUSTER
        assert fs._allocator.reserved == 0

    volume(body, data_bytes=64 << 20)


def test_times_that_do_not_fit_are_kept_as_the_latest():
    """FILETIME is unsigned; SQLite's integers are not."""

    async def body(fs, metadata, data, runtime):
        node = make(fs, "a")
        node.written = (1 << 64) - 1
        fs.changed(node)
        await fs.close()
        again = await CatalogFileSystem.open(metadata, data, runtime)
        assert again.lookup(again.root(), "a").node.written == (1 << 63) - 1
        await again.close()

    volume(body, sound=False)


def test_an_operation_that_waits_keeps_its_clusters_from_others():
    """A slow read of a file that is deleted meanwhile gets that file's bytes, never those of the next
    owner."""

    async def body(fs, metadata, data, runtime):
        node = make(fs, "a")
        put(fs, node, 0, b"a" * (200 * CLUSTER))
        await fs.sync()
        into = memoryview(bytearray(200 * CLUSTER))
        gate, real = runtime.event(), data.read

        async def slow(offset, part):
            await gate.wait()
            await real(offset, part)

        data.read = slow
        done = []

        async def reader():
            await fs.read(node.data, 0, into)
            done.append(True)

        runtime.spawn(reader, "reader")
        await runtime.sleep(0.01)
        fs.unlink(fs.root(), "a")
        await fs.sync()
        other = make(fs, "b")
        with pytest.raises(VolumeFull):
            put(fs, other, 0, b"b" * (240 * CLUSTER)) or fs._allocator.allocate(240)
        gate.set()
        while not done:
            await runtime.sleep(0.01)
        assert bytes(into) == b"a" * (200 * CLUSTER)
        await fs.write(other.data, 0, memoryview(b"b" * (240 * CLUSTER)))
        assert get(fs, other, 239 * CLUSTER, CLUSTER) == b"b" * CLUSTER

    volume(body)


def test_a_grown_data_space_is_used():
    """A data space that was extended gives its new clusters, also where the last group was full."""

    async def body(fs, metadata, data, runtime):
        node = make(fs, "a")
        put(fs, node, 0, b"a" * fs.usage().free_bytes)
        await fs.close()
        larger = MemorySpace(data.size_bytes + (40 << 20), runtime)
        larger._bytes[: data.size_bytes] = data._bytes
        again = await CatalogFileSystem.open(metadata, larger, runtime)
        assert again.usage().free_bytes == 40 << 20
        found = again.lookup(again.root(), "a").node
        put(again, found, found.data.size_bytes, b"b" * (30 << 20))
        await again.close()
        assert (await check_catalog(metadata, larger, runtime)).problems == []
        with pytest.raises(CatalogCorrupt):
            await CatalogFileSystem.open(metadata, data, runtime)

    volume(body, sound=False)


def test_a_bad_block_under_the_catalog_is_a_typed_error_and_no_more():
    """storage/errors.py: A caller never gets wrong bytes in place of one of these; what can be read is
    still read."""

    async def body(fs, metadata, data, runtime):
        for i in range(2000):
            make(fs, f"file{i}")
        await fs.close()
        again = await CatalogFileSystem.open(metadata, data, runtime)
        again.root()

        def broken(offset, into):
            raise BlockCorrupt(f"no copy of the block at {offset} passed its checksum")

        metadata.read_now, real = broken, metadata.read_now
        with pytest.raises(BlockCorrupt):
            again.lookup(again.root(), "file1000")
        metadata.read_now = real
        assert again.lookup(again.root(), "file1000") is not None
        make(again, "more")
        await again.close()

    volume(body, sound=False)


def test_a_bad_block_inside_a_transaction_ends_the_file_system():
    """SQLite may roll back what was written out: nothing may be acknowledged after that."""

    async def body(fs, metadata, data, runtime):
        for i in range(3000):
            make(fs, f"file{i}")
        await fs.close()
        again = await CatalogFileSystem.open(metadata, data, runtime)
        for i in range(20):
            make(again, f"new{i * 7919}")

        def broken(offset, into):
            raise BlockCorrupt(f"no copy of the block at {offset} passed its checksum")

        metadata.read_now = broken
        with pytest.raises(BlockCorrupt):
            await again.sync()
        with pytest.raises(BlockCorrupt):
            make(again, "more")
        with pytest.raises(BlockCorrupt):
            await again.close()

    volume(body, sound=False)


def test_a_label_is_kept():
    """The label can be changed; serial, time of creation and volume id never do."""

    async def body(fs, metadata, data, runtime):
        before = fs.identity
        fs.set_label("other")
        await fs.close()
        again = await CatalogFileSystem.open(metadata, data, runtime)
        after = again.identity
        assert (before.label, after.label) == ("test", "other")
        assert (after.serial, after.created, after.object_id) == (
            before.serial,
            before.created,
            before.object_id,
        )
        await again.close()

    volume(body, sound=False)
