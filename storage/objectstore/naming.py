"""Names of an open's file: what it is called, renaming, linking, marking for deletion.

Sources: [MS-FSA] 2.1.5.15.11 FileRenameInformation; 2.1.5.15.6 FileLinkInformation; 2.1.5.15.3
FileDispositionInformation; 2.1.4.2 Algorithm for Detecting If Open Files Exist Under a Directory;
[MS-FSCC] 2.4.13 FileDispositionInformationEx. An operation that takes a name away first takes HANDLE
caching from the others, and waits until they have let go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from smbproto import dtyp, fscc
from smbproto.status import Status, StatusError
from storage.errors import StorageError
from storage.fs.port import Entry, Node, Stream
from storage.objectstore import caching, data
from storage.objectstore.errors import status_error
from storage.objectstore.names import DATA, UNSPECIFIED, parse_path, parse_stream
from storage.objectstore.state import Blocked, NodeState, StreamState, state_of
from storage.objectstore.walk import DEPTH_MAX, is_below

if TYPE_CHECKING:
    from storage.objectstore.file import OpenFile

LINKS_MAX: Final = 1024
"""[MS-FSCC] 2.4.23 FileLinkInformation: NTFS allows 1,023 links besides the first."""

FILE_NAME_NOTICE: Final = fscc.FILE_NOTIFY_CHANGE_FILE_NAME
DIR_NAME_NOTICE: Final = fscc.FILE_NOTIFY_CHANGE_DIR_NAME


def name_notice(node: Node) -> int:
    return DIR_NAME_NOTICE if node.attributes & fscc.FILE_ATTRIBUTE_DIRECTORY else FILE_NAME_NOTICE


def name_of(file: OpenFile) -> str:
    """Relative to the share's root, with a leading backslash and the stream's name."""
    suffix = f":{file.stream.name}" if file.stream is not None and file.stream.name else ""
    if file.node is file.root:
        return "\\" + suffix
    link = file.came_by
    parts = [link.name]
    directory = link.directory
    fs = file.volume.fs
    while directory is not None and directory.id != file.root.id and len(parts) < DEPTH_MAX:
        above = fs.names(directory)
        if not above:
            break
        directory, name = above[0]
        parts.append(name)
    return "\\" + "\\".join(reversed(parts)) + suffix


def link_count(file: OpenFile) -> int:
    pending = sum(1 for link in file.node_state.links if link.delete_pending and not link.is_gone)
    return max(0, file.node.links - pending)


def break_handles(file: OpenFile, state: StreamState) -> None:
    """Take HANDLE caching from all others of a stream. Raises Blocked until they have let go."""
    if state.caching is not None:
        mine = file.holder if state is file.state else None
        if file.volume.breaks.start(state.caching.check(caching.CHANGE_NAME, mine), state):
            raise Blocked(state)


def _check_open(file: OpenFile) -> None:
    if file.is_closed:
        raise StatusError(Status.FILE_CLOSED)


# deletion


async def set_disposition(file: OpenFile, flags: int) -> None:
    file.require(dtyp.DELETE)
    if flags & fscc.FILE_DISPOSITION_ON_CLOSE:
        file.delete_on_close = bool(flags & fscc.FILE_DISPOSITION_DELETE)
        return
    if not flags & fscc.FILE_DISPOSITION_DELETE:
        file.came_by.delete_pending = False
        file.state.delete_pending = False
        return
    await file.volume.breaks.until(lambda: _mark_pending(file, flags))


def _mark_pending(file: OpenFile, flags: int) -> None:
    _check_open(file)
    _check_deletable(file, bool(flags & fscc.FILE_DISPOSITION_IGNORE_READONLY_ATTRIBUTE))
    break_handles(file, file.state)
    file.volume.mark_deleted(file)
    if file.state is file.node_state.main:
        file.posix_delete = bool(flags & fscc.FILE_DISPOSITION_POSIX_SEMANTICS)


def _check_deletable(file: OpenFile, ignore_readonly: bool) -> None:
    node = file.node
    if node is file.volume.root or node is file.root:
        raise StatusError(Status.CANNOT_DELETE, "the root of a volume or share")
    if node.attributes & fscc.FILE_ATTRIBUTE_READONLY and not ignore_readonly:
        raise StatusError(Status.CANNOT_DELETE, "the file is read-only")
    if file.is_directory and not file.volume.fs.is_empty(node):
        raise StatusError(Status.DIRECTORY_NOT_EMPTY)


# rename and link


def _resolve_target(file: OpenFile, target: str) -> tuple[Node, str]:
    parsed = parse_path(target.removeprefix("\\"))
    if parsed.stream or parsed.type != UNSPECIFIED or not parsed.components:
        raise StatusError(Status.OBJECT_NAME_INVALID, f"{target!r} is not the name of a file")
    directory = file.root
    for name in parsed.components[:-1]:
        entry = file.volume.fs.lookup(directory, name)
        if entry is None or not entry.node.attributes & fscc.FILE_ATTRIBUTE_DIRECTORY:
            raise StatusError(Status.OBJECT_PATH_NOT_FOUND, f"no directory {name!r} on the way to {target!r}")
        directory = entry.node
    return directory, parsed.components[-1]


def _check_target_directory(file: OpenFile, directory: Node) -> None:
    """As the I/O manager opens a target directory: to add a name, sharing reading and writing."""
    needed = dtyp.FILE_ADD_SUBDIRECTORY if file.is_directory else dtyp.FILE_ADD_FILE
    volume = file.volume
    if not volume.maximal_access(directory, None, file.token, file.options) & needed:
        raise StatusError(Status.ACCESS_DENIED, "no name may be added to the target directory")
    state = state_of(directory)
    if any(link.delete_pending for link in state.links):
        raise StatusError(Status.DELETE_PENDING, "the target directory is being deleted")
    if state.main.conflicts(needed, fscc.FILE_SHARE_READ | fscc.FILE_SHARE_WRITE):
        break_handles(file, state.main)
    if state.main.conflicts(needed, fscc.FILE_SHARE_READ | fscc.FILE_SHARE_WRITE):
        raise StatusError(Status.SHARING_VIOLATION, "the target directory is open for deletion, or unshared")


def _opens_below(file: OpenFile) -> list[NodeState]:
    volume = file.volume
    return [
        state
        for state in volume.open_nodes.values()
        if state is not file.node_state
        and any(
            link.directory is not None and not link.is_gone and is_below(volume, link.directory, file.node)
            for link in state.links
        )
    ]


def _close_ways_below(file: OpenFile) -> None:
    """A directory moves only when nothing below it is open, after handle caching there is given up."""
    for state in _opens_below(file):
        for stream_state in state.all_streams():
            break_handles(file, stream_state)
    if _opens_below(file):
        raise StatusError(Status.ACCESS_DENIED, "a file below the directory is open")


def _make_way(file: OpenFile, entry: Entry, replace: bool, posix: bool) -> None:
    """The target name is taken: may it be replaced? Raises COLLISION, ACCESS_DENIED."""
    if not replace:
        raise StatusError(Status.OBJECT_NAME_COLLISION, f"{entry.name!r} exists")
    node = entry.node
    if node.attributes & fscc.FILE_ATTRIBUTE_DIRECTORY or node is file.node:
        raise StatusError(Status.ACCESS_DENIED, f"{entry.name!r} cannot be replaced")
    if node.attributes & fscc.FILE_ATTRIBUTE_READONLY:
        raise StatusError(Status.ACCESS_DENIED, f"{entry.name!r} is read-only")
    if file.is_directory:
        raise StatusError(Status.ACCESS_DENIED, "a directory does not replace a file")
    volume = file.volume
    if not volume.maximal_access(node, None, file.token, file.options) & dtyp.DELETE:
        parent = volume.fs.names(node)[0][0]
        if not volume.maximal_access(parent, None, file.token, file.options) & dtyp.FILE_DELETE_CHILD:
            raise StatusError(Status.ACCESS_DENIED, f"{entry.name!r} may not be deleted")
    if node.state is None:
        return
    state = state_of(node)
    for stream_state in state.all_streams():
        break_handles(file, stream_state)
    volume.purge_kept(state)
    if state.opens and not posix:
        raise StatusError(Status.ACCESS_DENIED, f"{entry.name!r} is open")


async def rename(file: OpenFile, target: str, replace: bool, posix: bool) -> None:
    file.require(dtyp.DELETE)
    if target.startswith(":"):
        name, kind = parse_stream(target[1:])
        if file.stream is None or not file.stream.name or kind != DATA:
            raise StatusError(Status.INVALID_PARAMETER, "only a named stream can be renamed to a stream")
        if name:
            _rename_stream(file, file.stream, name, replace)
        else:
            await _become_default(file, file.stream, replace)
        return
    await file.volume.breaks.until(lambda: _rename_file(file, target, replace, posix))


def _rename_file(file: OpenFile, target: str, replace: bool, posix: bool) -> None:
    """[MS-FSA] 2.1.5.15.11, in one go: nothing is changed before everything that can refuse was asked."""
    _check_open(file)
    if file.state is not file.node_state.main:
        status = Status.SHARING_VIOLATION if ":" in target else Status.INVALID_PARAMETER
        raise StatusError(status, "a stream is renamed within its file")
    volume, node, link = file.volume, file.node, file.came_by
    if link.directory is None or node is file.root:
        raise StatusError(Status.ACCESS_DENIED, "the root cannot be renamed")
    if link.is_gone or link.delete_pending:
        raise StatusError(Status.ACCESS_DENIED if link.is_gone else Status.DELETE_PENDING)
    directory, name = _resolve_target(file, target)
    if file.is_directory and is_below(volume, directory, node):
        raise StatusError(Status.INVALID_PARAMETER, "a directory cannot move below itself")
    _check_target_directory(file, directory)
    break_handles(file, file.state)
    if file.is_directory:
        _close_ways_below(file)
    existing = volume.fs.lookup(directory, name)
    is_same = (
        existing is not None
        and directory is link.directory
        and (volume.fs.fold(existing.name) == volume.fs.fold(link.name))
    )
    if existing is not None and not is_same:
        _make_way(file, existing, replace, posix)
        existing = volume.fs.lookup(directory, name)
    old_directory, old_name = link.directory, link.name
    try:
        volume.fs.rename(old_directory, old_name, directory, name)
    except StorageError as error:
        raise status_error(error) from error
    if existing is not None and not is_same:
        volume.name_replaced(existing.node, directory, existing.name)
    volume.fs.hold(directory)
    volume.fs.drop(old_directory)
    link.directory, link.name = directory, name
    _renamed(file, old_directory, old_name)


def _renamed(file: OpenFile, old_directory: Node, old_name: str) -> None:
    volume, node = file.volume, file.node
    directory, name = file.came_by.directory, file.came_by.name
    assert directory is not None
    node.changed_time = volume.runtime.filetime()
    if not file.is_directory:
        node.attributes = node.attributes & ~fscc.FILE_ATTRIBUTE_NORMAL | fscc.FILE_ATTRIBUTE_ARCHIVE
    volume.fs.changed(node)
    notice = name_notice(node)
    if old_directory is directory:
        volume.report_in(directory, old_name, notice, fscc.FILE_ACTION_RENAMED_OLD_NAME)
        volume.report_in(directory, name, notice, fscc.FILE_ACTION_RENAMED_NEW_NAME)
    else:
        volume.report_in(old_directory, old_name, notice, fscc.FILE_ACTION_REMOVED)
        volume.report_in(directory, name, notice, fscc.FILE_ACTION_ADDED)
        volume.content_changed(old_directory, file.parent_key)
    if not file.is_directory:
        # The archive attribute is set; as Windows, those hear of it who hear of no names.
        attributes, modified = fscc.FILE_NOTIFY_CHANGE_ATTRIBUTES, fscc.FILE_ACTION_MODIFIED
        volume.report_in(directory, name, attributes, modified, spared=notice)
    volume.content_changed(directory, file.parent_key)


def _rename_stream(file: OpenFile, stream: Stream, name: str, replace: bool) -> None:
    fs = file.volume.fs
    existing = fs.stream(file.node, name)
    if existing is not None and existing is not stream:
        if not replace:
            raise StatusError(Status.OBJECT_NAME_COLLISION, f"the stream {name!r} exists")
        if file.node_state.of(existing).opens:
            raise StatusError(Status.ACCESS_DENIED, f"the stream {name!r} cannot be replaced")
        file.node_state.named.pop(existing, None)
        fs.remove_stream(existing)
    old_name = stream.name
    try:
        fs.rename_stream(stream, name)
    except StorageError as error:
        raise status_error(error) from error
    volume = file.volume
    volume.report(file, fscc.FILE_NOTIFY_CHANGE_STREAM_NAME, fscc.FILE_ACTION_REMOVED_STREAM, suffix=old_name)
    volume.report(file, fscc.FILE_NOTIFY_CHANGE_STREAM_NAME, fscc.FILE_ACTION_ADDED_STREAM)


async def _become_default(file: OpenFile, stream: Stream, replace: bool) -> None:
    """A named stream takes the place of the default one: its bytes move, and this open, which is alone,
    with them."""
    default, state, main = file.node.data, file.state, file.node_state.main
    if default is None:
        raise StatusError(Status.INVALID_PARAMETER, "a directory has no default stream")
    if default.size_bytes and not replace:
        raise StatusError(Status.OBJECT_NAME_COLLISION, "the default stream has data")
    if main.sharers or len(state.opens) > 1 or file.holder is not None or state.locks is not None:
        raise StatusError(Status.ACCESS_DENIED, "the file is in use")
    volume = file.volume
    old_name = stream.name
    state.count(file.granted_access, file.share_access, -1)
    state.opens.remove(file)
    main.opens.append(file)
    main.count(file.granted_access, file.share_access, 1)
    file.state, file.stream = main, default
    try:
        await data.move(volume.fs, stream, default)
        file.node_state.named.pop(stream, None)
        volume.fs.remove_stream(stream)
    except StorageError as error:
        raise status_error(error) from error
    file.note_written(True)
    volume.report(file, fscc.FILE_NOTIFY_CHANGE_STREAM_NAME, fscc.FILE_ACTION_REMOVED_STREAM, suffix=old_name)


async def link(file: OpenFile, target: str, replace: bool) -> None:
    """A further name for a file."""
    await file.volume.breaks.until(lambda: _link_file(file, target, replace))


def _link_file(file: OpenFile, target: str, replace: bool) -> None:
    _check_open(file)
    volume, node = file.volume, file.node
    if file.is_directory:
        raise StatusError(Status.FILE_IS_A_DIRECTORY, "a directory has one name")
    if file.state is not file.node_state.main:
        raise StatusError(Status.INVALID_PARAMETER, "a stream has no links")
    if file.came_by.is_gone or file.came_by.delete_pending:
        raise StatusError(Status.ACCESS_DENIED, "the file is being deleted")
    if node.links >= LINKS_MAX:
        raise StatusError(Status.TOO_MANY_LINKS, f"{node.links} links")
    directory, name = _resolve_target(file, target)
    _check_target_directory(file, directory)
    existing = volume.fs.lookup(directory, name)
    if existing is not None:
        if existing.node is node and replace:
            return
        _make_way(file, existing, replace, posix=False)
        if volume.fs.lookup(directory, name) is existing:
            volume.remove_name(directory, existing.name, existing.node, file.parent_key)
    try:
        volume.fs.link(node, directory, name)
    except StorageError as error:
        raise status_error(error) from error
    node.changed_time = volume.runtime.filetime()
    volume.fs.changed(node)
    volume.report_in(directory, name, FILE_NAME_NOTICE, fscc.FILE_ACTION_ADDED)
    volume.content_changed(directory, file.parent_key)
