"""Owners are charged for what their files are allocated; enforced limits are kept; catalogs without quotas
get them."""

import gzip
import random
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import QuotaExceeded
from storage.fs import schema
from storage.fs.catalog import CatalogFileSystem, load_overlay, write_queue
from storage.fs.check import check_catalog
from storage.fs.port import QuotaControl, QuotaRecord
from storage.fs.quotas import ADMINISTRATORS, ENFORCE, TRACK, owner_of
from storage.fs.vfs import SpaceVfs
from tests.sim.runtime import InlineRuntime
from tests.storage.fs.model import run_to_end
from tests.suites.memoryspace import MemorySpace

VECTORS = Path(__file__).parents[2] / "vectors"
CLUSTER = 65536
FILE = 0x20


def sid(rid: int) -> bytes:
    return bytes([1, 5]) + (5).to_bytes(6, "big") + struct.pack("<5I", 21, 1, 2, 3, rid)


def owned_by(owner: bytes) -> bytes:
    return struct.pack("<BBHIIII", 1, 0, 0x8000, 20, 0, 0, 0) + owner


ANA, BOB = sid(1000), sid(1001)


def spaces(runtime):
    return MemorySpace(8 << 20, runtime), MemorySpace(16 << 20, runtime)


def run(main):
    runtime = InlineRuntime()
    run_to_end(runtime, main(runtime))


def used(fs, owner):
    found = fs.quotas.record(owner)
    return 0 if found is None else found.used_bytes


def make(fs, name, owner=ANA):
    return fs.make(fs.root(), name, is_directory=False, attributes=FILE, now=1, security=owned_by(owner))


def test_the_owner_is_found_in_a_descriptor_and_a_broken_one_has_none():
    assert owner_of(owned_by(ANA)) == ANA
    for broken in (b"", owned_by(ANA)[:-1], bytes(20), owned_by(ANA)[:24]):
        assert owner_of(broken) is None


def test_files_are_charged_to_their_owner_and_given_back():
    async def main(runtime):
        fs = await CatalogFileSystem.format(*spaces(runtime), runtime)
        one, two = make(fs, "one"), make(fs, "two", BOB)
        assert fs.write_now(one.data, 0, memoryview(bytes(CLUSTER + 1)))
        assert fs.write_now(two.data, 0, memoryview(b"x"))
        assert fs.write_now(fs.make_stream(one, "s"), 0, memoryview(b"x"))
        assert (used(fs, ANA), used(fs, BOB)) == (3 * CLUSTER, CLUSTER)
        await fs.clone(one.data, 0, two.data, 0, CLUSTER)
        assert used(fs, BOB) == CLUSTER  # it had a cluster there
        fs.set_security(one, owned_by(BOB))
        assert (used(fs, ANA), used(fs, BOB)) == (0, 4 * CLUSTER)
        await fs.set_size(one.data, 1)
        fs.remove_stream(fs.stream(one, "S"))
        assert used(fs, BOB) == 2 * CLUSTER
        fs.unlink(fs.root(), "one")
        fs.unlink(fs.root(), "two")
        assert used(fs, BOB) == 0
        await fs.close()

    run(main)


