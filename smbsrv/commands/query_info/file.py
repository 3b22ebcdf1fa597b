"""QUERY_INFO of a file: every information class that [MS-SMB2] 2.2.37 allows.

Source: [MS-SMB2] 3.3.5.20.1 Handling SMB2_0_INFO_FILE; [MS-FSA] 2.1.5.12 Server Requests a Query of File
Information; [MS-FSCC] 2.4 File Information Classes. Access: what [MS-FSA] 2.1.5.12 demands of each class
(ACCESS_DENIED).
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING

from smbproto import fscc
from smbproto.dtyp import FILE_READ_ATTRIBUTES, FILE_READ_EA
from smbproto.fscc.ea import FullEa, encode_full_ea, encode_full_eas
from smbproto.fscc.file_info import Stream, encode_streams
from smbproto.status import Status, StatusError
from smbsrv.commands.ea_list import decode_ea_names
from smbsrv.commands.query_info.result import Result
from storage.volume import ExtendedAttribute

if TYPE_CHECKING:
    from smbsrv.open import Open
    from storage.volume import File

SL_RESTART_SCAN = 0x00000001
SL_RETURN_SINGLE_ENTRY = 0x00000002
SL_INDEX_SPECIFIED = 0x00000004
DIALECT_3_1_1 = 0x0311

_BASIC = Struct("<QQQQI4x")
_STANDARD = Struct("<QQIBB2x")
_INTERNAL = Struct("<Q")
_U32 = Struct("<I")
_POSITION = Struct("<Q")
# Basic, Standard, Internal, Ea, Access, Position, Mode, Alignment, NameLength
_ALL = Struct("<QQQQI4xQQIBB2xQIIQIII")
_COMPRESSION = Struct("<QHBBB3x")
_NETWORK_OPEN = Struct("<QQQQQQI4x")
_ATTRIBUTE_TAG = Struct("<II")
_ID = Struct("<QQ8x")
"""[MS-FSCC] 2.1.5.2.1 8.3 Filename."""


def _utf16(text: str) -> bytes:
    return text.encode("utf-16-le", "surrogatepass")


def _sizes(file: File) -> tuple[int, int]:
    """(AllocationSize, EndOfFile) of what is open."""
    stream = file.stream
    return (stream.allocated_bytes, stream.size_bytes) if stream is not None else (0, 0)


def basic(file: File) -> Result:
    """[MS-FSCC] 2.4.7 FileBasicInformation."""
    n = file.node
    return Result(
        _BASIC.pack(
            n.created, n.accessed, n.written, n.changed_time, n.attributes or fscc.FILE_ATTRIBUTE_NORMAL
        ),
        40,
    )


def standard(file: File) -> Result:
    """[MS-FSCC] 2.4.47 FileStandardInformation."""
    data = _STANDARD.pack(*_sizes(file), file.link_count(), file.is_delete_pending(), file.is_directory)
    return Result(data, 24)


def internal(file: File) -> Result:
    """[MS-FSCC] 2.4.26 FileInternalInformation."""
    return Result(_INTERNAL.pack(file.node.id), 8)


def ea_size(file: File) -> Result:
    """[MS-FSCC] 2.4.13 FileEaInformation."""
    return Result(_U32.pack(file.node.ea_bytes), 4)


def access(file: File) -> Result:
    """[MS-FSCC] 2.4.1 FileAccessInformation."""
    return Result(_U32.pack(file.granted_access), 4)


def name(file: File) -> Result:
    """[MS-FSCC] 2.4.32 FileNameInformation."""
    text = _utf16(file.name())
    return Result(_U32.pack(len(text)) + text, 8)


def normalized_name(file: File) -> Result:
    """[MS-FSCC] 2.4.36 FileNormalizedNameInformation: below the share's root, without a leading backslash."""
    text = _utf16(file.name().removeprefix("\\"))
    return Result(_U32.pack(len(text)) + text, 8)


def alternate_name(file: File) -> Result:
    """[MS-FSCC] 2.4.5 FileAlternateNameInformation; [MS-FSA] 2.1.5.12.4 OBJECT_NAME_NOT_FOUND where there
    is none."""
    name = file.short_name()
    if not name:
        raise StatusError(Status.OBJECT_NAME_NOT_FOUND, "the root has no short name")
    text = _utf16(name)
    return Result(_U32.pack(len(text)) + text, 8)


