"""`HostFileSystem`: a directory of the host behind the file-system port (`storage/fs/port.py`).

What the host cannot keep (attributes, descriptors, streams, EAs, reparse points) lies in extended attributes
(`attributes.py`). Others may change the directory at the same time: names are looked up anew (a directory's
listing is believed while its times stand), and a file's attributes are read again when the host's change time
moved. Nothing outside the directory is reached: a symbolic link of the host is not followed and not shown.
Must not decide: who may open what is the object store's matter; the server's own rights on the host bound
everything.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from smbproto.fscc import (
    FILE_ATTRIBUTE_DIRECTORY,
)
from storage.errors import HostRefused, StorageError
from storage.fs.port import (
    Entry,
    Node,
    NodeId,
    VolumeIdentity,
    VolumeUsage,
)
from storage.fs.upcase import upcase as fold
from storage.io.hostfs import attributes as xattrs
from storage.io.hostfs.kept import HostKept
from storage.io.hostfs.names import DirectoryNames, to_host, to_wire
from storage.io.hostfs.node import (
    CLUSTER_BYTES,
    HAS_EAS,
    HostNode,
    fill,
    host_error,
    is_shown,
    make_node,
    private_of,
)
from storage.runtime import Runtime

log = logging.getLogger("sofs.hostfs")

NODES_CACHED_MAX = 16384
"""Nodes nobody holds, kept so that the next look-up need not read their extended attributes again."""
DIRECTORIES_STORED_AFTER_S = 1.0
"""A directory in which names come and go is stored that much later, not at every one of them."""
DIRECTORIES_UNSTORED_MAX = 1024
BELIEVED_S = 0.001
"""Names of a directory that were checked within this time are not checked again before one is added or
removed."""

FEATURES = 0x1 | 0x2 | 0x4 | 0x8 | 0x40 | 0x80 | 0x10000 | 0x40000 | 0x400000 | 0x800000
"""[MS-FSCC] 2.5.1: case-sensitive search 1, case preserved 2, Unicode 4, persistent ACLS 8, sparse 0x40,
reparse points 0x80,
object ids 0x10000, named streams 0x40000, hard links 0x400000, extended attributes 0x800000."""


class HostFileSystem(HostKept):
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
        self._unstored: dict[int, Node] = {}
        """Directories that nobody holds, in `_nodes` until they are stored."""
        self._is_storing = False
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

    quotas = None
    """The host's own quotas are the host's matter."""

    def usage(self) -> VolumeUsage:
        try:
            found = os.statvfs(self._root_path)
        except OSError as error:
            raise host_error(error, "measure", self._root_path) from error
        return VolumeUsage(
            found.f_blocks * found.f_frsize,
            (found.f_blocks - found.f_bfree) * found.f_frsize,
            found.f_bavail * found.f_frsize,
            CLUSTER_BYTES,
            512,
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
                try:
                    names.load(path, stamp, fold)
                except OSError as error:
                    raise host_error(error, "list", path) from error
        names.checked_s = self._runtime.now()
        return names

    def _names_to_change(self, directory: HostNode) -> DirectoryNames:
        """The names, to add or remove one. Whoever does so has looked it up a moment before."""
        names = directory.listing
        if names is not None and self._runtime.now() - names.checked_s <= BELIEVED_S:
            return names
        return self._names_of(directory)

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
                names.checked_s = self._runtime.now()

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
        is_directory = stat.S_ISDIR(status.st_mode)
        node = self._nodes.get(ino)
        if node is not None and ino in self._unstored and not is_directory:
            self._forget(node)  # others removed it, and the host gave its number away
            node = None
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
        if node is not None and (node.data is None) == is_directory:
            private = private_of(node)
            self._idle.move_to_end(ino)
            if private.parent is not parent or private.host_name != host_name:
                self._place(private, parent, host_name)
        else:
            private = HostNode(parent, host_name)
            node = make_node(status, private)
            self._keep_idle(node)
        private.path, private.path_age = path, self._age
        if private.ctime_ns != status.st_ctime_ns:
            node.state = None
            fill(node, private, status, path)
        return node

    def _keep_idle(self, node: Node) -> None:
        self._idle[node.id] = node
        if len(self._idle) > NODES_CACHED_MAX:
            self._idle.popitem(last=False)

    def _forget(self, node: Node) -> None:
        """It has no name any more, and nobody holds it."""
        self._nodes.pop(node.id, None)
        self._idle.pop(node.id, None)
        self._unstored.pop(node.id, None)

    def _refresh(self, node: Node, private: HostNode, status: os.stat_result, path: bytes) -> None:
        """A held node follows the size that others gave the file; times and attributes are ours while it is
        held."""
        if node.data is not None and node.data.size_bytes != status.st_size and not private.dirty:
            node.data.size_bytes = node.data.valid_bytes = status.st_size

    def lookup(self, directory: Node, name: str) -> Entry | None:
        if name in ("", ".", "..") or "/" in name or "\0" in name:
            return None     # no name of the host: a search pattern may be any string
        parent = private_of(directory)
        host_name = to_host(name)
        path = self._path(parent) + b"/" + host_name
        status = self._stat(path)
        if status is None:
            found = self._names_of(parent).by_fold.get(fold(name))
            if found is None:
                return None
            name, host_name = found
            path = self._path(parent) + b"/" + host_name
            status = self._stat(path)
            if status is None:
                return None
        node = self._load(parent, host_name, path, status)
        return Entry(name, node) if node is not None else None

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
        found: list[Entry] = []
        if start == len(ordered):  # the end; or the directory is gone
            return found
        with self._opened(self._path(parent)) as descriptor:
            for folded in islice(ordered, start, None):
                if len(found) >= limit:
                    break
                wire, host_name = names.by_fold[folded]
                node = self._listed(parent, descriptor, host_name)
                if node is not None:
                    found.append(Entry(wire, node))
        return found

    @staticmethod
    @contextmanager
    def _opened(path: bytes) -> Iterator[int]:
        """A directory, to look at what is in it: half as long a way to each entry."""
        try:
            descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise host_error(error, "list", path) from error
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _listed(self, parent: HostNode, descriptor: int, host_name: bytes) -> Node | None:
        """The node of an entry of this directory; one that nobody has open and that stands as it was is
        taken as it is."""
        status: os.stat_result | None
        try:
            status = os.stat(host_name, dir_fd=descriptor, follow_symlinks=False)
        except OSError:
            status = self._stat(self._path(parent) + b"/" + host_name)  # gone, or why it cannot be seen
            if status is None:
                return None
        node = self._idle.get(status.st_ino)
        if node is not None:
            private = private_of(node)
            is_same = private.parent is parent and private.host_name == host_name
            if is_same and private.ctime_ns == status.st_ctime_ns:
                return node
        return self._load(parent, host_name, self._path(parent) + b"/" + host_name, status)

    def is_empty(self, directory: Node) -> bool:
        path = self._path(private_of(directory))
        try:
            with os.scandir(path) as listing:
                return next(listing, None) is None
        except OSError as error:
            raise host_error(error, "list", path) from error

    def make(
        self, directory: Node, name: str, *, is_directory: bool, attributes: int, now: int, security: bytes
    ) -> Node:
        parent = private_of(directory)
        names = self._names_to_change(parent)
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
        names = self._names_to_change(parent)
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
        names = self._names_to_change(parent)
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
        if not node.links and node.id in self._unstored:
            self._forget(node)

    def rename(self, directory: Node, name: str, to_directory: Node, to_name: str) -> None:
        source, target = private_of(directory), private_of(to_directory)
        entry = self.lookup(directory, name)
        if entry is None:
            raise StorageError(f"rename {name!r}: it is not there")
        moved = private_of(entry.node)
        source_names, target_names = self._names_to_change(source), self._names_to_change(target)
        _, host_name = source_names.by_fold.get(fold(name), (name, to_host(name)))
        replaced: Entry | None = None
        if fold(to_name) in target_names.by_fold and (fold(to_name) != fold(name) or source is not target):
            replaced = self.lookup(to_directory, to_name)
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
        if target is not source:
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
        if private.held > 0 or node.id in self._unstored:
            return
        is_later = node.data is None and private.dirty and node.links > 0
        if is_later and len(self._unstored) < DIRECTORIES_UNSTORED_MAX:
            self._unstored[node.id] = node
            if not self._is_storing:
                self._is_storing = True
                self._runtime.spawn(self._store_directories, "directories of the host")
            return
        self._put_away(node, private)

    async def _store_directories(self) -> None:
        while self._unstored:
            await self._runtime.sleep(DIRECTORIES_STORED_AFTER_S)
            unstored, self._unstored = self._unstored, {}
            for node in unstored.values():
                private = private_of(node)
                if not private.held:
                    try:
                        self._put_away(node, private)
                    except StorageError as error:
                        log.warning("%s", error)
        self._is_storing = False

    def _put_away(self, node: Node, private: HostNode) -> None:
        """Nobody holds it any more. What the object store knows of it stays while the host's change time
        does."""
        status: os.stat_result | None = None
        try:
            if node.links and self._store(node, private):
                node.state = None
                opened = private.descriptor >= 0
                status = os.fstat(private.descriptor) if opened else self._stat(self._path(private))
        finally:
            self._nodes.pop(node.id, None)
            if private.descriptor >= 0:
                os.close(private.descriptor)
                private.descriptor = -1
            private.streams = None
        if not node.links:
            return
        if private.memory is not None:
            self._nodes[node.id] = node
            return
        if status is not None and status.st_ino == node.id:
            private.ctime_ns = status.st_ctime_ns
            if node.data is not None:
                node.data.size_bytes = node.data.valid_bytes = status.st_size
        self._keep_idle(node)

    def changed(self, node: Node) -> None:
        private_of(node).dirty = True

    def _store(self, node: Node, private: HostNode) -> bool:
        """Write attributes and times to the host. False: there was nothing to write."""
        if private.streams:
            self._store_streams(node)
        if not private.dirty or (node.links == 0 and node.data is None):
            return False
        private.dirty = False
        target = self._target(private)
        bits = node.attributes | (HAS_EAS if node.ea_bytes else 0)
        is_listed = private.listing is not None and self._is_current(private)
        try:
            self._put(private, target, xattrs.META, xattrs.pack_meta(bits, node.created, node.changed_time))
            times = (xattrs.unix_ns_of(node.accessed), xattrs.unix_ns_of(node.written))
            os.utime(target, ns=times)
        except FileNotFoundError:
            return False
        except HostRefused as error:
            log.debug("%s", error)  # others' file: its times are as the host has them
            return False
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                return False
            raise host_error(error, "store attributes of", self._path(private)) from error
        if is_listed:
            self._restamp(private)
        return True

    def find_object_id(self, object_id: bytes) -> Node | None:
        for node in self._nodes.values():
            if self.object_id(node)[:16] == object_id[:16]:
                return node
        return None

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
