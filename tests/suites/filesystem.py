"""The contract of `storage.fs.port.FileSystem`, as tests; every implementation runs them, the fake included.

    class TestMine(FileSystemContract):
        def run(self, body):
            async def main():
                fs = await open_mine()
                await body(fs)
                await fs.close()
            trio.run(main)

`has` is what there is of "eas", "reparse", "object_ids", "streams", "links", "sparse", "security"; the rest
is skipped.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import ClassVar

import pytest

from storage.fs.port import Entry, ExtendedAttribute, FileSystem, Node, Stream
from storage.units import FileOffset

NOW = 133_000_000_000_000_000
DIRECTORY = 0x10
SPARSE_FILE = 0x200
REPARSE_POINT = 0x400
SYMLINK_TAG = 0xA000000C

Body = Callable[[FileSystem], Awaitable[None]]


def make(fs: FileSystem, directory: Node, name: str, *, is_directory: bool = False) -> Node:
    return fs.make(directory, name, is_directory=is_directory, attributes=0x20, now=NOW, security=b"")


def data_of(node: Node) -> Stream:
    assert node.data is not None
    return node.data


async def write(fs: FileSystem, stream: Stream, offset: int, data: bytes) -> None:
    if not fs.write_now(stream, FileOffset(offset), memoryview(data)):
        await fs.write(stream, FileOffset(offset), memoryview(data))


async def read(fs: FileSystem, stream: Stream, offset: int, length: int) -> bytes:
    into = memoryview(bytearray(b"\xee" * length))
    if not fs.read_now(stream, FileOffset(offset), into):
        await fs.read(stream, FileOffset(offset), into)
    return bytes(into)


def listed(fs: FileSystem, directory: Node) -> list[str]:
    return [entry.name for entry in fs.entries(directory, None, 1000)]


class FileSystemContract:
    """Subclasses give `run`."""

    has: ClassVar[frozenset[str]] = frozenset(
        ("eas", "reparse", "object_ids", "streams", "links", "sparse", "security"))

    def run(self, body: Body) -> None:
        """Call `body` with a fresh, empty file system, where its I/O works."""
        raise AssertionError("a subclass says how")

    def need(self, what: str) -> None:
        if what not in self.has:
            pytest.skip(f"this file system has no {what}")

    # names

    def test_a_root_is_an_empty_directory_without_names(self):
        """`names`: empty for the root."""
        async def body(fs):
            root = fs.root()
            assert root.attributes & DIRECTORY and root.id
            assert root.data is None
            assert fs.is_empty(root) and listed(fs, root) == []
            assert fs.names(root) == []
            assert fs.node(root.id) is root
        self.run(body)

    def test_names_are_found_without_case_and_kept_as_given(self):
        """Names are as the client gave them; comparison folds with the volume's upcase table."""
        async def body(fs):
            root = fs.root()
            made = make(fs, root, "Ärger.Txt")
            entry = fs.lookup(root, "äRGER.tXT")
            assert entry is not None and entry.name == "Ärger.Txt" and entry.node is made
            assert fs.lookup(root, "Arger.Txt") is None
            assert fs.lookup(root, ".") is None and fs.lookup(root, "..") is None
            assert fs.fold("aß\U0001f600") == fs.fold("Aß\U0001f600")
            assert not fs.is_empty(root)
        self.run(body)

    def test_odd_names_are_kept(self):
        """Names as clients send them: private-use characters, a trailing dot, 255 characters."""
        async def body(fs):
            names = ["a\uf03ab", "trailing.", "trailing ", "x" * 255, "\u65e5\u672c\u8a9e"]
            for name in names:
                make(fs, fs.root(), name)
            assert sorted(listed(fs, fs.root())) == sorted(names)
            assert all(fs.lookup(fs.root(), name).name == name for name in names)
        self.run(body)

    def test_a_new_node_has_the_times_and_kind_it_was_given(self):
        """`make`: an empty file or directory with all four times `now`."""
        async def body(fs):
            file = make(fs, fs.root(), "f")
            assert {file.created, file.accessed, file.written, file.changed_time} == {NOW}
            assert data_of(file).size_bytes == 0 and file.links == 1 and not file.attributes & DIRECTORY
            directory = make(fs, fs.root(), "d", is_directory=True)
            assert directory.attributes & DIRECTORY and directory.data is None
            assert directory.id != file.id and 0 not in (directory.id, file.id)
            assert fs.names(file) == [(fs.root(), "f")]
        self.run(body)

    def test_entries_come_in_the_order_of_folded_names_and_in_pieces(self):
        """`entries`: from the first whose fold is > fold(after), up to `limit`."""
        async def body(fs):
            root = fs.root()
            names = ["b", "A", "c10", "C2", "a b", "Z", "é", "_"]
            for name in names:
                make(fs, root, name)
            expected = sorted(names, key=fs.fold)
            assert listed(fs, root) == expected
            found: list[Entry] = []
            while piece := fs.entries(root, found[-1].name if found else None, 3):
                assert len(piece) <= 3
                found += piece
            assert [entry.name for entry in found] == expected
            assert [e.name for e in fs.entries(root, "B", 2)] == expected[expected.index("b") + 1:][:2]
            fs.unlink(root, "C10")
            assert "c10" not in listed(fs, root)
        self.run(body)

    def test_unlink_removes_the_name_and_a_held_node_lives_on(self):
        """`unlink`: a node without names lives on, nameless, until the last `drop`."""
        async def body(fs):
            root = fs.root()
            node = make(fs, root, "gone")
            fs.hold(node)
            await write(fs, data_of(node), 0, b"still here")
            fs.unlink(root, "GONE")
            assert fs.lookup(root, "gone") is None and fs.names(node) == [] and node.links == 0
            assert await read(fs, data_of(node), 0, 10) == b"still here"
            again = make(fs, root, "gone")
            assert again.id != node.id
            fs.drop(node)
            assert fs.node(node.id) is None
        self.run(body)

    def test_space_of_an_unlinked_node_comes_back_with_the_last_drop(self):
        """`drop`: then its space is freed."""
        async def body(fs):
            await fs.sync()
            before = fs.usage().free_bytes
            node = make(fs, fs.root(), "big")
            fs.hold(node)
            await write(fs, data_of(node), 0, bytes(1 << 20))
            fs.unlink(fs.root(), "big")
            await fs.sync()
            assert fs.usage().free_bytes <= before - (1 << 20)
            fs.drop(node)
            await fs.sync()
            assert fs.usage().free_bytes >= before - (1 << 18)
        self.run(body)

    def test_rename_moves_and_replaces(self):
        """`rename`: atomically replacing a file of the new name, which loses that name."""
        async def body(fs):
            root = fs.root()
            sub = make(fs, root, "sub", is_directory=True)
            one, two = make(fs, root, "one"), make(fs, sub, "two")
            fs.hold(two)
            fs.rename(root, "ONE", sub, "Two")
            entry = fs.lookup(sub, "two")
            assert entry is not None and entry.node is one and entry.name == "Two"
            assert fs.lookup(root, "one") is None and fs.names(two) == []
            assert fs.names(one) == [(sub, "Two")] and one.links == 1
            fs.drop(two)
            fs.rename(sub, "two", sub, "TWO")
            assert listed(fs, sub) == ["TWO"]
            fs.rename(root, "sub", root, "moved")
            assert fs.lookup(root, "moved").node is sub and listed(fs, sub) == ["TWO"]
        self.run(body)

    def test_hard_links_are_equal_names_of_one_node(self):
        """`NodeId` is equal for hard links; `links` counts them."""
        self.need("links")
        async def body(fs):
            root = fs.root()
            node = make(fs, root, "a")
            sub = make(fs, root, "sub", is_directory=True)
            fs.link(node, sub, "B")
            assert node.links == 2 and fs.lookup(sub, "b").node is node
            assert sorted((d.id, n) for d, n in fs.names(node)) == sorted([(root.id, "a"), (sub.id, "B")])
            fs.unlink(root, "a")
            assert node.links == 1 and fs.names(node) == [(sub, "B")]
        self.run(body)

    def test_a_node_is_one_object_while_it_is_held(self):
        """There is exactly one Node object per file while anyone holds it."""
        async def body(fs):
            node = make(fs, fs.root(), "n")
            fs.hold(node)
            node.state = marker = object()
            for index in range(300):
                make(fs, fs.root(), f"other{index}")
            assert fs.lookup(fs.root(), "n").node is node and fs.node(node.id) is node
            assert node.state is marker
            assert fs.stream(node, "") is node.data
            fs.drop(node)
        self.run(body)

    # nodes

    def test_attributes_and_times_are_kept(self):
        """Assign to the fields, then call `changed`."""
        async def body(fs):
            node = make(fs, fs.root(), "n")
            node.attributes = 0x21
            node.created, node.accessed, node.written = NOW + 123456, NOW + 123457, NOW + 123458
            fs.changed(node)
            await fs.sync()
            again = fs.lookup(fs.root(), "n").node
            assert again.attributes == 0x21
            assert [again.created, again.accessed, again.written] == [NOW + 123456 + n for n in range(3)]
        self.run(body)

    def test_descriptors_are_kept_byte_by_byte(self):
        """`security`: the descriptor last set."""
        self.need("security")
        async def body(fs):
            first = bytes(range(1, 101))
            node = fs.make(fs.root(), "n", is_directory=False, attributes=0x20, now=NOW, security=first)
            assert fs.security(node) == first
            fs.set_security(node, b"second")
            assert fs.security(node) == b"second"
        self.run(body)

    def test_eas_are_replaced_as_a_list(self):
        """`set_eas`: replace the whole list; updates `node.ea_bytes`."""
        self.need("eas")
        async def body(fs):
            node = make(fs, fs.root(), "n")
            assert fs.eas(node) == [] and node.ea_bytes == 0
            eas = [ExtendedAttribute(b"User.One", b"1" * 300), ExtendedAttribute(b"TWO", b"\0\xff", 0x80)]
            fs.set_eas(node, eas)
            assert fs.eas(node) == eas and node.ea_bytes > 0
            fs.set_eas(node, [])
            assert fs.eas(node) == [] and node.ea_bytes == 0
        self.run(body)

    def test_reparse_points_keep_attribute_and_tag_in_step(self):
        """`set_reparse`: keeps FILE_ATTRIBUTE_REPARSE_POINT and `reparse_tag` in step; tag 0 removes."""
        self.need("reparse")
        async def body(fs):
            node = make(fs, fs.root(), "n")
            buffer = SYMLINK_TAG.to_bytes(4, "little") + b"\x04\0\0\0" + b"abcd"
            fs.set_reparse(node, SYMLINK_TAG, buffer)
            assert fs.reparse(node) == buffer and node.reparse_tag == SYMLINK_TAG
            assert node.attributes & REPARSE_POINT
            fs.set_reparse(node, 0, b"")
            assert fs.reparse(node) == b"" and node.reparse_tag == 0 and not node.attributes & REPARSE_POINT
        self.run(body)

    def test_object_ids_find_their_node(self):
        """`find_object_id`: by the first 16 bytes."""
        self.need("object_ids")
        async def body(fs):
            node = make(fs, fs.root(), "n")
            object_id = bytes(range(64))
            assert fs.object_id(node) == b"" and fs.find_object_id(object_id) is None
            fs.set_object_id(node, object_id)
            assert fs.object_id(node) == object_id
            found = fs.find_object_id(object_id[:16] + bytes(48))
            assert found is not None and found.id == node.id
            fs.set_object_id(node, b"")
            assert fs.object_id(node) == b"" and fs.find_object_id(object_id) is None
        self.run(body)

    # streams

    def test_named_streams_live_beside_the_default_one(self):
        """`streams`: the default stream first, then the named ones in order of name; found without case."""
        self.need("streams")
        async def body(fs):
            node = make(fs, fs.root(), "n")
            fs.hold(node)
            await write(fs, data_of(node), 0, b"main")
            second, first = fs.make_stream(node, "Second"), fs.make_stream(node, "first")
            await write(fs, second, 0, b"of second")
            assert [s.name for s in fs.streams(node)] == ["", "first", "Second"]
            assert fs.stream(node, "SECOND") is second and fs.stream(node, "third") is None
            fs.rename_stream(second, "Zweiter")
            assert fs.stream(node, "zweiter") is second and fs.stream(node, "second") is None
            assert await read(fs, second, 0, 9) == b"of second"
            fs.remove_stream(first)
            assert [s.name for s in fs.streams(node)] == ["", "Zweiter"]
            assert await read(fs, data_of(node), 0, 4) == b"main"
            fs.drop(node)
        self.run(body)

    def test_a_directory_may_have_named_streams(self):
        """A directory has no default stream but may have named ones."""
        self.need("streams")
        async def body(fs):
            directory = make(fs, fs.root(), "d", is_directory=True)
            fs.hold(directory)
            assert fs.streams(directory) == [] and fs.stream(directory, "") is None
            await write(fs, fs.make_stream(directory, "s"), 0, b"x")
            assert [s.size_bytes for s in fs.streams(directory)] == [1]
            fs.drop(directory)
        self.run(body)

    # bytes

    def test_a_gap_reads_as_zeros(self):
        """`write_now`: extending size and allocation as needed; a gap reads as zeros."""
        async def body(fs):
            stream = data_of(make(fs, fs.root(), "n"))
            await write(fs, stream, 100_000, b"end")
            assert stream.size_bytes == 100_003 and stream.allocated_bytes >= 3
            assert stream.allocated_bytes % fs.usage().cluster_bytes == 0
            assert await read(fs, stream, 99_990, 13) == bytes(10) + b"end"
            assert await read(fs, stream, 0, 5000) == bytes(5000)
        self.run(body)

    def test_what_was_cut_off_does_not_come_back(self):
        """`set_size`: truncate, or extend with zeros."""
        async def body(fs):
            stream = data_of(make(fs, fs.root(), "n"))
            await write(fs, stream, 0, b"\xaa" * 200_000)
            await fs.set_size(stream, 70_001)
            assert stream.size_bytes == 70_001 and stream.valid_bytes <= 70_001
            await fs.set_size(stream, 200_000)
            assert await read(fs, stream, 70_000, 130_000) == b"\xaa" + bytes(129_999)
            await fs.set_size(stream, 0)
            assert stream.size_bytes == 0
        self.run(body)

    def test_allocation_is_reserved_and_given_back(self):
        """`set_allocation`: rounded up; below `size_bytes` it truncates."""
        async def body(fs):
            cluster_bytes = fs.usage().cluster_bytes
            stream = data_of(make(fs, fs.root(), "n"))
            await fs.set_allocation(stream, cluster_bytes + 1)
            assert stream.allocated_bytes >= 2 * cluster_bytes and stream.size_bytes == 0
            await write(fs, stream, 0, b"x" * (3 * cluster_bytes))
            await fs.set_allocation(stream, cluster_bytes)
            assert stream.size_bytes == cluster_bytes
            assert await read(fs, stream, 0, cluster_bytes) == b"x" * cluster_bytes
        self.run(body)

    def test_zeroing_zeroes_exactly_the_range(self):
        """`zero`: the range, clipped to the size, reads as zeros."""
        async def body(fs):
            stream = data_of(make(fs, fs.root(), "n"))
            await write(fs, stream, 0, b"\xaa" * 300_000)
            await fs.zero(stream, FileOffset(65_000), 140_000)
            await fs.zero(stream, FileOffset(299_999), 500_000)
            assert stream.size_bytes == 300_000
            expected = b"\xaa" * 65_000 + bytes(140_000) + b"\xaa" * 94_999 + b"\0"
            assert await read(fs, stream, 0, 300_000) == expected
        self.run(body)

    def test_holes_of_a_sparse_file_are_not_allocated(self):
        """`zero`: whole clusters go back if the node is sparse; `allocated_ranges` is what may not be
        zero."""
        self.need("sparse")
        async def body(fs):
            cluster_bytes = fs.usage().cluster_bytes
            node = make(fs, fs.root(), "n")
            node.attributes |= SPARSE_FILE
            fs.changed(node)
            stream = data_of(node)
            await write(fs, stream, 0, b"\xaa" * (8 * cluster_bytes))
            assert fs.allocated_ranges(stream, FileOffset(0), 1 << 40) == [(0, 8 * cluster_bytes)]
            await fs.zero(stream, FileOffset(2 * cluster_bytes), 3 * cluster_bytes)
            assert fs.allocated_ranges(stream, FileOffset(0), 1 << 40) == [
                (0, 2 * cluster_bytes), (5 * cluster_bytes, 3 * cluster_bytes)]
            assert fs.allocated_ranges(stream, FileOffset(cluster_bytes), 2 * cluster_bytes) == [
                (cluster_bytes, cluster_bytes)]
            assert stream.allocated_bytes <= 5 * cluster_bytes
            await fs.set_size(stream, 100 * cluster_bytes)
            assert stream.allocated_bytes <= 5 * cluster_bytes
        self.run(body)

    def test_trim_gives_clusters_back_and_reads_zeros(self):
        """`trim`: as `zero`, and the clusters wholly inside go back whether sparse or not."""
        async def body(fs):
            cluster_bytes = fs.usage().cluster_bytes
            stream = data_of(make(fs, fs.root(), "n"))
            await write(fs, stream, 0, b"\xaa" * (4 * cluster_bytes))
            await fs.trim(stream, FileOffset(cluster_bytes), 2 * cluster_bytes)
            assert await read(fs, stream, 0, 4 * cluster_bytes) == (
                b"\xaa" * cluster_bytes + bytes(2 * cluster_bytes) + b"\xaa" * cluster_bytes)
        self.run(body)

    def test_a_clone_is_a_copy(self):
        """`clone`: share the clusters of an aligned range, or say that it cannot; changes stay apart."""
        async def body(fs):
            cluster_bytes = fs.usage().cluster_bytes
            source, target = data_of(make(fs, fs.root(), "s")), data_of(make(fs, fs.root(), "t"))
            pattern = bytes(i % 251 for i in range(4 * cluster_bytes))
            await write(fs, source, 0, pattern)
            done = await fs.clone(source, FileOffset(cluster_bytes), target, FileOffset(0), 2 * cluster_bytes)
            if not done:
                return
            assert target.size_bytes == 2 * cluster_bytes
            assert await read(fs, target, 0, 2 * cluster_bytes) == pattern[cluster_bytes:3 * cluster_bytes]
            await write(fs, source, cluster_bytes, b"changed")
            await write(fs, target, cluster_bytes, b"otherwise")
            assert (await read(fs, target, 0, 7)) == pattern[cluster_bytes:cluster_bytes + 7]
            assert (await read(fs, source, 2 * cluster_bytes, 9)) == pattern[2 * cluster_bytes:][:9]
        self.run(body)

    def test_random_writes_read_back(self):
        """Any sequence of writes, truncations and zeroings reads as the same done to a bytearray."""
        async def body(fs):
            chance = random.Random(5)
            stream = data_of(make(fs, fs.root(), "n"))
            model = bytearray()
            for _ in range(120):
                offset, length = chance.randrange(400_000), chance.randrange(1, 90_000)
                what = chance.randrange(8)
                if what < 5:
                    data = chance.randbytes(length)
                    await write(fs, stream, offset, data)
                    model.extend(bytes(max(0, offset + length - len(model))))
                    model[offset:offset + length] = data
                elif what == 5:
                    await fs.set_size(stream, offset)
                    del model[offset:]
                    model.extend(bytes(offset - len(model)))
                elif what == 6:
                    await fs.zero(stream, FileOffset(offset), length)
                    model[offset:offset + length] = bytes(len(model[offset:offset + length]))
                else:
                    await fs.sync()
                assert stream.size_bytes == len(model)
            assert await read(fs, stream, 0, len(model)) == bytes(model)
            await fs.flush(stream.node)
        self.run(body)

    def test_a_model_of_names(self):
        """Any sequence of makes, links, unlinks and renames leaves the names that a dict would."""
        async def body(fs):
            chance = random.Random(7)
            directories = [fs.root(), *(make(fs, fs.root(), f"dir{n}", is_directory=True) for n in range(2))]
            model: dict[tuple[int, str], Node] = {}
            for _ in range(400):
                at, to = chance.randrange(3), chance.randrange(3)
                name, other = (chance.choice("abcdefghij") * 2 for _ in range(2))
                node = model.get((at, name.upper()))
                if node is None:
                    model[at, name.upper()] = make(fs, directories[at], name)
                elif chance.random() < 0.4:
                    fs.unlink(directories[at], name.upper())
                    del model[at, name.upper()]
                elif model.get((to, other.upper())) is not node:
                    fs.rename(directories[at], name, directories[to], other)
                    del model[at, name.upper()]
                    model[to, other.upper()] = node
            for index, directory in enumerate(directories):
                names = {entry.name.upper(): entry.node for entry in fs.entries(directory, None, 1000)}
                if not index:
                    names = {name: node for name, node in names.items() if not name.startswith("DIR")}
                assert names.keys() == {name for at, name in model if at == index}
                assert all(names[name].id == model[index, name].id for name in names)
        self.run(body)

    def test_the_identity_does_not_lie(self):
        """`features`: advertise only what works; usage adds up."""
        async def body(fs):
            usage = fs.usage()
            assert 0 < usage.free_bytes <= usage.total_bytes
            assert usage.cluster_bytes % usage.sector_bytes == 0
            assert fs.identity.component_max == 255
            assert fs.identity.features & 0x6 == 0x6
        self.run(body)
