"""`check_catalog` finds what is wrong, writes nothing unless told, and repairs what can be derived."""

import pytest

from storage.errors import CatalogCorrupt
from storage.fs import schema
from storage.fs.catalog import CatalogFileSystem, load_overlay, write_queue
from storage.fs.check import check_catalog
from storage.fs.vfs import SpaceVfs
from tests.sim.runtime import InlineRuntime
from tests.storage.fs.model import run_to_end
from tests.suites.memoryspace import MemorySpace

METADATA_BYTES = 8 << 20
DATA_BYTES = 16 << 20


async def damaged(runtime, *statements: str) -> tuple[MemorySpace, MemorySpace]:
    """A small volume, some SQL done to its catalog behind its back."""
    metadata, data = MemorySpace(METADATA_BYTES, runtime), MemorySpace(DATA_BYTES, runtime)
    fs = await CatalogFileSystem.format(metadata, data, runtime, security=b"root")
    root = fs.root()
    folder = fs.make(root, "folder", is_directory=True, attributes=0, now=1, security=b"sd")
    for name in ("one", "two"):
        node = fs.make(folder, name, is_directory=False, attributes=0x20, now=1, security=b"sd")
        assert fs.write_now(node.data, 0, memoryview(name.encode() * 50_000))
    fs.link(node, root, "again")
    await fs.close()
    overlay = await load_overlay(metadata)
    vfs = SpaceVfs("damage", overlay, metadata)
    connection = schema.connect(vfs.name, overlay.layout)
    for statement in statements:
        connection.execute(statement)
    connection.close()
    vfs.unregister()
    await write_queue(overlay, metadata)
    return metadata, data


DAMAGE = {
    "a name that leads nowhere": ("insert into dirents values(1, x'41', x'61', 999)", "which is not there"),
    "a node without names": ("delete from dirents where name = x'6f6e65'", "1 links and 0 names"),
    "a wrong number of links": ("update nodes set links = 7 where links = 2", "7 links and 2 names"),
    "a cluster marked free": ("delete from groups", "the group is not there"),
    "a cluster marked used": (
        "update groups set used = used + 1, "
        "bitmap = cast(substr(bitmap, 1, 20) || x'80' || substr(bitmap, 22) as blob)",
        "marked used and belong to nothing",
    ),
    "two files in one cluster": (
        "update extents set cluster = 0 where first = 0",
        "in the runs, not in the table",
    ),
    "a wrong allocated size": ("update nodes set allocated = 65536 where allocated > 0", "are allocated"),
    "a flag without its row": ("update nodes set has = 1 where links = 2", "do not agree with eas"),
    "an EA of no node": ("insert into eas values(999, x'00')", "row for node 999"),
    "a pin of no node": ("insert into pins values(999, 0)", "node 999 is pinned"),
    "a pin to no tier": ("insert into pins select id, 7 from nodes where links = 2", "pinned to tier 7"),
    "heat that is none": ("insert into heat values(0, x'00')", "a piece of heat"),
    "runs of no stream": ("insert into extents values(999, 0, 1, 200, 0)", "belong to stream 999"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_found_and_what_is_derived_is_repaired(damage):
    """Each kind of contradiction gives a line; after a repair the catalog is consistent and can be
    mounted."""
    statement, expected = DAMAGE[damage]
    runtime = InlineRuntime()

    async def main():
        metadata, data = await damaged(runtime, statement)
        before = bytes(metadata._bytes)
        report = await check_catalog(metadata, data, runtime)
        assert any(expected in problem for problem in report.problems), report.problems
        assert bytes(metadata._bytes) == before, "a check without repair wrote"
        repaired = await check_catalog(metadata, data, runtime, repair=True)
        assert repaired.repaired
        again = await check_catalog(metadata, data, runtime)
        assert again.problems == []
        fs = await CatalogFileSystem.open(metadata, data, runtime)
        assert fs.lookup(fs.root(), "folder") is not None
        await fs.close()

    run_to_end(runtime, main())


def test_a_sound_catalog_has_no_problems_and_is_counted():
    """Files, directories (the root is one) and allocated bytes, shared clusters once."""
    runtime = InlineRuntime()

    async def main():
        metadata, data = await damaged(runtime)
        report = await check_catalog(metadata, data, runtime)
        assert (report.problems, report.files, report.directories) == ([], 2, 2)
        assert report.allocated_bytes == 2 * 3 * 65536

    run_to_end(runtime, main())


@pytest.mark.parametrize("offset", (0, 9, 30, 66))
def test_a_damaged_header_is_a_typed_error(offset):
    """Not a catalog, another version, a layout that does not fit, a wrong checksum: one clear error."""
    runtime = InlineRuntime()

    async def main():
        metadata, data = await damaged(runtime)
        metadata._bytes[offset] ^= 0x40
        with pytest.raises(CatalogCorrupt):
            await CatalogFileSystem.open(metadata, data, runtime)
        with pytest.raises(CatalogCorrupt):
            await check_catalog(metadata, data, runtime)

    run_to_end(runtime, main())


def test_a_data_space_that_is_too_small_is_refused():
    """The volume was made on more than there is."""
    runtime = InlineRuntime()

    async def main():
        metadata, _ = await damaged(runtime)
        with pytest.raises(CatalogCorrupt, match="data space"):
            await CatalogFileSystem.open(metadata, MemorySpace(DATA_BYTES // 2, runtime), runtime)

    run_to_end(runtime, main())
