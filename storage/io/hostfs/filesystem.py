"""`HostFileSystem`: a directory of the host behind the file-system port (`storage/fs/port.py`).

What the host cannot keep (attributes, descriptors, streams, EAs, reparse points) lies in extended attributes
(`attributes.py`).
Others may change the directory at the same time: names are looked up anew (a directory's listing is believed
while its
times stand), and a file's attributes are read again when the host's change time moved. Nothing outside the
directory is
reached: a symbolic link of the host is not followed and not shown.
Must not decide: who may open what is the object store's matter; the server's own rights on the host bound
everything.
"""

from __future__ import annotations

import errno
import os
import stat
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from smbproto.fscc import (
    FILE_ATTRIBUTE_DIRECTORY,
    FILE_ATTRIBUTE_REPARSE_POINT,
)
from storage.errors import StorageError
from storage.fs.port import (
    Entry,
    ExtendedAttribute,
    Node,
    NodeId,
    Stream,
    VolumeIdentity,
    VolumeUsage,
)
from storage.fs.upcase import upcase as fold
from storage.io.hostfs import attributes as xattrs
from storage.io.hostfs.data import HostData
from storage.io.hostfs.names import DirectoryNames, to_host, to_wire
from storage.io.hostfs.node import (
    CLUSTER_BYTES,
    HAS_EAS,
    HostNode,
    StreamBytes,
    ea_size,
    fill,
    host_error,
    is_shown,
    make_node,
    private_of,
)
from storage.runtime import Runtime

NODES_CACHED_MAX = 65536
"""Nodes nobody holds, kept so that the next look-up need not read their extended attributes again."""

FEATURES = 0x1 | 0x2 | 0x4 | 0x8 | 0x40 | 0x80 | 0x10000 | 0x40000 | 0x400000 | 0x800000
"""[MS-FSCC] 2.5.1: case-sensitive search 1, case preserved 2, Unicode 4, persistent ACLS 8, sparse 0x40,
reparse points 0x80,
object ids 0x10000, named streams 0x40000, hard links 0x400000, extended attributes 0x800000."""


