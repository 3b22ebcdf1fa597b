"""The way from the share's root to what a path names.

Sources: [MS-FSA] 2.1.5.1 Server Requests an Open of a File, Phase 6 Location of file; [MS-SMB2] 2.2.2.2.1
Symbolic Link Error Response; [MS-FSCC] 2.1.2.4 Symbolic Link Reparse Data Buffer.
Directories on the way are not checked for access: every user bypasses traverse checking, as in Windows. A
symbolic link is never followed here; the client is told where it leads. No I/O.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from smbproto import fscc
from smbproto.status import Status, StatusError, StoppedOnSymlink
from storage.fs.port import Node, NodeId
from storage.objectstore.names import ParsedPath, parse_path
from storage.objectstore.shortnames import find_by_short_name
from storage.volume import OpenRequest

if TYPE_CHECKING:
    from storage.objectstore.volume import ObjectStoreVolume

_DIRECTORY: Final = fscc.FILE_ATTRIBUTE_DIRECTORY
DEPTH_MAX: Final = 4096
"""Ours: no path is deeper, so a walk upwards ends."""


class Target(NamedTuple):
    """`directory` is None for the volume's root; `node` is None when nothing has the name. `name` is as
    stored, or as the client gave it when it is new. `root` is the share's."""

    root: Node
    directory: Node | None
    name: str
    node: Node | None


def is_below(volume: ObjectStoreVolume, node: Node, directory: Node) -> bool:
    """`node` is `directory` or lies below it."""
    for _ in range(DEPTH_MAX):
        if node.id == directory.id:
            return True
        above = volume.fs.names(node) if node is not volume.root else []
        if not above:
            return False
        node = above[0][0]
    return False


def symlink_error(buffer: bytes, unparsed: str) -> StatusError:
    """[MS-FSCC] 2.1.2.4. Another kind of reparse point cannot be walked through."""
    tag = int.from_bytes(buffer[:4], "little")
    if tag != fscc.IO_REPARSE_TAG_SYMLINK or len(buffer) < 20:
        return StatusError(Status.IO_REPARSE_TAG_NOT_HANDLED, f"the reparse tag {tag:#x}")
    substitute_at, substitute_len, print_at, print_len, flags = struct.unpack_from("<HHHHI", buffer, 8)
    names = buffer[20:]
    substitute = names[substitute_at : substitute_at + substitute_len].decode("utf-16-le", "surrogatepass")
    printed = names[print_at : print_at + print_len].decode("utf-16-le", "surrogatepass")
    return StoppedOnSymlink(
        substitute, printed, relative=bool(flags & fscc.SYMLINK_FLAG_RELATIVE),
        unparsed_path_length_bytes=len(unparsed.encode("utf-16-le", "surrogatepass")),
    )  # fmt: skip


def _root(volume: ObjectStoreVolume, path: str) -> tuple[Node | None, str, Node]:
    """The share's directory: (its directory, its name, itself)."""
    fs = volume.fs
    node = volume.root
    directory: Node | None = None
    name = ""
    for component in parse_path(path).components:
        entry = fs.lookup(node, component)
        if entry is None or not entry.node.attributes & _DIRECTORY:
            raise StatusError(Status.OBJECT_PATH_NOT_FOUND, f"the share's directory {path!r} is gone")
        directory, name, node = node, entry.name, entry.node
    return directory, name, node


def find(volume: ObjectStoreVolume, request: OpenRequest, parsed: ParsedPath) -> Target:
    """Raises OBJECT_PATH_NOT_FOUND, StoppedOnSymlink, IO_REPARSE_TAG_NOT_HANDLED."""
    if request.options & fscc.FILE_OPEN_BY_FILE_ID:
        return _find_by_id(volume, request)
    fs = volume.fs
    above, name, root = _root(volume, request.root) if request.root else (None, "", volume.root)
    components = parsed.components
    if not components:
        return Target(root, above, name, root)
    directory = root
    last = len(components) - 1
    for index, component in enumerate(components):
        entry = fs.lookup(directory, component)
        if entry is None and "~" in component:
            entry = find_by_short_name(fs, directory, component)
        if entry is None:
            if index < last:
                raise StatusError(Status.OBJECT_PATH_NOT_FOUND, f"no {component!r} in {request.path!r}")
            return Target(root, directory, component, None)
        node = entry.node
        if node.reparse_tag and (
            index < last
            or not (request.options & fscc.FILE_OPEN_REPARSE_POINT or request.disposition == fscc.FILE_CREATE)
        ):
            unparsed = "".join("\\" + name for name in components[index + 1 :])
            raise symlink_error(fs.reparse(node), unparsed)
        if index == last:
            return Target(root, directory, entry.name, node)
        if not node.attributes & _DIRECTORY:
            raise StatusError(Status.OBJECT_PATH_NOT_FOUND, f"{component!r} in {request.path!r} is a file")
        directory = node
    raise AssertionError("a path of components has a last one")


def _find_by_id(volume: ObjectStoreVolume, request: OpenRequest) -> Target:
    """FILE_OPEN_BY_FILE_ID: the path is the 64-bit file id, in little-endian bytes as UTF-16 code units."""
    raw = request.path.encode("utf-16-le", "surrogatepass")
    if len(raw) != 8:
        raise StatusError(Status.INVALID_PARAMETER, f"a file id of {len(raw)} bytes")
    fs = volume.fs
    node = fs.node(NodeId(int.from_bytes(raw, "little")))
    if node is None:
        raise StatusError(Status.INVALID_PARAMETER, "no file has this id")
    root = _root(volume, request.root)[2]
    if root is not volume.root and not is_below(volume, node, root):
        raise StatusError(Status.INVALID_PARAMETER, "the file lies outside of the share")
    names = fs.names(node)
    directory, name = names[0] if names else (None, "")
    return Target(root, directory, name, node)
