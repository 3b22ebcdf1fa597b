"""QUERY_DIRECTORY: a piece of a directory's listing.

Source: [MS-SMB2] 3.3.5.18 Receiving an SMB2 QUERY_DIRECTORY Request; [MS-FSA] 2.1.5.6.3 Query Directory Information;
[MS-FSCC] 2.4 File Information Classes (the directory ones).
Shape: entries are 8-byte aligned, NextEntryOffset 0 in the last. Short names are empty: the volumes generate none.
Cost: entries are packed straight into the reply, by one precompiled Struct per class; this is a hot path.
Limits: one reply holds at most LISTING_BYTES_MAX, so that one client's large listing does not hold up the others.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING

from smbproto.smb2.query_directory import (
    SMB2_REOPEN,
    SMB2_RESTART_SCANS,
    SMB2_RETURN_SINGLE_ENTRY,
    QueryDirectoryRequest,
)
from smbproto.status import Status, StatusError
from smbsrv.commands.payload import check_payload
from smbsrv.request import Reply, Request

if TYPE_CHECKING:
    from smbsrv.open import Open
    from storage.volume import DirectoryScan, Entry, File

LISTING_BYTES_MAX = 256 * 1024
PATTERN_CHARACTERS_MAX = 1024
FILE_LIST_DIRECTORY = 0x00000001
FILE_ATTRIBUTE_NORMAL = 0x80

_HEAD = Struct("<HHI")  # StructureSize (9), OutputBufferOffset, OutputBufferLength
_HEAD_BYTES = 8
_OFFSET = 64 + _HEAD_BYTES
_NEXT = Struct("<I")

# NextEntryOffset, FileIndex, four times, EndOfFile, AllocationSize, FileAttributes, FileNameLength; then by class:
_DIRECTORY = Struct("<IIQQQQQQII")
_FULL = Struct("<IIQQQQQQIII")  # EaSize
_ID_FULL = Struct("<IIQQQQQQIII4xQ")  # EaSize, FileId
_BOTH = Struct("<IIQQQQQQIII26x")  # EaSize, ShortNameLength, ShortName
_ID_BOTH = Struct("<IIQQQQQQIII26x2xQ")  # as before, FileId
_NAMES = Struct("<III")
_ID_EXTD = Struct("<IIQQQQQQIIIIQ8x")  # EaSize, ReparsePointTag, 128-bit FileId
_ID_64_EXTD = Struct("<IIQQQQQQIIIIQ")  # EaSize, ReparsePointTag, FileId
_ID_64_EXTD_BOTH = Struct("<IIQQQQQQIIIIQ26x")
_ID_ALL_EXTD = Struct("<IIQQQQQQIIIIQQ8x")  # FileId, FileId128
_ID_ALL_EXTD_BOTH = Struct("<IIQQQQQQIIIIQQ8x26x")

Packer = Callable[[bytearray, int, "Entry", int], None]


def _sizes(entry: Entry) -> tuple[int, int]:
    data = entry.node.data
    return (data.size_bytes, data.allocated_bytes) if data is not None else (0, 0)


def _ea_or_tag(entry: Entry) -> int:
    """[MS-FSCC] 2.4.8 FileBothDirectoryInformation: EaSize holds the reparse tag of a reparse point."""
    node = entry.node
    return node.reparse_tag or node.ea_bytes


def _directory(into: bytearray, at: int, entry: Entry, name_bytes: int) -> None:
    """FileDirectoryInformation."""
    n = entry.node
    size, allocated = _sizes(entry)
    _DIRECTORY.pack_into(
        into, at, 0, 0, n.created, n.accessed, n.written, n.changed_time, size, allocated,
        n.attributes or FILE_ATTRIBUTE_NORMAL, name_bytes)  # fmt: skip


def _with_ea(layout: Struct) -> Packer:
    """FileFullDirectoryInformation, FileBothDirectoryInformation."""

    def pack(into: bytearray, at: int, entry: Entry, name_bytes: int) -> None:
        n = entry.node
        size, allocated = _sizes(entry)
        layout.pack_into(
            into, at, 0, 0, n.created, n.accessed, n.written, n.changed_time, size, allocated,
            n.attributes or FILE_ATTRIBUTE_NORMAL, name_bytes, _ea_or_tag(entry))  # fmt: skip

    return pack


def _with_id(layout: Struct) -> Packer:
    """FileIdFullDirectoryInformation, FileIdBothDirectoryInformation."""
    pack_into = layout.pack_into

    def pack(into: bytearray, at: int, entry: Entry, name_bytes: int) -> None:
        n = entry.node
        data = n.data
        if data is None:
            size = allocated = 0
        else:
            size, allocated = data.size_bytes, data.allocated_bytes
        pack_into(
            into, at, 0, 0, n.created, n.accessed, n.written, n.changed_time, size, allocated,
            n.attributes or FILE_ATTRIBUTE_NORMAL, name_bytes, n.reparse_tag or n.ea_bytes, n.id)  # fmt: skip

    return pack


def _with_tag(layout: Struct, ids: int) -> Packer:
    """FileIdExtdDirectoryInformation and its kin: EaSize, ReparsePointTag, then the id `ids` times."""

    def pack(into: bytearray, at: int, entry: Entry, name_bytes: int) -> None:
        n = entry.node
        size, allocated = _sizes(entry)
        layout.pack_into(
            into, at, 0, 0, n.created, n.accessed, n.written, n.changed_time, size, allocated,
            n.attributes or FILE_ATTRIBUTE_NORMAL, name_bytes, n.ea_bytes, n.reparse_tag, *(n.id,) * ids)  # fmt: skip

    return pack


def _names(into: bytearray, at: int, entry: Entry, name_bytes: int) -> None:
    """FileNamesInformation."""
    _NAMES.pack_into(into, at, 0, 0, name_bytes)


CLASSES: dict[int, tuple[int, Packer]] = {
    1: (_DIRECTORY.size, _directory),
    2: (_FULL.size, _with_ea(_FULL)),
    3: (_BOTH.size, _with_ea(_BOTH)),
    12: (_NAMES.size, _names),
    37: (_ID_BOTH.size, _with_id(_ID_BOTH)),
    38: (_ID_FULL.size, _with_id(_ID_FULL)),
    60: (_ID_EXTD.size, _with_tag(_ID_EXTD, 1)),
    78: (_ID_64_EXTD.size, _with_tag(_ID_64_EXTD, 1)),
    79: (_ID_64_EXTD_BOTH.size, _with_tag(_ID_64_EXTD_BOTH, 1)),
    80: (_ID_ALL_EXTD.size, _with_tag(_ID_ALL_EXTD, 2)),
    81: (_ID_ALL_EXTD_BOTH.size, _with_tag(_ID_ALL_EXTD_BOTH, 2)),
}


async def handle(request: Request) -> Reply | bytes:
    """[MS-SMB2] 3.3.5.18 Receiving an SMB2 QUERY_DIRECTORY Request."""
    message = QueryDirectoryRequest.decode_untrusted(request.message)
    opened = request.open_of(*message.file_id)
    if not opened.is_persistent:
        opened.is_replay_eligible = False
    file = opened.file
    if file is None or not file.is_directory or file.stream is not None:
        raise StatusError(Status.INVALID_PARAMETER, "not an open of a directory")
    check_payload(request, message.output_buffer_length)
    known = CLASSES.get(message.file_information_class)
    if known is None:
        raise StatusError(Status.INVALID_INFO_CLASS, f"class {message.file_information_class} lists nothing")
    if not file.granted_access & FILE_LIST_DIRECTORY:
        raise StatusError(Status.ACCESS_DENIED, "the open may not list")
    # [MS-FSA] 2.1.5.6.3.1: a buffer that is too small for the fixed part of one entry.
    fixed, pack = known
    room = message.output_buffer_length
    if room < fixed:
        raise StatusError(Status.INFO_LENGTH_MISMATCH, f"{room} bytes hold no entry of class "
                          f"{message.file_information_class}")  # fmt: skip
    scan = _scan_of(opened, file, message.file_name, message.flags)
    single = bool(message.flags & SMB2_RETURN_SINGLE_ENTRY)
    return _list(opened, scan, min(room, LISTING_BYTES_MAX), fixed, pack, single)


def _scan_of(opened: Open, file: File, pattern: str, flags: int) -> DirectoryScan:
    """The open's cursor. A pattern given with RESTART_SCANS or REOPEN replaces the first one."""
    if "\\" in pattern or "/" in pattern or len(pattern) > PATTERN_CHARACTERS_MAX:
        raise StatusError(Status.OBJECT_NAME_INVALID, f"no pattern of one component: {pattern[:80]!r}")
    restart = bool(flags & (SMB2_RESTART_SCANS | SMB2_REOPEN))
    if not opened.is_listing:
        opened.is_listing = True
        opened.has_listed = False
        return file.scan(pattern or "*", True, True)
    if restart and pattern:
        return file.scan(pattern, True, True)
    return file.scan(pattern or "*", restart, False)


