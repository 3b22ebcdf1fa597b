"""QUERY_DIRECTORY: a piece of a directory's listing.

Source: [MS-SMB2] 3.3.5.18 Receiving an SMB2 QUERY_DIRECTORY Request; [MS-FSA] 2.1.5.6.3 Query Directory
Information; [MS-FSCC] 2.4 File Information Classes (the directory ones).
Shape: entries are 8-byte aligned, NextEntryOffset 0 in the last. Short names are empty: the volumes generate
none. Cost: entries are packed straight into the reply, by one precompiled Struct per class; this is a hot
path. Limits: one reply holds at most LISTING_BYTES_MAX, so that one client's large listing does not hold up
the others.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING

from smbproto.dtyp import FILE_GENERIC_READ, FILE_LIST_DIRECTORY, SYNCHRONIZE
from smbproto.fscc import FILE_ATTRIBUTE_NORMAL, FILE_NAMES_INFORMATION
from smbproto.fscc.directory import LAYOUTS, NAMES, Layout
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
    from storage.volume import DirectoryScan, Entry, File, Node

LISTING_BYTES_MAX = 256 * 1024
PATTERN_CHARACTERS_MAX = 1024

READABLE = FILE_GENERIC_READ & ~SYNCHRONIZE

_HEAD = Struct("<HHI")  # StructureSize (9), OutputBufferOffset, OutputBufferLength
_HEAD_BYTES = 8
_OFFSET = 64 + _HEAD_BYTES
_NEXT = Struct("<I")

Packer = Callable[[bytearray, int, "Entry", int, "DirectoryScan"], None]

# What stands between FileNameLength and the name, by the fields of the class's layout. EaSize holds the
# reparse tag of a reparse
# point, where the class has no field for it ([MS-FSCC] 2.4.8 FileBothDirectoryInformation). A short
# name's length, reserved byte and 24 bytes are made of `s`; the struct pads the name.
_EXTRAS: dict[tuple[str, ...], Callable[[Node, bytes], tuple[int | bytes, ...]]] = {
    (): lambda n, s: (),
    ("ea_size",): lambda n, s: (n.reparse_tag or n.ea_bytes,),
    ("ea_size", "short_name"): lambda n, s: (n.reparse_tag or n.ea_bytes, len(s), 0, s),
    ("ea_size", "file_id"): lambda n, s: (n.reparse_tag or n.ea_bytes, n.id),
    ("ea_size", "short_name", "file_id"): lambda n, s: (n.reparse_tag or n.ea_bytes, len(s), 0, s, n.id),
    ("ea_size", "reparse_tag", "file_id_128"): lambda n, s: (
        n.ea_bytes, n.reparse_tag, n.id.to_bytes(16, "little")),
    ("ea_size", "reparse_tag", "file_id"): lambda n, s: (n.ea_bytes, n.reparse_tag, n.id),
    ("ea_size", "reparse_tag", "file_id", "short_name"): lambda n, s: (
        n.ea_bytes, n.reparse_tag, n.id, len(s), 0, s),
    ("ea_size", "reparse_tag", "file_id", "file_id_128"): lambda n, s: (
        n.ea_bytes, n.reparse_tag, n.id, n.id.to_bytes(16, "little")),
    ("ea_size", "reparse_tag", "file_id", "file_id_128", "short_name"): lambda n, s: (
        n.ea_bytes, n.reparse_tag, n.id, n.id.to_bytes(16, "little"), len(s), 0, s),
}  # fmt: skip


def _packer(layout: Layout) -> Packer:
    """Writes one entry's fixed part, NextEntryOffset 0."""
    pack_into, extras = layout.struct.pack_into, _EXTRAS[layout.extras]
    has_short_name = "short_name" in layout.extras

    def pack(into: bytearray, at: int, entry: Entry, name_bytes: int, scan: DirectoryScan) -> None:
        n = entry.node
        data = n.data
        if data is None:
            size = allocated = 0
        else:
            size, allocated = data.size_bytes, data.allocated_bytes
        short = scan.short_name(entry).encode("utf-16-le") if has_short_name else b""
        pack_into(
            into, at, 0, 0, n.created, n.accessed, n.written, n.changed_time, size, allocated,
            n.attributes or FILE_ATTRIBUTE_NORMAL, name_bytes, *extras(n, short))  # fmt: skip

    return pack


def _pack_name(into: bytearray, at: int, entry: Entry, name_bytes: int, scan: DirectoryScan) -> None:
    """FileNamesInformation."""
    NAMES.pack_into(into, at, 0, 0, name_bytes)


CLASSES: dict[int, tuple[int, Packer]] = {
    **{number: (layout.struct.size, _packer(layout)) for number, layout in LAYOUTS.items()},
    FILE_NAMES_INFORMATION: (NAMES.size, _pack_name),
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
    following = scan.next
    if request.tree is not None and request.tree.share.access_based_enumeration:
        following = _readable(request, file, scan)
    return _list(opened, scan, following, min(room, LISTING_BYTES_MAX), fixed, pack, single)


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


def _readable(request: Request, file: File, scan: DirectoryScan) -> Callable[[], Entry | None]:
    """The entries that the user may read: [MS-SMB2] 3.3.5.18, Share.DoAccessBasedDirectoryEnumeration."""
    session, granted_to = request.session, file.volume.granted_to
    assert session is not None and session.token is not None
    token = session.token

    def following() -> Entry | None:
        while (entry := scan.next()) is not None:
            if entry.name in (".", "..") or granted_to(entry.node, token) & READABLE == READABLE:
                return entry
        return None

    return following


def _list(
    opened: Open,
    scan: DirectoryScan,
    following: Callable[[], Entry | None],
    room: int,
    fixed: int,
    pack: Packer,
    single: bool,
) -> Reply:
    """Entries until the room is used up, or one."""
    limit = _HEAD_BYTES + room
    out = bytearray(limit)
    at = last = _HEAD_BYTES
    end = 0
    while (entry := following()) is not None:
        name = entry.name.encode("utf-16-le", "surrogatepass")
        name_bytes = len(name)
        stop = at + fixed + name_bytes
        if stop > limit:
            if end:
                scan.unread(entry)
                break
            return _cut(opened, out, entry, fixed, pack, name, scan)
        pack(out, at, entry, name_bytes, scan)
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
    return Reply(out)


def _cut(
    opened: Open, out: bytearray, entry: Entry, fixed: int, pack: Packer, name: bytes, scan: DirectoryScan
) -> Reply:
    """The first entry's name does not fit: as much of it as does, and the cursor moves on."""
    opened.has_listed = True
    pack(out, _HEAD_BYTES, entry, len(name), scan)
    out[_HEAD_BYTES + fixed :] = name[: len(out) - _HEAD_BYTES - fixed]
    _HEAD.pack_into(out, 0, 9, _OFFSET, len(out) - _HEAD_BYTES)
    return Reply(out, Status.BUFFER_OVERFLOW)
