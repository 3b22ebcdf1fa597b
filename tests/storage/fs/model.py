"""A dumb model of a volume, random operations on it and on the real one, and what a crash may leave of them.

After each operation the model is photographed. What is found after a crash must be, names and attributes,
one of the photographs not older than the last flush; and each byte one that this file had at that place in
one of them (writes since the flush may be there in part, sector by sector). Each write writes a byte value
of its own, so bytes of another file show."""

from __future__ import annotations

import random
from collections.abc import Coroutine
from typing import Any

from storage.errors import VolumeFull
from storage.fs.catalog import CatalogFileSystem
from storage.fs.port import ExtendedAttribute, Node, Stream
from storage.units import FileOffset
from tests.sim.runtime import InlineRuntime

SPARSE = 0x200
NAMES = ("alpha", "Beta", "gamma", "DELTA", "é", "ж.txt", "a very long name " * 4, "Ω", "\ud800x")
SIZES = (1, 100, 4096, 5000, 65536, 70_000, 140_000)
STREAM_MAX = 230_000


def run_to_end(runtime: InlineRuntime, main: Coroutine[Any, Any, None]) -> None:
    """Run `main`; timers that are still asleep then end with it."""
    try:
        runtime.run(main)
    finally:
        for task in runtime._tasks:
            task.close()
        runtime._tasks.clear()


class ModelNode:
    def __init__(self, node: Node, is_directory: bool, security: bytes) -> None:
        self.node = node
        self.children: dict[str, tuple[str, ModelNode]] | None = {} if is_directory else None
        self.streams: dict[str, tuple[str, bytearray]] = {} if is_directory else {"": ("", bytearray())}
        self.security = security
        self.eas: list[ExtendedAttribute] = []
        self.reparse = b""
        self.links = 1
        self.holds = 0


Shape = dict[str, tuple[object, ...]]
Contents = dict[int, dict[str, bytes]]


def real_shape(fs: CatalogFileSystem, page: int = 3) -> Shape:
    """Every path of the volume, with what is known without reading bytes."""
    out: Shape = {}

    def walk(directory: Node, path: str) -> None:
        after = None
        while batch := fs.entries(directory, after, page):
            for entry in batch:
                node = entry.node
                here = f"{path}/{entry.name}"
                out[here] = (
                    node.id,
                    node.attributes,
                    node.links,
                    node.created,
                    node.ea_bytes,
                    node.reparse_tag,
                    fs.security(node),
                    tuple(fs.eas(node)),
                    fs.reparse(node),
                    tuple((stream.name, stream.size_bytes) for stream in fs.streams(node)),
                )
                if node.data is None:
                    walk(node, here)
            after = batch[-1].name

    walk(fs.root(), "")
    return out


async def real_bytes(fs: CatalogFileSystem, stream: Stream) -> bytes:
    into = memoryview(bytearray(b"\xee" * stream.size_bytes))
    if not fs.read_now(stream, FileOffset(0), into):
        await fs.read(stream, FileOffset(0), into)
    return bytes(into)


