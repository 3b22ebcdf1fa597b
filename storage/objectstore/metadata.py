"""Attributes, times, EAs, descriptors, reparse points and object ids of an open's file.

Sources: [MS-FSA] 2.1.5.15.2 FileBasicInformation; 2.1.5.15.5 FileFullEaInformation; 2.1.5.14 Server
Requests a Query of Security Information; 2.1.5.17 Server Requests Setting of Security Information;
2.1.5.10.36 FSCTL_SET_SPARSE; 2.1.5.10.35 FSCTL_SET_REPARSE_POINT; 2.1.5.10.7 FSCTL_DELETE_REPARSE_POINT;
2.1.5.10.1 FSCTL_CREATE_OR_GET_OBJECT_ID; 2.1.5.10.33 FSCTL_SET_OBJECT_ID; [MS-FSCC] 2.4.7
FileBasicInformation <- the meaning of -1 and -2; 2.4.16 FileFullEaInformation. Times are FILETIME.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from smbproto import dtyp, fscc
from smbproto.status import Status, StatusError
from storage.errors import StorageError
from storage.fs.port import ExtendedAttribute, Node
from storage.objectstore import access
from storage.objectstore.errors import status_error

if TYPE_CHECKING:
    from storage.objectstore.file import OpenFile

SETTABLE: Final = (
    fscc.FILE_ATTRIBUTE_READONLY | fscc.FILE_ATTRIBUTE_HIDDEN | fscc.FILE_ATTRIBUTE_SYSTEM |
    fscc.FILE_ATTRIBUTE_ARCHIVE | fscc.FILE_ATTRIBUTE_TEMPORARY | fscc.FILE_ATTRIBUTE_OFFLINE |
    fscc.FILE_ATTRIBUTE_NOT_CONTENT_INDEXED
)  # fmt: skip
ACCESS_TIME_GRAIN: Final = 3600 * 10_000_000
"""As NTFS: last access is kept to the hour, and written when the open closes."""
EA_NAME_RESERVED: Final = frozenset(b'\\/:*?"<>|,+=[];') | frozenset(range(0x20))
EAS_BYTES_MAX: Final = 0xFFFF
"""[MS-FSCC] 2.4.12 FileEaInformation: NTFS keeps at most 64 KiB of EAs of a file."""
EA_NAME_BYTES_MAX: Final = 254
REPARSE_BYTES_MAX: Final = 16 * 1024
"""[MS-FSCC] 2.1.2.2 REPARSE_DATA_BUFFER: MAXIMUM_REPARSE_DATA_BUFFER_SIZE."""

STICKY_CREATED: Final = 1
STICKY_ACCESSED: Final = 2
STICKY_WRITTEN: Final = 4
STICKY_CHANGED: Final = 8
_NOTICES: Final = {
    STICKY_CREATED: fscc.FILE_NOTIFY_CHANGE_CREATION, STICKY_ACCESSED: fscc.FILE_NOTIFY_CHANGE_LAST_ACCESS,
    STICKY_WRITTEN: fscc.FILE_NOTIFY_CHANGE_LAST_WRITE, STICKY_CHANGED: 0,
}  # fmt: skip


def normal(attributes: int) -> int:
    """NORMAL stands alone, and only for a file with no other attribute."""
    attributes &= ~fscc.FILE_ATTRIBUTE_NORMAL
    return attributes or fscc.FILE_ATTRIBUTE_NORMAL


def changed(file: OpenFile, notice: int, *, archive: bool = False, keeps_time: bool = False) -> None:
    """The file's metadata changed: change time, the file system, those who watch, those who cache the
    directory."""
    node = file.node
    if not keeps_time and not file.sticky & STICKY_CHANGED:
        node.changed_time = file.volume.runtime.filetime()
    if archive and not node.attributes & fscc.FILE_ATTRIBUTE_DIRECTORY:
        node.attributes = normal(node.attributes | fscc.FILE_ATTRIBUTE_ARCHIVE)
    file.volume.fs.changed(node)
    if file.volume.watch_count and notice:
        file.volume.report(file, notice, fscc.FILE_ACTION_MODIFIED)
    file.volume.directory_changed(file)


def note_read(file: OpenFile) -> None:
    """Last access, to the hour, when an open that read closes."""
    node = file.node
    now = file.volume.runtime.filetime()
    if now - node.accessed > ACCESS_TIME_GRAIN and not file.sticky & STICKY_ACCESSED:
        node.accessed = now
        file.volume.fs.changed(node)


def set_basic(
    file: OpenFile, created: int, accessed: int, written: int, changed_time: int, attributes: int
) -> None:
    file.require(dtyp.FILE_WRITE_ATTRIBUTES)
    file.settle_write_time()
    node = file.node
    times = (created, accessed, written, changed_time)
    if min(times) < -2:
        raise StatusError(Status.INVALID_PARAMETER, f"the times {times}")
    if attributes & fscc.FILE_ATTRIBUTE_DIRECTORY and not file.is_directory:
        raise StatusError(Status.INVALID_PARAMETER, "a file cannot become a directory")
    if attributes & fscc.FILE_ATTRIBUTE_TEMPORARY and file.is_directory:
        raise StatusError(Status.INVALID_PARAMETER, "a directory cannot be temporary")
    notice = 0
    for bit, value in zip(
        (STICKY_CREATED, STICKY_ACCESSED, STICKY_WRITTEN, STICKY_CHANGED), times, strict=True
    ):
        if value == -2:
            file.sticky &= ~bit
        elif value:
            file.sticky |= bit
            if value > 0:
                notice |= _NOTICES[bit]
    node.created = created if created > 0 else node.created
    node.accessed = accessed if accessed > 0 else node.accessed
    node.written = written if written > 0 else node.written
    if attributes:
        new = normal(node.attributes & ~SETTABLE | attributes & SETTABLE)
        if new != node.attributes:
            notice |= fscc.FILE_NOTIFY_CHANGE_ATTRIBUTES
            node.attributes = new
    if changed_time > 0:
        node.changed_time = changed_time
    changed(file, notice, keeps_time=changed_time != 0)


def set_sparse(file: OpenFile, sparse: bool) -> None:
    if file.stream is None:
        raise StatusError(Status.INVALID_PARAMETER, "a directory cannot be sparse")
    file.require(dtyp.FILE_WRITE_DATA | dtyp.FILE_WRITE_ATTRIBUTES | dtyp.FILE_APPEND_DATA)
    node = file.node
    if bool(node.attributes & fscc.FILE_ATTRIBUTE_SPARSE_FILE) == sparse:
        return
    node.attributes = normal(node.attributes ^ fscc.FILE_ATTRIBUTE_SPARSE_FILE)
    changed(file, fscc.FILE_NOTIFY_CHANGE_ATTRIBUTES, archive=True)


# extended attributes


def merge_eas(old: Sequence[ExtendedAttribute], new: Sequence[ExtendedAttribute]) -> list[ExtendedAttribute]:
    """[MS-FSA] 2.1.5.15.5: a value of b"" removes; a name that is there keeps its place, and takes the
    new case."""
    merged = {ea.name.upper(): ea for ea in old}
    for ea in new:
        if not ea.name or len(ea.name) > EA_NAME_BYTES_MAX or not EA_NAME_RESERVED.isdisjoint(ea.name):
            raise StatusError(Status.INVALID_EA_NAME, f"the EA name {ea.name!r}")
        if ea.flags & ~0x80:
            raise StatusError(Status.INVALID_EA_FLAG, f"the EA flags {ea.flags:#x}")
        if ea.value:
            merged[ea.name.upper()] = ea
        else:
            merged.pop(ea.name.upper(), None)
    size = sum(5 + len(ea.name) + len(ea.value) for ea in merged.values())
    if size > EAS_BYTES_MAX:
        raise StatusError(Status.EA_TOO_LARGE, f"{size} bytes of EAs; at most {EAS_BYTES_MAX}")
    return list(merged.values())


def set_eas(file: OpenFile, eas: Sequence[ExtendedAttribute]) -> None:
    file.require(dtyp.FILE_WRITE_EA)
    fs = file.volume.fs
    merged = merge_eas(fs.eas(file.node), eas)
    if merged and file.node.reparse_tag:
        raise StatusError(Status.EAS_NOT_SUPPORTED, "a reparse point has no EAs")
    try:
        fs.set_eas(file.node, merged)
    except StorageError as error:
        raise status_error(error) from error
    changed(file, fscc.FILE_NOTIFY_CHANGE_EA, archive=True)


# security


def security(file: OpenFile, information: int) -> bytes:
    needed = access.needed_to_query(information)
    if file.granted_access & needed != needed:
        raise StatusError(Status.ACCESS_DENIED, f"{file.granted_access:#x} lacks {needed:#x}")
    return access.parts(file.volume.descriptor(file.node), information)


def set_security(file: OpenFile, information: int, descriptor: bytes) -> None:
    needed = access.needed_to_set(information)
    if file.granted_access & needed != needed:
        raise StatusError(Status.ACCESS_DENIED, f"{file.granted_access:#x} lacks {needed:#x}")
    volume = file.volume
    merged = access.merge(volume.descriptor(file.node), information, descriptor, file.token)
    try:
        volume.fs.set_security(file.node, merged)
    except StorageError as error:
        raise status_error(error) from error
    volume.descriptor_changed(file.node, merged)
    changed(file, fscc.FILE_NOTIFY_CHANGE_SECURITY)


# reparse points


def reparse(file: OpenFile) -> bytes:
    buffer = file.volume.fs.reparse(file.node)
    if not buffer:
        raise StatusError(Status.NOT_A_REPARSE_POINT)
    return buffer


def _tag(buffer: bytes) -> int:
    """Checks [MS-FSCC] 2.1.2.2 REPARSE_DATA_BUFFER and 2.1.2.3 REPARSE_GUID_DATA_BUFFER."""
    if not 8 <= len(buffer) <= REPARSE_BYTES_MAX:
        raise StatusError(Status.IO_REPARSE_DATA_INVALID, f"{len(buffer)} bytes of reparse data")
    tag, length = struct.unpack_from("<IH", buffer)
    header = 8 if tag & fscc.REPARSE_TAG_MICROSOFT_BIT else 24
    if length != len(buffer) - header:
        raise StatusError(Status.IO_REPARSE_DATA_INVALID, f"{length} bytes of data in {len(buffer)}")
    if tag in (0, 1, 2):
        raise StatusError(Status.IO_REPARSE_TAG_INVALID, f"the reparse tag {tag:#x} is reserved")
    return int(tag)


def _check_mismatch(old: bytes, new: bytes, tag: int) -> None:
    if int.from_bytes(old[:4], "little") != tag:
        raise StatusError(Status.IO_REPARSE_TAG_MISMATCH, f"the file's reparse tag is not {tag:#x}")
    if not tag & fscc.REPARSE_TAG_MICROSOFT_BIT and old[8:24] != new[8:24]:
        raise StatusError(Status.REPARSE_ATTRIBUTE_CONFLICT, "another GUID owns the reparse point")


def set_reparse(file: OpenFile, buffer: bytes) -> None:
    file.require(dtyp.FILE_WRITE_DATA | dtyp.FILE_WRITE_ATTRIBUTES)
    tag = _tag(buffer)
    node, fs = file.node, file.volume.fs
    old = fs.reparse(node)
    if old:
        _check_mismatch(old, buffer, tag)
    if file.is_directory and not fs.is_empty(node):
        raise StatusError(Status.DIRECTORY_NOT_EMPTY)
    if node.ea_bytes:
        raise StatusError(Status.EAS_NOT_SUPPORTED, "a file with EAs cannot be a reparse point")
    try:
        fs.set_reparse(node, tag, bytes(buffer))
    except StorageError as error:
        raise status_error(error) from error
    node.attributes = normal(node.attributes)
    changed(file, fscc.FILE_NOTIFY_CHANGE_ATTRIBUTES, archive=True)


def delete_reparse(file: OpenFile, buffer: bytes) -> None:
    file.require(dtyp.FILE_WRITE_DATA | dtyp.FILE_WRITE_ATTRIBUTES)
    tag = _tag(buffer)
    node, fs = file.node, file.volume.fs
    old = fs.reparse(node)
    if not old:
        raise StatusError(Status.NOT_A_REPARSE_POINT)
    _check_mismatch(old, buffer, tag)
    fs.set_reparse(node, 0, b"")
    node.attributes = normal(node.attributes)
    changed(file, fscc.FILE_NOTIFY_CHANGE_ATTRIBUTES, archive=True)


# object ids


def object_id(file: OpenFile, create: bool) -> bytes:
    volume = file.volume
    found = volume.fs.object_id(file.node)
    if found:
        return found
    if not create:
        raise StatusError(Status.OBJECTID_NOT_FOUND)
    new = volume.runtime.random_bytes(16)
    found = new + volume.identity.object_id[:16].ljust(16, b"\0") + new + bytes(16)
    volume.fs.set_object_id(file.node, found)
    changed(file, 0)
    return found


def _require_restore(file: OpenFile) -> Node:
    if "SeRestorePrivilege" not in file.token.privileges:
        raise StatusError(Status.ACCESS_DENIED, "an object id is set with SeRestorePrivilege")
    return file.node


def set_object_id(file: OpenFile, new: bytes) -> None:
    node, fs = _require_restore(file), file.volume.fs
    if len(new) != 64:
        raise StatusError(Status.INVALID_PARAMETER, f"an object id of {len(new)} bytes")
    if fs.object_id(node):
        raise StatusError(Status.OBJECTID_EXISTS)
    if fs.find_object_id(new) is not None:
        raise StatusError(Status.DUPLICATE_OBJECTID)
    fs.set_object_id(node, new)
    changed(file, 0)


def delete_object_id(file: OpenFile) -> None:
    file.require(dtyp.FILE_WRITE_DATA | dtyp.FILE_WRITE_ATTRIBUTES)
    if file.volume.fs.object_id(file.node):
        file.volume.fs.set_object_id(file.node, b"")
        changed(file, 0)
