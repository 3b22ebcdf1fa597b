"""Nodes and streams of a host directory: what belongs to the file system alone, behind `Node.private` and
`Stream.private`.

A node knows its place as (parent, host name), so that renaming a directory moves all below it at once. A held
node of a file opens one descriptor at its first read or write (or at once when it loses its last name) and
closes it at the last drop.
"""

from __future__ import annotations

import errno
import os
import stat

from smbproto.fscc import (
    FILE_ATTRIBUTE_ARCHIVE,
    FILE_ATTRIBUTE_DIRECTORY,
    FILE_ATTRIBUTE_READONLY,
    FILE_ATTRIBUTE_REPARSE_POINT,
)
from storage.errors import DiskFailed, HostExhausted, HostRefused, StorageError
from storage.fs.port import Node, NodeId, Stream
from storage.io.hostfs import attributes as xattrs
from storage.io.hostfs.names import DirectoryNames

CLUSTER_BYTES = 4096


class HostNode:
    """`private` of a Node. `ctime_ns`: the host's change time when the Node was read; while it stands, the
    Node is current."""

    __slots__ = (
        "ctime_ns",
        "descriptor",
        "dirty",
        "held",
        "host_name",
        "listing",
        "memory",
        "metadata_stale",
        "node",
        "others",
        "parent",
        "path",
        "path_age",
        "streams",
        "unsynced",
    )

    def __init__(self, parent: HostNode | None, host_name: bytes) -> None:
        self.parent = parent
        self.host_name = host_name
        self.path = b""
        self.path_age = -1
        self.held = 0
        self.descriptor = -1
        self.ctime_ns = -1
        self.dirty = False
        self.unsynced = False
        self.metadata_stale = False
        self.listing: DirectoryNames | None = None
        self.streams: dict[str, Stream] | None = None
        self.memory: dict[bytes, bytes] | None = None
        self.others: list[tuple[HostNode, bytes]] = []
        """Further places of a file with hard links, as far as they were seen."""
        self.node: Node

    def lost(self, parent: HostNode, host_name: bytes) -> None:
        """One place is no more; the next one that is known takes over."""
        if (parent, host_name) in self.others:
            self.others.remove((parent, host_name))
        elif self.parent is parent and self.host_name == host_name and self.others:
            self.parent, self.host_name = self.others.pop()
            self.path_age = -1


class StreamBytes:
    """`private` of a named stream: the whole of it in memory, written back to its extended attribute."""

    __slots__ = ("attribute", "content", "dirty")

    def __init__(self, attribute: bytes, content: bytearray) -> None:
        self.attribute = attribute
        self.content = content
        self.dirty = False


def private_of(node: Node) -> HostNode:
    found = node.private
    assert isinstance(found, HostNode)
    return found


def stream_bytes(stream: Stream) -> StreamBytes | None:
    """None for the default stream."""
    found = stream.private
    return found if isinstance(found, StreamBytes) else None


def is_shown(status: os.stat_result) -> bool:
    """Only files and directories are served; devices, sockets and pipes of the host are not."""
    return stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)


def allocated(status: os.stat_result, sparse: bool) -> int:
    """AllocationSize: the host's blocks; at least the size, rounded up, for a file that is not sparse."""
    on_host = -(-status.st_blocks * 512 // CLUSTER_BYTES) * CLUSTER_BYTES
    if sparse:
        return on_host
    return max(on_host, -(-status.st_size // CLUSTER_BYTES) * CLUSTER_BYTES)


def fill(node: Node, private: HostNode, status: os.stat_result, path: bytes) -> None:
    """Bring the Node up to what the host says."""
    meta = xattrs.unpack_meta(xattrs.get(path, xattrs.META))
    is_directory = stat.S_ISDIR(status.st_mode)
    written = xattrs.filetime_of(status.st_mtime_ns)
    changed = xattrs.filetime_of(status.st_ctime_ns)
    if meta is None:
        bits = 0 if is_directory else FILE_ATTRIBUTE_ARCHIVE
        if not status.st_mode & 0o222:
            bits |= FILE_ATTRIBUTE_READONLY
        created = min(written, changed)
    else:
        bits, created, changed = meta
    node.attributes = bits | (FILE_ATTRIBUTE_DIRECTORY if is_directory else 0)
    node.created = created
    node.accessed = xattrs.filetime_of(status.st_atime_ns)
    node.written = written
    node.changed_time = changed
    node.links = 1 if is_directory else status.st_nlink
    node.reparse_tag = 0
    if bits & FILE_ATTRIBUTE_REPARSE_POINT:
        node.reparse_tag = int.from_bytes(xattrs.get(path, xattrs.REPARSE)[:4], "little")
    node.ea_bytes = 0
    if meta is not None and bits & HAS_EAS:
        node.ea_bytes = ea_size(xattrs.get(path, xattrs.EAS))
    node.attributes &= ~HAS_EAS
    data = node.data
    if data is not None:
        data.size_bytes = data.valid_bytes = status.st_size
        data.allocated_bytes = allocated(status, bool(bits & 0x200))
    private.ctime_ns = status.st_ctime_ns
    private.metadata_stale = False


HAS_EAS = 0x80000000
"""Kept in the attribute bits of `user.sofs.meta` only, so that a listing reads the EA list of few files."""


def ea_size(packed: bytes) -> int:
    """EaSize as [MS-FSCC] 2.4.12 FileEaInformation counts it: the packed OS/2 list, 4 bytes of its own
    length first."""
    return len(packed) + 4 if packed else 0


def make_node(status: os.stat_result, private: HostNode) -> Node:
    node = Node(NodeId(status.st_ino), 0, 0, 0, 0, 0)
    if not stat.S_ISDIR(status.st_mode):
        node.data = Stream(node, "")
    node.private = private
    private.node = node
    return node


def host_error(error: OSError, what: str, path: bytes) -> StorageError:
    kind: type[StorageError] = DiskFailed  # EBADF: to write to what could be opened for reading alone
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.EBADF):
        kind = HostRefused
    elif error.errno in (errno.EMFILE, errno.ENFILE):
        kind = HostExhausted
    return kind(f"{what} {os.fsdecode(path)!r}: {error.strerror}")