def test_an_enforced_limit_refuses_growth_and_nothing_else():
    async def main(runtime):
        fs = await CatalogFileSystem.format(*spaces(runtime), runtime)
        fs.quotas.set_control(QuotaControl(TRACK | ENFORCE, -1, 2 * CLUSTER))
        file = make(fs, "f")
        assert fs.write_now(file.data, 0, memoryview(bytes(2 * CLUSTER)))
        with pytest.raises(QuotaExceeded):
            fs.write_now(file.data, 2 * CLUSTER, memoryview(b"x"))
        with pytest.raises(QuotaExceeded):
            await fs.write(file.data, 2 * CLUSTER, memoryview(b"x"))
        with pytest.raises(QuotaExceeded):
            await fs.set_allocation(file.data, 3 * CLUSTER)
        with pytest.raises(QuotaExceeded):
            await fs.set_size(file.data, 3 * CLUSTER)
        other = make(fs, "g")
        with pytest.raises(QuotaExceeded):
            await fs.clone(file.data, 0, other.data, 0, CLUSTER)
        assert fs.write_now(file.data, 5, memoryview(b"in place"))
        assert (file.data.size_bytes, other.data.size_bytes, used(fs, ANA)) == (2 * CLUSTER, 0, 2 * CLUSTER)
        with pytest.raises(QuotaExceeded):
            fs.set_security(make_large(fs, BOB), owned_by(ANA))
        fs.quotas.set_limits(ANA, -1, 3 * CLUSTER, 7)
        await fs.write(file.data, 2 * CLUSTER, memoryview(b"x"))
        assert used(fs, ANA) == 3 * CLUSTER
        await fs.close()

    def make_large(fs, owner):
        node = make(fs, "large", owner)
        assert fs.write_now(node.data, 0, memoryview(bytes(CLUSTER)))
        return node

    run(main)


def test_two_writes_under_way_cannot_both_take_the_last_of_a_quota():
    async def main(runtime):
        metadata, data = spaces(runtime)
        fs = await CatalogFileSystem.format(metadata, data, runtime)
        fs.quotas.set_control(QuotaControl(ENFORCE, -1, CLUSTER))
        data.slow(random.Random(3))
        outcomes = []

        async def write(name):
            try:
                await fs.write(make(fs, name).data, 0, memoryview(b"x"))
                outcomes.append("done")
            except QuotaExceeded:
                outcomes.append("refused")

        runtime.spawn(lambda: write("a"), "a")
        runtime.spawn(lambda: write("b"), "b")
        while len(outcomes) < 2:
            await runtime.sleep(0.01)
        assert sorted(outcomes) == ["done", "refused"]
        assert used(fs, ANA) == CLUSTER
        data._slow = None
        await fs.close()

    run(main)


def test_administrators_have_no_limit():
    """[MS-FSA] 2.1.5.22: "A quota limit cannot be specified on the administrators account"."""

    async def main(runtime):
        fs = await CatalogFileSystem.format(*spaces(runtime), runtime)
        fs.quotas.set_control(QuotaControl(ENFORCE, -1, 0))
        assert fs.write_now(make(fs, "f", ADMINISTRATORS).data, 0, memoryview(b"x"))
        assert fs.quotas.record(ADMINISTRATORS) == QuotaRecord(ADMINISTRATORS, CLUSTER, -1, -1, 0)
        await fs.close()

    run(main)