class HostFileSystem(HostData):
    """See the module. `path` must be a directory. Raises StorageError for what the host refuses."""

    def __init__(self, path: str | Path, runtime: Runtime, label: str = "") -> None:
        super().__init__(runtime)
        self._root_path = os.fsencode(os.path.realpath(path))
        status = os.stat(self._root_path)
        if not stat.S_ISDIR(status.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, "not a directory", str(path))
        self._device = status.st_dev
        self._age = 0
        self._nodes: dict[int, Node] = {}
        self._idle: OrderedDict[int, Node] = OrderedDict()
        private = HostNode(None, b"")
        self._root = make_node(status, private)
        fill(self._root, private, status, self._root_path)
        self._root.attributes |= FILE_ATTRIBUTE_DIRECTORY
        self._nodes[self._root.id] = self._root
        private.held = 1
        self._identity = VolumeIdentity(
            label=label or os.path.basename(os.fsdecode(self._root_path)) or "host",
            serial=(status.st_ino ^ status.st_dev) & 0xFFFFFFFF,
            created=self._root.created,
            features=FEATURES,
            object_id=(status.st_dev << 64 | status.st_ino).to_bytes(16, "little"),
        )

    @property
    def identity(self) -> VolumeIdentity:
        return self._identity

    def usage(self) -> VolumeUsage:
        found = os.statvfs(self._root_path)
        return VolumeUsage(
            found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize, CLUSTER_BYTES, 512
        )

    def fold(self, name: str) -> str:
        return fold(name)

    # paths
    # ------------------------------------------------------------------------------------------------------
    def _path(self, private: HostNode) -> bytes:
        """The node's path on the host, cached until some directory is renamed."""
        if private.path_age == self._age:
            return private.path
        if private.parent is None:
            path = self._root_path
        else:
            path = self._path(private.parent) + b"/" + private.host_name
        private.path = path
        private.path_age = self._age
        return path

    def _place(self, private: HostNode, parent: HostNode, host_name: bytes) -> None:
        private.parent = parent
        private.host_name = host_name
        private.path_age = -1

    def _names_of(self, directory: HostNode) -> DirectoryNames:
        """The directory's names, read again if somebody else changed it."""
        path = self._path(directory)
        status = self._stat(path)
        stamp = (status.st_mtime_ns, status.st_ctime_ns) if status is not None else (-2, -2)
        names = directory.listing
        if names is None:
            names = directory.listing = DirectoryNames()
        if names.stamp != stamp:
            if status is None:
                names.by_fold, names.ordered, names.stamp = {}, None, stamp
            else:
                names.load(path, stamp, fold)
        return names

    def _is_current(self, directory: HostNode) -> bool:
        """Whether nobody else changed the directory since its names were read."""
        status = self._stat(self._path(directory))
        names = directory.listing
        return (
            names is not None
            and status is not None
            and names.stamp == (status.st_mtime_ns, status.st_ctime_ns)
        )

    def _restamp(self, directory: HostNode) -> None:
        """We changed the directory ourselves and its names accordingly: they are current again."""
        names = directory.listing
        if names is not None:
            status = self._stat(self._path(directory))
            if status is not None:
                names.stamp = (status.st_mtime_ns, status.st_ctime_ns)

    def _stat(self, path: bytes) -> os.stat_result | None:
        try:
            return os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if error.errno in (errno.ENAMETOOLONG, errno.EACCES, errno.ELOOP):
                return None
            raise host_error(error, "stat", path) from error

    # names
    # ------------------------------------------------------------------------------------------------------
    def root(self) -> Node:
        return self._root

    def _load(self, parent: HostNode, host_name: bytes, path: bytes, status: os.stat_result) -> Node | None:
        if not is_shown(status) or status.st_dev != self._device:
            return None
        ino = status.st_ino
        node = self._nodes.get(ino)
        if node is not None:
            private = private_of(node)
            if self._path(private) != path:
                if self._stat(private.path) is None:
                    self._place(private, parent, host_name)
                elif node.data is not None and (parent, host_name) not in private.others:
                    private.others.append((parent, host_name))
            self._refresh(node, private, status, path)
            return node
        node = self._idle.get(ino)
        if node is not None:
            private = private_of(node)
            self._place(private, parent, host_name)
            self._idle.move_to_end(ino)
        else:
            private = HostNode(parent, host_name)
            node = make_node(status, private)
            self._idle[ino] = node
            if len(self._idle) > NODES_CACHED_MAX:
                self._idle.popitem(last=False)
        private.path, private.path_age = path, self._age
        if private.ctime_ns != status.st_ctime_ns or (node.data is None) != stat.S_ISDIR(status.st_mode):
            if (node.data is None) != stat.S_ISDIR(status.st_mode):
                private = HostNode(parent, host_name)
                node = make_node(status, private)
                self._idle[ino] = node
            fill(node, private, status, path)
        return node

    def _refresh(self, node: Node, private: HostNode, status: os.stat_result, path: bytes) -> None:
        """A held node follows the size that others gave the file; times and attributes are ours while it is
        held."""
        if node.data is not None and node.data.size_bytes != status.st_size and not private.dirty:
            node.data.size_bytes = node.data.valid_bytes = status.st_size

    def lookup(self, directory: Node, name: str) -> Entry | None:
        if name in ("", ".", "..") or "/" in name or "\0" in name:
            return None     # no name of the host: a search pattern may be any string
        parent = private_of(directory)
        path = self._path(parent) + b"/" + to_host(name)
        status = self._stat(path)
        if status is not None:
            node = self._load(parent, to_host(name), path, status)
            return Entry(name, node) if node is not None else None
        found = self._names_of(parent).by_fold.get(fold(name))
        if found is None:
            return None
        wire, host_name = found
        path = self._path(parent) + b"/" + host_name
        status = self._stat(path)
        if status is None:
            return None
        node = self._load(parent, host_name, path, status)
        return Entry(wire, node) if node is not None else None

    def node(self, node_id: NodeId) -> Node | None:
        """Only files that are open or were seen lately can be found by id: the host offers no look-up by
        inode."""
        return self._nodes.get(node_id) or self._idle.get(node_id)

    def names(self, node: Node) -> list[tuple[Node, str]]:
        private = private_of(node)
        if private.parent is None or node.links == 0:
            return []
        found: list[tuple[Node, str]] = []
        for parent, host_name in [(private.parent, private.host_name), *private.others]:
            wire = to_wire(host_name)
            if wire is not None:
                found.append((parent.node, wire))
        return found

    def entries(self, directory: Node, after: str | None, limit: int) -> list[Entry]:
        parent = private_of(directory)
        names = self._names_of(parent)
        ordered = names.in_order()
        start = 0
        if after is not None:
            start = bisect_right(ordered, fold(after))
        base = self._path(parent) + b"/"
        by_fold = names.by_fold
        found: list[Entry] = []
        for index in range(start, len(ordered)):
            if len(found) >= limit:
                break
            wire, host_name = by_fold[ordered[index]]
            path = base + host_name
            status = self._stat(path)
            node = self._load(parent, host_name, path, status) if status is not None else None
            if node is not None:
                found.append(Entry(wire, node))
        return found

    def is_empty(self, directory: Node) -> bool:
        with os.scandir(self._path(private_of(directory))) as listing:
            return next(listing, None) is None

    def make(
        self, directory: Node, name: str, *, is_directory: bool, attributes: int, now: int, security: bytes
    ) -> Node:
        parent = private_of(directory)
        names = self._names_of(parent)
        host_name = to_host(name)
        path = self._path(parent) + b"/" + host_name
        private = HostNode(parent, host_name)
        try:
            if is_directory:
                os.mkdir(path, 0o777)
                status = os.lstat(path)
            else:
                flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
                private.descriptor = os.open(path, flags, 0o666)
                status = os.fstat(private.descriptor)
        except OSError as error:
            raise self._refused(error, "create", path) from error
        node = make_node(status, private)
        node.attributes = attributes | (FILE_ATTRIBUTE_DIRECTORY if is_directory else 0)
        node.created = node.accessed = node.written = node.changed_time = now
        node.links = 1
        private.ctime_ns = status.st_ctime_ns
        private.dirty = private.metadata_stale = True
        private.path, private.path_age = path, self._age
        self._nodes[status.st_ino] = node
        self._idle.pop(status.st_ino, None)
        if security:
            self.set_security(node, security)
        names.add(fold(name), name, host_name)
        self._restamp(parent)
        return node

    def link(self, node: Node, directory: Node, name: str) -> None:
        private, parent = private_of(node), private_of(directory)
        names = self._names_of(parent)
        target = self._path(parent) + b"/" + to_host(name)
        try:
            os.link(self._path(private), target, follow_symlinks=False)
        except OSError as error:
            raise self._refused(error, "link", target) from error
        node.links += 1
        private.others.append((parent, to_host(name)))
        names.add(fold(name), name, to_host(name))
        self._restamp(parent)

    def unlink(self, directory: Node, name: str) -> None:
        parent = private_of(directory)
        names = self._names_of(parent)
        _, host_name = names.by_fold.get(fold(name), (name, to_host(name)))
        path = self._path(parent) + b"/" + host_name
        entry = self.lookup(directory, name)
        try:
            if entry is not None and entry.node.data is None:
                os.rmdir(path)
            else:
                if entry is not None and private_of(entry.node).held:
                    self._descriptor(entry.node)
                os.unlink(path)
        except OSError as error:
            raise self._refused(error, "remove", path) from error
        names.discard(fold(name))
        self._restamp(parent)
        if entry is not None:
            self._lost_name(entry.node, parent, host_name)

    def _lost_name(self, node: Node, parent: HostNode, host_name: bytes) -> None:
        node.links = max(0, node.links - 1)
        private_of(node).lost(parent, host_name)
        if node.data is None:
            node.links = 0
        self._idle.pop(node.id, None)

    def rename(self, directory: Node, name: str, to_directory: Node, to_name: str) -> None:
        source, target = private_of(directory), private_of(to_directory)
        entry = self.lookup(directory, name)
        if entry is None:
            raise StorageError(f"rename {name!r}: it is not there")
        moved = private_of(entry.node)
        source_names, target_names = self._names_of(source), self._names_of(target)
        _, host_name = source_names.by_fold.get(fold(name), (name, to_host(name)))
        replaced = (
            None if fold(to_name) == fold(name) and source is target else self.lookup(to_directory, to_name)
        )
        host_target = to_host(to_name)
        from_path, to_path = self._path(source) + b"/" + host_name, self._path(target) + b"/" + host_target
        try:
            if replaced is not None and replaced.node is not entry.node:
                if private_of(replaced.node).held and replaced.node.data is not None:
                    self._descriptor(replaced.node)
                if replaced.name != to_name:
                    os.unlink(self._path(private_of(replaced.node)))
            os.rename(from_path, to_path)
        except OSError as error:
            raise self._refused(error, "rename", from_path) from error
        if replaced is not None and replaced.node is not entry.node:
            self._lost_name(replaced.node, target, host_target)
        source_names.discard(fold(name))
        target_names.add(fold(to_name), to_name, host_target)
        self._restamp(source)
        self._restamp(target)
        if (source, host_name) in moved.others:
            moved.others[moved.others.index((source, host_name))] = (target, host_target)
        else:
            self._place(moved, target, host_target)
        if entry.node.data is None:
            self._age += 1

    # nodes
    # ------------------------------------------------------------------------------------------------------
    def hold(self, node: Node) -> None:
        private = private_of(node)
        private.held += 1
        if private.held == 1:
            self._nodes[node.id] = node
            self._idle.pop(node.id, None)

    def drop(self, node: Node) -> None:
        private = private_of(node)
        private.held -= 1
        if private.held > 0:
            return
        self._store(node, private)
        self._nodes.pop(node.id, None)
        if private.descriptor >= 0:
            os.close(private.descriptor)
            private.descriptor = -1
        if node.links > 0 and private.memory is None:
            node.state = None
            private.streams = None
            status = self._stat(self._path(private))
            if status is not None and status.st_ino == node.id:
                private.ctime_ns = status.st_ctime_ns
                if node.data is not None:
                    node.data.size_bytes = node.data.valid_bytes = status.st_size
                self._idle[node.id] = node
                if len(self._idle) > NODES_CACHED_MAX:
                    self._idle.popitem(last=False)
        elif node.links > 0:
            private.held = 0
            self._nodes[node.id] = node

    def changed(self, node: Node) -> None:
        private_of(node).dirty = True

    def _target(self, private: HostNode) -> bytes | int:
        """What to give to calls about extended attributes and times: the descriptor if the name may be
        gone."""
        if private.descriptor >= 0:
            return private.descriptor
        return self._path(private)

    def _store(self, node: Node, private: HostNode) -> None:
        """Write attributes and times to the host."""
        self._store_streams(node)
        if not private.dirty or (node.links == 0 and node.data is None):
            return
        private.dirty = False
        target = self._target(private)
        bits = node.attributes | (HAS_EAS if node.ea_bytes else 0)
        is_listed = private.listing is not None and self._is_current(private)
        try:
            self._put(private, target, xattrs.META, xattrs.pack_meta(bits, node.created, node.changed_time))
            times = (xattrs.unix_ns_of(node.accessed), xattrs.unix_ns_of(node.written))
            os.utime(target, ns=times)
        except FileNotFoundError:
            return
        except OSError as error:
            raise host_error(error, "store attributes of", self._path(private)) from error
        if is_listed:
            self._restamp(private)

    def _put(self, private: HostNode, target: bytes | int, name: bytes, value: bytes) -> None:
        """An extended attribute; in memory where the host keeps none."""
        if private.memory is None and xattrs.put(target, name, value):
            return
        if private.memory is None:
            private.memory = {}
        if value:
            private.memory[name] = value
        else:
            private.memory.pop(name, None)

    def _get(self, node: Node, name: bytes) -> bytes:
        private = private_of(node)
        if private.memory is not None and name in private.memory:
            return private.memory[name]
        try:
            return xattrs.get(self._target(private), name)
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise host_error(error, "read attributes of", self._path(private)) from error

    def security(self, node: Node) -> bytes:
        return self._get(node, xattrs.SECURITY)

    def set_security(self, node: Node, descriptor: bytes) -> None:
        private = private_of(node)
        self._put(private, self._target(private), xattrs.SECURITY, descriptor)

    def eas(self, node: Node) -> list[ExtendedAttribute]:
        return xattrs.unpack_eas(self._get(node, xattrs.EAS)) if node.ea_bytes else []

    def set_eas(self, node: Node, eas: Sequence[ExtendedAttribute]) -> None:
        private = private_of(node)
        packed = xattrs.pack_eas(eas)
        self._put(private, self._target(private), xattrs.EAS, packed)
        node.ea_bytes = ea_size(packed)
        private.dirty = True

    def reparse(self, node: Node) -> bytes:
        return self._get(node, xattrs.REPARSE) if node.reparse_tag else b""

    def set_reparse(self, node: Node, tag: int, buffer: bytes) -> None:
        private = private_of(node)
        self._put(private, self._target(private), xattrs.REPARSE, buffer if tag else b"")
        node.reparse_tag = tag
        node.attributes &= ~FILE_ATTRIBUTE_REPARSE_POINT
        if tag:
            node.attributes |= FILE_ATTRIBUTE_REPARSE_POINT
        private.dirty = True

    def object_id(self, node: Node) -> bytes:
        return self._get(node, xattrs.OBJECT_ID)

    def set_object_id(self, node: Node, object_id: bytes) -> None:
        private = private_of(node)
        self._put(private, self._target(private), xattrs.OBJECT_ID, object_id)

    def find_object_id(self, object_id: bytes) -> Node | None:
        for node in self._nodes.values():
            if self.object_id(node)[:16] == object_id[:16]:
                return node
        return None

    # streams
    # ----------------------------------------------------------------------------------------------------
    def _named(self, node: Node) -> dict[str, Stream]:
        """fold -> Stream, read once while the node is held."""
        private = private_of(node)
        if private.streams is None:
            found: dict[str, Stream] = {}
            try:
                listed = os.listxattr(self._target(private))
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.EOPNOTSUPP):
                    raise host_error(error, "list streams of", self._path(private)) from error
                listed = []
            for text in listed:
                attribute = os.fsencode(text)
                if attribute.startswith(xattrs.STREAM_PREFIX):
                    name = attribute[len(xattrs.STREAM_PREFIX) :].decode("utf-8", "replace")
                    content = bytearray(self._get(node, attribute)[1:])
                    found[fold(name)] = self._stream_of(node, name, StreamBytes(attribute, content))
            private.streams = found
        return private.streams

    def _stream_of(self, node: Node, name: str, content: StreamBytes) -> Stream:
        size = len(content.content)
        return Stream(node, name, size, size, -(-size // 8) * 8, content)

    def streams(self, node: Node) -> list[Stream]:
        named = self._named(node)
        default = [node.data] if node.data is not None else []
        return default + [named[key] for key in sorted(named)]

    def stream(self, node: Node, name: str) -> Stream | None:
        return node.data if not name else self._named(node).get(fold(name))

    def make_stream(self, node: Node, name: str) -> Stream:
        attribute = xattrs.STREAM_PREFIX + name.encode("utf-8", "surrogatepass")
        stream = self._stream_of(node, name, StreamBytes(attribute, bytearray()))
        self._named(node)[fold(name)] = stream
        self._write_back(stream)
        return stream

    def remove_stream(self, stream: Stream) -> None:
        private = private_of(stream.node)
        content = stream.private
        assert isinstance(content, StreamBytes)
        self._named(stream.node).pop(fold(stream.name), None)
        self._put(private, self._target(private), content.attribute, b"")
        content.dirty = False
        content.attribute = b""

    def rename_stream(self, stream: Stream, name: str) -> None:
        named = self._named(stream.node)
        content = stream.private
        assert isinstance(content, StreamBytes)
        replaced = named.get(fold(name))
        if replaced is not None and replaced is not stream:
            self.remove_stream(replaced)
        private = private_of(stream.node)
        named.pop(fold(stream.name), None)
        self._put(private, self._target(private), content.attribute, b"")
        content.attribute = xattrs.STREAM_PREFIX + name.encode("utf-8", "surrogatepass")
        stream.name = name
        named[fold(name)] = stream
        self._write_back(stream)

    # the whole
    # --------------------------------------------------------------------------------------------------
    async def sync(self) -> None:
        for node in list(self._nodes.values()):
            self._store(node, private_of(node))
        await self._runtime.blocking(os.sync)

    async def close(self) -> None:
        for node in list(self._nodes.values()):
            private = private_of(node)
            self._store(node, private)
            if private.descriptor >= 0:
                os.close(private.descriptor)
                private.descriptor = -1