class Script:
    """Random operations on `fs` and on the model."""

    def __init__(self, rng: random.Random, fs: CatalogFileSystem) -> None:
        self.rng = rng
        self.fs = fs
        self.root = ModelNode(fs.root(), True, fs.security(fs.root()))
        self.value = 0
        self.photographs: list[tuple[Shape, Contents]] = []
        self.flushed = 0
        """Index of the first photograph that may be found after a crash."""
        self.held: list[ModelNode] = []
        self.full = 0
        self.photograph()

    # the model
    def directories(self) -> list[ModelNode]:
        out: list[ModelNode] = []
        todo = [self.root]
        while todo:
            found = todo.pop()
            out.append(found)
            assert found.children is not None
            todo += [child for _, child in found.children.values() if child.children is not None]
        return out

    def files(self) -> list[ModelNode]:
        found = {
            id(child): child
            for directory in self.directories()
            for _, child in (directory.children or {}).values()
            if child.children is None
        }
        found |= {id(child): child for child in self.held if child.children is None}
        return list(found.values())

    def shape(self) -> Shape:
        out: Shape = {}

        def walk(directory: ModelNode, path: str) -> None:
            assert directory.children is not None
            for fold in sorted(directory.children):
                name, child = directory.children[fold]
                node = child.node
                streams = tuple(
                    (child.streams[key][0], len(child.streams[key][1])) for key in sorted(child.streams)
                )
                out[f"{path}/{name}"] = (
                    node.id,
                    node.attributes,
                    child.links,
                    node.created,
                    node.ea_bytes,
                    node.reparse_tag,
                    child.security,
                    tuple(child.eas),
                    child.reparse,
                    streams,
                )
                if child.children is not None:
                    walk(child, f"{path}/{name}")

        walk(self.root, "")
        return out

    def photograph(self) -> None:
        contents: Contents = {}
        for node in self.files():
            contents[node.node.id] = {fold: bytes(data) for fold, (_, data) in node.streams.items()}
        self.photographs.append((self.shape(), contents))

    # operations
    async def step(self) -> None:
        what = self.rng.choice(
            (
                self.make,
                self.make,
                self.unlink,
                self.rename,
                self.link,
                self.write,
                self.write,
                self.write,
                self.write,
                self.resize,
                self.zero,
                self.attributes,
                self.named_stream,
                self.hold,
                self.drop,
                self.clone,
                self.pause,
            )
        )
        try:
            await what()
        except VolumeFull:
            self.full += 1

    def pick(self, files: list[ModelNode]) -> ModelNode | None:
        return self.rng.choice(files) if files else None

    async def make(self) -> None:
        parent = self.rng.choice(self.directories())
        name = self.rng.choice(NAMES)
        fold = self.fs.fold(name)
        assert parent.children is not None
        if fold in parent.children:
            assert self.fs.lookup(parent.node, name) is not None
            return
        is_directory = self.rng.random() < 0.25
        security = self.rng.choice((b"one", b"two", b"three"))
        sparse = SPARSE if self.rng.random() < 0.4 and not is_directory else 0
        node = self.fs.make(parent.node, name, is_directory=is_directory, attributes=0x20 | sparse,
                            now=len(self.photographs), security=security)  # fmt: skip
        parent.children[fold] = (name, ModelNode(node, is_directory, security))

    def entry(self) -> tuple[ModelNode, str, str, ModelNode] | None:
        found = [
            (directory, fold, name, child)
            for directory in self.directories()
            for fold, (name, child) in (directory.children or {}).items()
        ]
        return self.rng.choice(found) if found else None

    async def unlink(self) -> None:
        found = self.entry()
        if found is None:
            return
        directory, fold, name, child = found
        assert self.fs.is_empty(child.node) == (not child.children) or child.children is None
        if child.children:
            return
        self.fs.unlink(directory.node, name.upper() if self.rng.random() < 0.5 and name.isascii() else name)
        self.forget(directory, fold)

    def forget(self, directory: ModelNode, fold: str) -> None:
        assert directory.children is not None
        directory.children.pop(fold)[1].links -= 1

    async def rename(self) -> None:
        found = self.entry()
        if found is None:
            return
        directory, fold, name, child = found
        target = self.rng.choice(self.directories())
        to_name = self.rng.choice(NAMES)
        to_fold = self.fs.fold(to_name)
        assert target.children is not None and directory.children is not None
        existing = target.children.get(to_fold)
        is_same = target is directory and to_fold == fold
        if (
            existing is not None
            and not is_same
            and (existing[1].children is not None or existing[1] is child)
        ):
            return
        if child.children is not None and self.below(child, target):
            return
        self.fs.rename(directory.node, name, target.node, to_name)
        if existing is not None and not is_same:
            self.forget(target, to_fold)
        del directory.children[fold]
        target.children[to_fold] = (to_name, child)

    def below(self, directory: ModelNode, other: ModelNode) -> bool:
        return directory is other or any(
            self.below(child, other)
            for _, child in (directory.children or {}).values()
            if child.children is not None
        )

    async def link(self) -> None:
        child = self.pick([file for file in self.files() if file.links])
        parent = self.rng.choice(self.directories())
        name = self.rng.choice(NAMES)
        fold = self.fs.fold(name)
        assert parent.children is not None
        if child is None or fold in parent.children:
            return
        self.fs.link(child.node, parent.node, name)
        parent.children[fold] = (name, child)
        child.links += 1

    def stream(self) -> tuple[ModelNode, Stream, bytearray] | None:
        file = self.pick(self.files())
        if file is None:
            return None
        fold = self.rng.choice(list(file.streams))
        name, data = file.streams[fold]
        stream = self.fs.stream(file.node, name)
        assert stream is not None and stream.size_bytes == len(data), (name, stream, len(data))
        return file, stream, data

    async def write(self) -> None:
        found = self.stream()
        if found is None:
            return
        _, stream, data = found
        offset = self.rng.choice(
            (0, len(data), self.rng.randrange(STREAM_MAX), self.rng.randrange(len(data) + 1))
        )
        length = min(self.rng.choice(SIZES), STREAM_MAX - offset)
        if length <= 0:
            return
        self.value = self.value % 255 + 1
        new = bytes((self.value,)) * length
        before = bytes(data)
        # The model first: if the power fails inside, this may be found too.
        data.extend(bytes(max(0, offset - len(data))))
        data[offset : offset + length] = new
        try:
            if not self.fs.write_now(stream, FileOffset(offset), memoryview(new)):
                await self.fs.write(stream, FileOffset(offset), memoryview(new))
        except VolumeFull:
            data[:] = before
            raise

    async def resize(self) -> None:
        found = self.stream()
        if found is None:
            return
        _, stream, data = found
        size = self.rng.choice((0, self.rng.randrange(len(data) + 1), self.rng.randrange(STREAM_MAX)))
        kind = self.rng.randrange(3)
        if kind == 0:
            await self.fs.set_size(stream, size)
            data.extend(bytes(max(0, size - len(data))))
            del data[size:]
        elif kind == 1:
            await self.fs.set_allocation(stream, size)
            del data[size:]
        else:
            await self.fs.set_valid(stream, min(size, len(data)))

    async def zero(self) -> None:
        found = self.stream()
        if found is None:
            return
        _, stream, data = found
        offset = self.rng.randrange(len(data) + 1)
        length = self.rng.choice((*SIZES, STREAM_MAX))
        part = len(data[offset : offset + length])
        before = bytes(data)
        data[offset : offset + length] = bytes(part)
        try:
            await self.rng.choice((self.fs.zero, self.fs.trim))(stream, FileOffset(offset), length)
        except VolumeFull:
            # An edge in a shared cluster had no place to go to; the other edge may be done.
            found = await real_bytes(self.fs, stream)
            assert len(found) == len(before)
            assert all(new in (old, zeroed) for new, old, zeroed in zip(found, before, data, strict=True))
            data[:] = found

    async def clone(self) -> None:
        source, target = self.stream(), self.stream()
        if source is None or target is None:
            return
        size = len(source[2])
        start = self.rng.randrange(size // 65536 + 1) * 65536
        length = min(self.rng.choice((65536, 131072, STREAM_MAX)), size - start)
        at = self.rng.choice((0, 65536, start))
        if length <= 0 or at + length > STREAM_MAX:
            return
        piece = bytes(source[2][start : start + length])
        if await self.fs.clone(source[1], FileOffset(start), target[1], FileOffset(at), length):
            target[2].extend(bytes(max(0, at - len(target[2]))))
            target[2][at : at + length] = piece

    async def attributes(self) -> None:
        found = self.entry()
        if found is None:
            return
        child = found[3]
        node = child.node
        kind = self.rng.randrange(4)
        if kind == 0:
            node.attributes ^= 0x2
            node.created = len(self.photographs)
            self.fs.changed(node)
        elif kind == 1:
            child.eas = [
                ExtendedAttribute(b"N%d" % i, self.rng.randbytes(i * 50))
                for i in range(self.rng.randrange(4))
            ]
            self.fs.set_eas(node, child.eas)
        elif kind == 2:
            tag = self.rng.choice((0, 0xA000000C))
            child.reparse = b"target %d" % len(self.photographs) if tag else b""
            self.fs.set_reparse(node, tag, child.reparse)
        else:
            child.security = b"descriptor %d" % self.rng.randrange(5)
            self.fs.set_security(node, child.security)

    async def named_stream(self) -> None:
        file = self.pick(self.files())
        if file is None:
            return
        name = self.rng.choice(("one", "Two"))
        fold = self.fs.fold(name)
        if fold not in file.streams:
            self.fs.make_stream(file.node, name)
            file.streams[fold] = (name, bytearray())
            return
        stream = self.fs.stream(file.node, name)
        assert stream is not None
        if self.rng.random() < 0.5:
            self.fs.remove_stream(stream)
            del file.streams[fold]
        elif "THREE" not in file.streams:
            self.fs.rename_stream(stream, "three")
            file.streams["THREE"] = ("three", file.streams.pop(fold)[1])

    async def hold(self) -> None:
        file = self.pick(self.files())
        if file is not None and len(self.held) < 3:
            self.fs.hold(file.node)
            file.holds += 1
            self.held.append(file)

    async def drop(self) -> None:
        if self.held:
            file = self.held.pop(self.rng.randrange(len(self.held)))
            file.holds -= 1
            self.fs.drop(file.node)

    async def pause(self) -> None:
        kind = self.rng.randrange(4)
        if kind == 0:
            await self.fs.sync()
            self.flushed = len(self.photographs)
        elif kind == 1:
            await self.fs._runtime.sleep(self.rng.random() * 1.5)
        elif kind == 2:
            self.fs.commit()
        else:
            await self.compare()

    async def compare(self) -> None:
        """What can be seen is what the model says, byte for byte."""
        assert real_shape(self.fs, self.rng.choice((1, 3, 100))) == self.shape()
        for file in self.files():
            for fold, (name, data) in file.streams.items():
                stream = self.fs.stream(file.node, name)
                assert stream is not None
                found = await real_bytes(self.fs, stream)
                assert found == data, (file.node.id, fold, first_difference(found, data))
                ranges = self.fs.allocated_ranges(stream, FileOffset(0), len(data))
                outside = bytearray(data)
                for offset, length in ranges:
                    outside[offset : offset + length] = bytes(length)
                assert not any(outside), "bytes outside of the allocated ranges"

    def refresh(self) -> None:
        """After mounting anew: the Node objects are others."""
        self.held = []
        todo = [self.root]
        self.root.node = self.fs.root()
        seen: set[int] = set()
        while todo:
            directory = todo.pop()
            for name, child in (directory.children or {}).values():
                entry = self.fs.lookup(directory.node, name)
                assert entry is not None
                child.node = entry.node
                child.holds = 0
                if id(child) not in seen:
                    seen.add(id(child))
                    if child.children is not None:
                        todo.append(child)


def first_difference(found: bytes, expected: bytes | bytearray) -> object:
    if len(found) != len(expected):
        return f"lengths {len(found)} and {len(expected)}"
    for index, (a, b) in enumerate(zip(found, expected, strict=True)):
        if a != b:
            return f"at {index}: {a} instead of {b}"
    return None


async def check_recovered(script: Script, fs: CatalogFileSystem) -> None:
    """What a crash left is one of the photographs since the last flush, and no byte is another file's."""
    found = real_shape(fs)
    window = script.photographs[script.flushed - 1 if script.flushed else 0 :]
    assert any(found == shape for shape, _ in window), (
        f"none of the {len(window)} states since the flush: {found}\n"
        f"last: {window[-1][0]}\nfirst: {window[0][0]}"
    )
    done: set[int] = set()

    async def walk(directory: Node) -> None:
        for entry in fs.entries(directory, None, 10_000):
            node = entry.node
            if node.data is None:
                await walk(node)
            if node.id in done:
                continue
            done.add(node.id)
            for stream in fs.streams(node):
                await check_bytes(stream)

    async def check_bytes(stream: Stream) -> None:
        data = await real_bytes(fs, stream)
        versions = [
            version for _, contents in window for version in contents.get(stream.node.id, {}).values()
        ]
        for start in range(0, len(data), 512):
            part = data[start : start + 512]
            if any(version[start : start + 512] == part for version in versions):
                continue
            for index, value in enumerate(part, start):
                allowed = {version[index] if index < len(version) else 0 for version in versions}
                assert value in allowed, (stream.node.id, stream.name, index, value, sorted(allowed))

    await walk(fs.root())