def test_limits_and_charges_are_there_after_a_remount():
    async def main(runtime):
        metadata, data = spaces(runtime)
        fs = await CatalogFileSystem.format(metadata, data, runtime)
        fs.quotas.set_control(QuotaControl(TRACK | ENFORCE | 0x300, 5, 1 << 40))
        fs.quotas.set_limits(BOB, 3, 4, 99)
        fs.quotas.set_limits(sid(7), 3, 4, 99)
        assert fs.write_now(make(fs, "f").data, 0, memoryview(b"x"))
        await fs.sync()
        assert fs.quotas.forget(sid(7)) and not fs.quotas.forget(sid(8))
        assert fs.quotas.forget(ANA)
        before = fs.quotas.records()
        assert before == [QuotaRecord(ANA, CLUSTER, 5, 1 << 40, 0), QuotaRecord(BOB, 0, 3, 4, 99)]
        await fs.close()
        again = await CatalogFileSystem.open(metadata, data, runtime)
        assert again.quotas.records() == before
        assert again.quotas.control == QuotaControl(TRACK | ENFORCE, 5, 1 << 40)
        await again.close()

    run(main)


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(
            ["write", "size", "allocate", "clone", "owner", "stream", "delete", "trim", "sparse"]
        ),
        st.integers(0, 3), st.integers(0, 5), st.integers(0, 3 * CLUSTER),
    ),
    max_size=25,
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(OPERATIONS)
def test_charges_are_the_sum_of_what_files_have_whatever_is_done(operations):
    async def main(runtime):
        metadata, data = spaces(runtime)
        fs = await CatalogFileSystem.format(metadata, data, runtime)
        nodes = {}
        for kind, which, other, length in operations:
            node = nodes.get(which)
            if node is None:
                node = nodes[which] = make(fs, f"f{which}", sid(which % 2))
            await apply(fs, nodes, node, kind, which, other, length)
        charged = {record.sid: record.used_bytes for record in fs.quotas.records() if record.used_bytes}
        await fs.close()
        report = await check_catalog(metadata, data, runtime)
        assert report.problems == []
        again = await CatalogFileSystem.open(metadata, data, runtime)
        assert {r.sid: r.used_bytes for r in again.quotas.records() if r.used_bytes} == charged
        await again.close()

    async def apply(fs, nodes, node, kind, which, other, length):
        if kind == "write":
            await fs.write(node.data, other * CLUSTER // 2, memoryview(bytes(length)))
        elif kind == "size":
            await fs.set_size(node.data, length)
        elif kind == "allocate":
            await fs.set_allocation(node.data, length)
        elif kind == "clone":
            source = nodes[min(nodes)]
            if source.data.size_bytes >= CLUSTER:
                await fs.clone(source.data, 0, node.data, other * CLUSTER, CLUSTER)
        elif kind == "owner":
            fs.set_security(node, owned_by(sid(other % 3)))
        elif kind == "stream":
            stream = fs.stream(node, "s") or fs.make_stream(node, "s")
            await fs.write(stream, 0, memoryview(bytes(length)))
        elif kind == "trim":
            await fs.trim(node.data, 0, length)
        elif kind == "sparse":
            node.attributes |= 0x200
            fs.changed(node)
        else:
            fs.unlink(fs.root(), f"f{which}")
            del nodes[which]

    run(main)


def test_a_catalog_of_version_1_opens_and_knows_what_owners_have():
    """docs/formats/catalog.md, Versions: an image made by the first version."""

    async def main(runtime):
        metadata, data = MemorySpace(4 << 20, runtime), MemorySpace(16 << 20, runtime)
        metadata._bytes[:] = gzip.decompress((VECTORS / "catalog-v1-metadata.img.gz").read_bytes())
        data._bytes[:] = gzip.decompress((VECTORS / "catalog-v1-data.img.gz").read_bytes())
        assert (await check_catalog(metadata, data, runtime)).problems == []
        fs = await CatalogFileSystem.open(metadata, data, runtime)
        assert (used(fs, ANA), used(fs, BOB)) == (4 * CLUSTER, 5 * CLUSTER)
        assert fs.quotas.control == QuotaControl(TRACK, -1, -1)
        folder = fs.lookup(fs.root(), "FOLDER").node
        into = bytearray(3)
        fs.read_now(fs.lookup(folder, "one").node.data, 0, memoryview(into))
        assert into == b"one"
        await fs.close()
        assert (await check_catalog(metadata, data, runtime)).problems == []
        await (await CatalogFileSystem.open(metadata, data, runtime)).close()

    run(main)


def test_wrong_charges_are_found_and_repaired():
    async def main(runtime):
        metadata, data = spaces(runtime)
        fs = await CatalogFileSystem.format(metadata, data, runtime)
        assert fs.write_now(make(fs, "f").data, 0, memoryview(b"x"))
        fs.quotas.set_limits(ANA, 1, 2, 3)
        await fs.close()
        overlay = await load_overlay(metadata)
        vfs = SpaceVfs("quota-damage", overlay, metadata)
        connection = schema.connect(vfs.name, overlay.layout)
        connection.execute("update quotas set used = 5")
        connection.close()
        vfs.unregister()
        await write_queue(overlay, metadata)
        report = await check_catalog(metadata, data, runtime)
        assert report.problems == [f"owner {ANA.hex()} is charged 5 bytes and has {CLUSTER}"]
        await check_catalog(metadata, data, runtime, repair=True)
        again = await CatalogFileSystem.open(metadata, data, runtime)
        assert again.quotas.records() == [QuotaRecord(ANA, CLUSTER, 1, 2, 3)]
        await again.close()

    run(main)