def position(file: File) -> Result:
    """[MS-FSCC] 2.4.40 FilePositionInformation."""
    return Result(_POSITION.pack(file.current_offset), 8)


def mode(file: File) -> Result:
    """[MS-FSCC] 2.4.31 FileModeInformation."""
    return Result(_U32.pack(file.mode), 4)


def alignment(file: File) -> Result:
    """[MS-FSCC] 2.4.3 FileAlignmentInformation: FILE_BYTE_ALIGNMENT."""
    return Result(_U32.pack(0), 4)


def everything(file: File) -> Result:
    """[MS-FSCC] 2.4.2 FileAllInformation."""
    n = file.node
    text = _utf16(file.name())
    stream = file.stream
    allocated, size = (stream.allocated_bytes, stream.size_bytes) if stream is not None else (0, 0)
    fixed = _ALL.pack(
        n.created, n.accessed, n.written, n.changed_time, n.attributes or fscc.FILE_ATTRIBUTE_NORMAL,
        allocated, size, file.link_count(), file.is_delete_pending(), file.is_directory,
        n.id, n.ea_bytes, file.granted_access, file.current_offset, file.mode, 0, len(text))  # fmt: skip
    return Result(fixed + text, 104)


def streams(file: File) -> Result:
    """[MS-FSCC] 2.4.49 FileStreamInformation: "::$DATA" first; nothing at all for a directory without
    streams."""
    found = [Stream(f":{s.name}:$DATA", s.size_bytes, s.allocated_bytes) for s in file.streams()]
    return Result(encode_streams(found), 32 if found else 0)


def compression(file: File) -> Result:
    """[MS-FSCC] 2.4.9 FileCompressionInformation: COMPRESSION_FORMAT_NONE."""
    return Result(_COMPRESSION.pack(_sizes(file)[1], 0, 0, 0, 0), 16)


def network_open(file: File) -> Result:
    """[MS-FSCC] 2.4.34 FileNetworkOpenInformation."""
    n = file.node
    data = _NETWORK_OPEN.pack(
        n.created,
        n.accessed,
        n.written,
        n.changed_time,
        *_sizes(file),
        n.attributes or fscc.FILE_ATTRIBUTE_NORMAL,
    )
    return Result(data, 56)


def attribute_tag(file: File) -> Result:
    """[MS-FSCC] 2.4.6 FileAttributeTagInformation."""
    n = file.node
    return Result(_ATTRIBUTE_TAG.pack(n.attributes or fscc.FILE_ATTRIBUTE_NORMAL, n.reparse_tag), 8)


def file_id(file: File) -> Result:
    """[MS-FSCC] 2.4.28 FileIdInformation: the volume's serial number and the 128-bit id."""
    return Result(_ID.pack(file.volume.identity.serial, file.node.id), 24)


# class: (provider, access that the open needs)
CLASSES: dict[int, tuple[Callable[[File], Result], int]] = {
    fscc.FILE_BASIC_INFORMATION: (basic, FILE_READ_ATTRIBUTES),
    fscc.FILE_STANDARD_INFORMATION: (standard, 0),
    fscc.FILE_INTERNAL_INFORMATION: (internal, 0),
    fscc.FILE_EA_INFORMATION: (ea_size, 0),
    fscc.FILE_ACCESS_INFORMATION: (access, 0),
    fscc.FILE_NAME_INFORMATION: (name, 0),
    fscc.FILE_POSITION_INFORMATION: (position, 0),
    fscc.FILE_MODE_INFORMATION: (mode, 0),
    fscc.FILE_ALIGNMENT_INFORMATION: (alignment, 0),
    fscc.FILE_ALL_INFORMATION: (everything, FILE_READ_ATTRIBUTES),
    fscc.FILE_ALTERNATE_NAME_INFORMATION: (alternate_name, 0),
    fscc.FILE_STREAM_INFORMATION: (streams, 0),
    fscc.FILE_COMPRESSION_INFORMATION: (compression, 0),
    fscc.FILE_NETWORK_OPEN_INFORMATION: (network_open, FILE_READ_ATTRIBUTES),
    fscc.FILE_ATTRIBUTE_TAG_INFORMATION: (attribute_tag, FILE_READ_ATTRIBUTES),
    fscc.FILE_NORMALIZED_NAME_INFORMATION: (normalized_name, 0),
    fscc.FILE_ID_INFORMATION: (file_id, 0),
}
# Known classes that no server answers over SMB2 (only for pipes, only for directories, or only to be set).
REFUSED = {
    fscc.FILE_PIPE_INFORMATION: Status.INVALID_PARAMETER,
    fscc.FILE_PIPE_LOCAL_INFORMATION: Status.INVALID_PARAMETER,
    fscc.FILE_PIPE_REMOTE_INFORMATION: Status.INVALID_PARAMETER,
    fscc.FILE_HARD_LINK_INFORMATION: Status.NOT_SUPPORTED,
    fscc.FILE_STANDARD_LINK_INFORMATION: Status.NOT_SUPPORTED,
    fscc.FILE_QUOTA_INFORMATION: Status.NOT_SUPPORTED,
}