def _list(opened: Open, scan: DirectoryScan, room: int, fixed: int, pack: Packer, single: bool) -> Reply | bytearray:
    """Entries until the room is used up, or one."""
    limit = _HEAD_BYTES + room
    out = bytearray(limit)
    at = last = _HEAD_BYTES
    end = 0
    following = scan.next
    while (entry := following()) is not None:
        name = entry.name.encode("utf-16-le", "surrogatepass")
        name_bytes = len(name)
        stop = at + fixed + name_bytes
        if stop > limit:
            if end:
                scan.unread(entry)
                break
            return _cut(opened, out, entry, fixed, pack, name)
        pack(out, at, entry, name_bytes)
        out[at + fixed : stop] = name
        if end:
            _NEXT.pack_into(out, last, at - last)
        last = at
        end = stop
        if single:
            break
        at = stop + 7 & ~7
    if not end:
        # [MS-FSA] 2.1.5.6.3: NO_SUCH_FILE if the first query of this open finds nothing.
        first = not opened.has_listed
        opened.has_listed = True
        raise StatusError(Status.NO_SUCH_FILE if first else Status.NO_MORE_FILES)
    opened.has_listed = True
    del out[end:]
    _HEAD.pack_into(out, 0, 9, _OFFSET, end - _HEAD_BYTES)
    return out


def _cut(opened: Open, out: bytearray, entry: Entry, fixed: int, pack: Packer, name: bytes) -> Reply:
    """The first entry's name does not fit: as much of it as does, and the cursor moves on."""
    opened.has_listed = True
    pack(out, _HEAD_BYTES, entry, len(name))
    out[_HEAD_BYTES + fixed :] = name[: len(out) - _HEAD_BYTES - fixed]
    _HEAD.pack_into(out, 0, 9, _OFFSET, len(out) - _HEAD_BYTES)
    return Reply(out, Status.BUFFER_OVERFLOW)
