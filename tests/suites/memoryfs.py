"""A file system in memory: the fake behind the object store's tests, and a volume for a server without disks.

Implements `storage.fs.port.FileSystem` in full, holes and reservations included; nothing outlives it.
It runs through the same contract suite as the real ones (`tests/suites/filesystem.py`), so it stays true.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence

from storage.errors import VolumeFull
from storage.fs.port import Entry, ExtendedAttribute, Node, NodeId, Stream, VolumeIdentity, VolumeUsage
from storage.units import FileOffset

DIRECTORY = 0x10
ARCHIVE = 0x20
NORMAL = 0x80
SPARSE_FILE = 0x200
REPARSE_POINT = 0x400

# CASE_SENSITIVE_SEARCH, CASE_PRESERVED, UNICODE, PERSISTENT_ACLS, SPARSE, REPARSE_POINTS, POSIX_UNLINK,
# OBJECT_IDS, NAMED_STREAMS, HARD_LINKS, EXTENDED_ATTRIBUTES, OPEN_BY_FILE_ID, BLOCK_REFCOUNTING
FEATURES = (0x1 | 0x2 | 0x4 | 0x8 | 0x40 | 0x80 | 0x400
            | 0x10000 | 0x40000 | 0x400000 | 0x800000 | 0x1000000 | 0x8000000)

_UPCASE = {c: ord(chr(c).upper()) for c in range(0x80, 0x10000)
           if not 0xD800 <= c < 0xE000 and len(chr(c).upper()) == 1 and ord(chr(c).upper()) < 0x10000}


class _NodeMemory:
    """What the file system keeps of a node."""

    __slots__ = ("children", "eas", "folds", "holds", "links", "object_id", "reparse", "security", "streams")

    def __init__(self, is_directory: bool, security: bytes) -> None:
        self.children: dict[str, Entry] | None = {} if is_directory else None
        self.folds: list[str] = []
        self.links: dict[tuple[NodeId, str], tuple[Node, str]] = {}
        self.streams: dict[str, Stream] = {}
        self.security = security
        self.eas: list[ExtendedAttribute] = []
        self.reparse = b""
        self.object_id = b""
        self.holds = 0


class _Clusters:
    """What the file system keeps of a stream: written clusters by index, and how much is reserved."""

    __slots__ = ("pages", "reserved")

    def __init__(self) -> None:
        self.pages: dict[int, bytearray] = {}
        self.reserved = 0


def _memory(node: Node) -> _NodeMemory:
    memory = node.private
    assert isinstance(memory, _NodeMemory)
    return memory


def _children(directory: Node) -> dict[str, Entry]:
    children = _memory(directory).children
    assert children is not None, "not a directory"
    return children


def _clusters(stream: Stream) -> _Clusters:
    clusters = stream.private
    assert isinstance(clusters, _Clusters)
    return clusters


class MemoryFileSystem:
    """`total_bytes` bounds what all streams together may take; `now` is the FILETIME of the root."""

    def __init__(self, *, total_bytes: int = 1 << 40, cluster_bytes: int = 4096, label: str = "memory",
                 now: int = 0x01DC000000000000, waits: bool = False) -> None:
        self._identity = VolumeIdentity(label, 0x50F5_0001, now, FEATURES, bytes(range(16)))
        self._total_bytes = total_bytes
        self._cluster_bytes = cluster_bytes
        self._used_bytes = 0
        self._nodes: dict[NodeId, Node] = {}
        self._object_ids: dict[bytes, Node] = {}
        self._next_id = 5
        self.waits = waits
        """For tests: `*_now` always says that it would have to wait."""
        self._root = self._new_node(DIRECTORY, now, b"")
        _memory(self._root).holds = 1

    @property
    def identity(self) -> VolumeIdentity:
        return self._identity

    quotas = None

    def usage(self) -> VolumeUsage:
        return VolumeUsage(
            self._total_bytes,
            self._used_bytes,
            self._total_bytes - self._used_bytes,
            self._cluster_bytes,
            512,
        )

    def fold(self, name: str) -> str:
        return name.upper() if name.isascii() else name.translate(_UPCASE).translate(_ASCII)

    # names
    def root(self) -> Node:
        return self._root

    def lookup(self, directory: Node, name: str) -> Entry | None:
        return _children(directory).get(self.fold(name))

    def node(self, node_id: NodeId) -> Node | None:
        return self._nodes.get(node_id)

    def names(self, node: Node) -> list[tuple[Node, str]]:
        return list(_memory(node).links.values())

    def entries(self, directory: Node, after: str | None, limit: int) -> list[Entry]:
        memory = _memory(directory)
        assert memory.children is not None
        start = 0 if after is None else bisect_right(memory.folds, self.fold(after))
        children = memory.children
        return [children[fold] for fold in memory.folds[start:start + limit]]

    def is_empty(self, directory: Node) -> bool:
        return not _children(directory)

    def make(self, directory: Node, name: str, *, is_directory: bool, attributes: int, now: int,
             security: bytes) -> Node:
        attributes &= ~(DIRECTORY | REPARSE_POINT)
        node = self._new_node(attributes | (DIRECTORY if is_directory else 0), now, security)
        node.links = 0
        self.link(node, directory, name)
        return node

    def link(self, node: Node, directory: Node, name: str) -> None:
        children = _children(directory)
        fold = self.fold(name)
        assert fold not in children, f"{name!r} exists"
        children[fold] = Entry(name, node)
        insort(_memory(directory).folds, fold)
        _memory(node).links[(directory.id, fold)] = (directory, name)
        node.links += 1

    def unlink(self, directory: Node, name: str) -> None:
        fold = self.fold(name)
        node = _children(directory).pop(fold).node
        folds = _memory(directory).folds
        del folds[bisect_right(folds, fold) - 1]
        del _memory(node).links[(directory.id, fold)]
        node.links -= 1
        self._free_if_unused(node)

    def rename(self, directory: Node, name: str, to_directory: Node, to_name: str) -> None:
        source = _children(directory)[self.fold(name)]
        target = self.lookup(to_directory, to_name)
        node = source.node
        self.hold(node)
        if target is not None and target is not source:
            self.unlink(to_directory, to_name)
        self.unlink(directory, name)
        self.link(node, to_directory, to_name)
        self.drop(node)

    # nodes
    def hold(self, node: Node) -> None:
        _memory(node).holds += 1

    def drop(self, node: Node) -> None:
        memory = _memory(node)
        assert memory.holds > 0, "drop without hold"
        memory.holds -= 1
        self._free_if_unused(node)

    def changed(self, node: Node) -> None:
        assert node.id in self._nodes

    def security(self, node: Node) -> bytes:
        return _memory(node).security

    def set_security(self, node: Node, descriptor: bytes) -> None:
        _memory(node).security = bytes(descriptor)

    def eas(self, node: Node) -> list[ExtendedAttribute]:
        return list(_memory(node).eas)

    def set_eas(self, node: Node, eas: Sequence[ExtendedAttribute]) -> None:
        _memory(node).eas = list(eas)
        node.ea_bytes = 4 + sum(5 + len(ea.name) + len(ea.value) for ea in eas) if eas else 0

    def reparse(self, node: Node) -> bytes:
        return _memory(node).reparse

    def set_reparse(self, node: Node, tag: int, buffer: bytes) -> None:
        _memory(node).reparse = bytes(buffer) if tag else b""
        node.reparse_tag = tag
        node.attributes = node.attributes & ~REPARSE_POINT | (REPARSE_POINT if tag else 0)

    def object_id(self, node: Node) -> bytes:
        return _memory(node).object_id

    def set_object_id(self, node: Node, object_id: bytes) -> None:
        memory = _memory(node)
        if memory.object_id:
            del self._object_ids[memory.object_id[:16]]
        memory.object_id = bytes(object_id)
        if object_id:
            self._object_ids[memory.object_id[:16]] = node

    def find_object_id(self, object_id: bytes) -> Node | None:
        return self._object_ids.get(bytes(object_id[:16]))

    # streams
    def streams(self, node: Node) -> list[Stream]:
        named = _memory(node).streams
        return ([node.data] if node.data else []) + [named[fold] for fold in sorted(named)]

    def stream(self, node: Node, name: str) -> Stream | None:
        return _memory(node).streams.get(self.fold(name)) if name else node.data

    def make_stream(self, node: Node, name: str) -> Stream:
        streams = _memory(node).streams
        fold = self.fold(name)
        assert name and fold not in streams
        streams[fold] = stream = Stream(node, name, private=_Clusters())
        return stream

    def remove_stream(self, stream: Stream) -> None:
        del _memory(stream.node).streams[self.fold(stream.name)]
        self._release(stream)

    def rename_stream(self, stream: Stream, name: str) -> None:
        streams = _memory(stream.node).streams
        del streams[self.fold(stream.name)]
        stream.name = name
        streams[self.fold(name)] = stream

    # bytes
    def read_now(self, stream: Stream, offset: FileOffset, into: memoryview) -> bool:
        if self.waits:
            return False
        self._read(stream, offset, into)
        return True

    async def read(self, stream: Stream, offset: FileOffset, into: memoryview) -> None:
        self._read(stream, offset, into)

    def write_now(self, stream: Stream, offset: FileOffset, data: memoryview) -> bool:
        if self.waits:
            return False
        self._write(stream, offset, data)
        return True

    async def write(self, stream: Stream, offset: FileOffset, data: memoryview) -> None:
        self._write(stream, offset, data)

    async def set_size(self, stream: Stream, size_bytes: int) -> None:
        clusters = _clusters(stream)
        if size_bytes < stream.size_bytes:
            self._clear(stream, size_bytes, stream.size_bytes)
            cluster_bytes = self._cluster_bytes
            first = -(-size_bytes // cluster_bytes)
            for index in [i for i in clusters.pages if i >= first]:
                del clusters.pages[index]
            clusters.reserved = 0
            stream.valid_bytes = min(stream.valid_bytes, size_bytes)
        self._account(stream, size_bytes, len(clusters.pages))
        stream.size_bytes = size_bytes

    async def set_allocation(self, stream: Stream, allocated_bytes: int) -> None:
        if allocated_bytes < stream.size_bytes:
            await self.set_size(stream, allocated_bytes)
        clusters = _clusters(stream)
        before, clusters.reserved = clusters.reserved, self._round_up(allocated_bytes)
        try:
            self._account(stream, stream.size_bytes, len(clusters.pages))
        except VolumeFull:
            clusters.reserved = before
            raise

    async def set_valid(self, stream: Stream, valid_bytes: int) -> None:
        stream.valid_bytes = max(stream.valid_bytes, valid_bytes)

    async def zero(self, stream: Stream, offset: FileOffset, length: int) -> None:
        self._zero(stream, offset, length, give_back=bool(stream.node.attributes & SPARSE_FILE))

    async def trim(self, stream: Stream, offset: FileOffset, length: int) -> None:
        self._zero(stream, offset, length, give_back=True)

    def allocated_ranges(self, stream: Stream, offset: FileOffset, length: int) -> list[tuple[int, int]]:
        end = min(offset + length, stream.size_bytes)
        found: list[tuple[int, int]] = []
        for index in sorted(_clusters(stream).pages):
            begin = max(index * self._cluster_bytes, offset)
            stop = min((index + 1) * self._cluster_bytes, end)
            if begin >= stop:
                continue
            if found and sum(found[-1]) == begin:
                found[-1] = (found[-1][0], found[-1][1] + stop - begin)
            else:
                found.append((begin, stop - begin))
        return found

    async def clone(self, source: Stream, source_offset: FileOffset, target: Stream,
                    target_offset: FileOffset, length: int) -> bool:
        cluster_bytes = self._cluster_bytes
        end = source_offset + length
        if source_offset % cluster_bytes or target_offset % cluster_bytes:
            return False
        if length % cluster_bytes and end < source.size_bytes:
            return False
        data = memoryview(bytearray(length))
        self._read(source, source_offset, data)
        self._write(target, target_offset, data)
        return True

    async def flush(self, node: Node) -> None:
        assert node.id in self._nodes

    async def sync(self) -> None:
        return

    async def close(self) -> None:
        return

    # inside
    def _new_node(self, attributes: int, now: int, security: bytes) -> Node:
        node_id = NodeId(self._next_id)
        self._next_id += 1
        is_directory = bool(attributes & DIRECTORY)
        node = Node(node_id, attributes, now, now, now, now, private=_NodeMemory(is_directory, security))
        if not is_directory:
            node.data = Stream(node, "", private=_Clusters())
        self._nodes[node_id] = node
        return node

    def _free_if_unused(self, node: Node) -> None:
        memory = _memory(node)
        if memory.links or memory.holds or node is self._root:
            return
        for stream in self.streams(node):
            self._release(stream)
        if memory.object_id:
            del self._object_ids[memory.object_id[:16]]
            memory.object_id = b""
        self._nodes.pop(node.id, None)

    def _release(self, stream: Stream) -> None:
        self._used_bytes -= stream.allocated_bytes
        stream.allocated_bytes = 0
        _clusters(stream).pages.clear()

    def _round_up(self, size_bytes: int) -> int:
        return -(-size_bytes // self._cluster_bytes) * self._cluster_bytes

    def _account(self, stream: Stream, size_bytes: int, pages: int) -> None:
        """Set the allocation that goes with a size and a number of written clusters, if there is room."""
        if stream.node.attributes & SPARSE_FILE:
            allocated = pages * self._cluster_bytes
        else:
            allocated = max(self._round_up(size_bytes), _clusters(stream).reserved)
        grows = allocated - stream.allocated_bytes
        free = self._total_bytes - self._used_bytes
        if grows > free:
            raise VolumeFull(f"{grows} bytes more for node {stream.node.id}, but only {free} are free")
        self._used_bytes += grows
        stream.allocated_bytes = allocated

    def _read(self, stream: Stream, offset: int, into: memoryview) -> None:
        length = len(into)
        assert offset >= 0 and offset + length <= stream.size_bytes
        cluster_bytes = self._cluster_bytes
        pages = _clusters(stream).pages
        done = 0
        while done < length:
            index, at = divmod(offset + done, cluster_bytes)
            count = min(cluster_bytes - at, length - done)
            page = pages.get(index)
            into[done:done + count] = bytes(count) if page is None else page[at:at + count]
            done += count

    def _write(self, stream: Stream, offset: int, data: memoryview) -> None:
        length = len(data)
        if not length:
            return
        cluster_bytes = self._cluster_bytes
        pages = _clusters(stream).pages
        end = offset + length
        first, last = offset // cluster_bytes, (end - 1) // cluster_bytes
        fresh = sum(1 for index in range(first, last + 1) if index not in pages)
        self._account(stream, max(end, stream.size_bytes), len(pages) + fresh)
        done = 0
        while done < length:
            index, at = divmod(offset + done, cluster_bytes)
            count = min(cluster_bytes - at, length - done)
            page = pages.get(index)
            if page is None:
                page = pages[index] = bytearray(cluster_bytes)
            page[at:at + count] = data[done:done + count]
            done += count
        if end > stream.size_bytes:
            stream.size_bytes = end
        if end > stream.valid_bytes:
            stream.valid_bytes = end

    def _zero(self, stream: Stream, offset: int, length: int, *, give_back: bool) -> None:
        end = min(offset + length, stream.size_bytes)
        if end <= offset:
            return
        if not give_back:
            self._clear(stream, offset, end)
            return
        cluster_bytes = self._cluster_bytes
        pages = _clusters(stream).pages
        first = -(-offset // cluster_bytes)
        stop = -(-end // cluster_bytes) if end == stream.size_bytes else end // cluster_bytes
        self._clear(stream, offset, end)
        for index in [i for i in pages if first <= i < stop]:
            del pages[index]
        self._account(stream, stream.size_bytes, len(pages))

    def _clear(self, stream: Stream, begin: int, end: int) -> None:
        cluster_bytes = self._cluster_bytes
        for index, page in _clusters(stream).pages.items():
            low = max(begin - index * cluster_bytes, 0)
            high = min(end - index * cluster_bytes, cluster_bytes)
            if low < high:
                page[low:high] = bytes(high - low)


_ASCII = {c: c - 32 for c in range(ord("a"), ord("z") + 1)}