def query(file: File, info_class: int, asked: memoryview, flags: int, room: int, opened: Open) -> Result:
    """Raises: INVALID_INFO_CLASS, ACCESS_DENIED, and what [MS-FSA] says for each class."""
    if info_class == fscc.FILE_FULL_EA_INFORMATION:
        return full_ea(file, asked, flags, room, opened)
    known = CLASSES.get(info_class)
    if known is None:
        raise StatusError(
            REFUSED.get(info_class, Status.INVALID_INFO_CLASS), f"file information class {info_class}"
        )
    provider, needed = known
    if needed & ~file.granted_access:
        raise StatusError(Status.ACCESS_DENIED, f"class {info_class} needs access {needed:#x}")
    if provider is normalized_name and opened.session is not None and opened.session.dialect < DIALECT_3_1_1:
        raise StatusError(Status.NOT_SUPPORTED, "FileNormalizedNameInformation came with SMB 3.1.1")
    return provider(file)


def _listed(file: File, asked: memoryview) -> list[ExtendedAttribute]:
    """Those asked for by name, with an empty value where there is none; all, if none are named."""
    have = file.eas()
    if not len(asked):
        return have
    by_name = {ea.name.upper(): ea for ea in have}
    return [by_name.get(wanted.upper(), ExtendedAttribute(wanted, b"")) for wanted in decode_ea_names(asked)]


def full_ea(file: File, asked: memoryview, flags: int, room: int, opened: Open) -> Result:
    """[MS-FSCC] 2.4.16 FileFullEaInformation; [MS-FSA] 2.1.5.12.10: only whole entries; the next query goes
    on after them.

    Raises: ACCESS_DENIED, NO_EAS_ON_FILE, NO_MORE_EAS, BUFFER_TOO_SMALL.
    """
    if not file.granted_access & FILE_READ_EA:
        raise StatusError(Status.ACCESS_DENIED, "the open may not read extended attributes")
    eas = _listed(file, asked)
    if not eas:
        raise StatusError(Status.NO_EAS_ON_FILE)
    goes_on = not len(asked) and bool(flags & SL_RETURN_SINGLE_ENTRY)
    start = 0 if not goes_on or flags & SL_RESTART_SCAN else opened.ea_index
    if start >= len(eas):
        raise StatusError(Status.NO_MORE_EAS)
    last = start + 1 if flags & SL_RETURN_SINGLE_ENTRY else len(eas)
    used = 0
    done = start
    for ea in eas[start:last]:
        used += len(encode_full_ea(FullEa(ea.name, ea.value, ea.flags)))
        if used > room:
            break
        used = used + 3 & ~3
        done += 1
    if done == start:
        raise StatusError(Status.BUFFER_TOO_SMALL, f"{room} bytes hold no extended attribute")
    opened.ea_index = done
    data = encode_full_eas(FullEa(ea.name, ea.value, ea.flags) for ea in eas[start:done])
    return Result(data, 0, Status.SUCCESS if done == last else Status.BUFFER_OVERFLOW)
