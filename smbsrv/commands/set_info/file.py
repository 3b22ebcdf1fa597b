"""SET_INFO of a file: every information class that can be set.

Source: [MS-SMB2] 3.3.5.21.1 Handling SMB2_0_INFO_FILE (which access each class needs); [MS-FSA] 2.1.5.15
Server Requests Setting of File Information; [MS-FSCC] 2.4 File Information Classes. A buffer below the
class's fixed part is INFO_LENGTH_MISMATCH.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from smbproto import fscc
from smbproto.codec import Message
from smbproto.dtyp import DELETE, FILE_WRITE_ATTRIBUTES, FILE_WRITE_DATA, FILE_WRITE_EA
from smbproto.errors import WireError
from smbproto.fscc import file_info as layouts
from smbproto.status import Status, StatusError
from smbsrv.commands.ea_list import decode_eas

if TYPE_CHECKING:
    from storage.volume import File

M = TypeVar("M", bound=Message)

# [MS-FSCC] 2.4.31 FileModeInformation
_MODE_VALID = (
    fscc.FILE_WRITE_THROUGH
    | fscc.FILE_SEQUENTIAL_ONLY
    | fscc.FILE_NO_INTERMEDIATE_BUFFERING
    | fscc.FILE_SYNCHRONOUS_IO_ALERT
    | fscc.FILE_SYNCHRONOUS_IO_NONALERT
    | fscc.FILE_DELETE_ON_CLOSE
)


def _decode(layout: type[M], data: bytes) -> M:
    try:
        return layout.decode_untrusted(data)
    except WireError as error:
        raise StatusError(Status.INFO_LENGTH_MISMATCH, str(error)) from None


async def _basic(file: File, data: bytes) -> None:
    """[MS-FSCC] 2.4.7 FileBasicInformation. A time of 0 leaves it, -1 and -2 stop and resume its updates."""
    asked = _decode(layouts.FileBasicInformation, data)
    times = (asked.creation_time, asked.last_access_time, asked.last_write_time, asked.change_time)
    if min(times) < -2:
        raise StatusError(Status.INVALID_PARAMETER, f"times {times}")
    await file.set_basic(*times, asked.file_attributes)


async def _allocation(file: File, data: bytes) -> None:
    """[MS-FSCC] 2.4.4 FileAllocationInformation."""
    size = _decode(layouts.FileAllocationInformation, data).allocation_size
    if size < 0:
        raise StatusError(Status.INVALID_PARAMETER, f"an allocation of {size} bytes")
    await file.set_allocation(size)


async def _end_of_file(file: File, data: bytes) -> None:
    """[MS-FSCC] 2.4.14 FileEndOfFileInformation."""
    size = _decode(layouts.FileEndOfFileInformation, data).end_of_file
    if size < 0:
        raise StatusError(Status.INVALID_PARAMETER, f"an end of file at {size}")
    await file.set_end_of_file(size)


async def _valid_data(file: File, data: bytes) -> None:
    """[MS-FSCC] 2.4.53 FileValidDataLengthInformation."""
    size = _decode(layouts.FileValidDataLengthInformation, data).valid_data_length
    if size < 0:
        raise StatusError(Status.INVALID_PARAMETER, f"a valid data length of {size}")
    await file.set_valid_data(size)


async def _disposition(file: File, data: bytes) -> None:
    """[MS-FSCC] 2.4.11 FileDispositionInformation."""
    pending = _decode(layouts.FileDispositionInformation, data).delete_pending
    await file.set_disposition(fscc.FILE_DISPOSITION_DELETE if pending else 0)


async def _disposition_ex(file: File, data: bytes) -> None:
    """[MS-FSCC] 2.4.12 FileDispositionInformationEx."""
    await file.set_disposition(_decode(layouts.FileDispositionInformationEx, data).flags)


def _target(name: str, root_directory: int) -> str:
    """[MS-FSCC] 2.4.43.2 FileRenameInformation for SMB2: RootDirectory is 0, the name is a path below the
    share's root."""
    if root_directory or not name:
        raise StatusError(Status.INVALID_PARAMETER, f"name {name[:80]!r}, root directory {root_directory:#x}")
    name = name.removeprefix("\\")
    if name.endswith("\\"):
        name = name[:-1]
    if not name:
        raise StatusError(Status.OBJECT_NAME_INVALID, "no name but backslashes")
    return name


def _named(layout: type[M], data: bytes) -> M:
    """As `_decode`, but a name that runs over the buffer is INVALID_PARAMETER."""
    if len(data) < 20:
        raise StatusError(
            Status.INFO_LENGTH_MISMATCH, f"{len(data)} bytes are too short for {layout.__name__}"
        )
    return layout.decode_untrusted(data)


async def _rename(file: File, data: bytes) -> None:
    """[MS-FSCC] 2.4.43 FileRenameInformation."""
    asked = _named(layouts.FileRenameInformation, data)
    await file.rename(_target(asked.file_name, asked.root_directory), bool(asked.replace_if_exists))


async def _rename_ex(file: File, data: bytes) -> None:
    """[MS-FSCC] 2.4.44 FileRenameInformationEx."""
    asked = _named(layouts.FileRenameInformationEx, data)
    replace = bool(asked.flags & fscc.FILE_RENAME_REPLACE_IF_EXISTS)
    posix = bool(asked.flags & fscc.FILE_RENAME_POSIX_SEMANTICS)
    await file.rename(_target(asked.file_name, asked.root_directory), replace, posix)


async def _link(file: File, data: bytes) -> None:
    """[MS-FSCC] 2.4.29 FileLinkInformation."""
    asked = _named(layouts.FileLinkInformation, data)
    await file.link(_target(asked.file_name, asked.root_directory), bool(asked.replace_if_exists))


async def _full_ea(file: File, data: bytes) -> None:
    """[MS-FSCC] 2.4.16 FileFullEaInformation; an empty list changes nothing."""
    if data:
        await file.set_eas(decode_eas(data))


async def _position(file: File, data: bytes) -> None:
    """[MS-FSCC] 2.4.40 FilePositionInformation."""
    offset = _decode(layouts.FilePositionInformation, data).current_byte_offset
    if offset < 0:
        raise StatusError(Status.INVALID_PARAMETER, f"a position of {offset}")
    file.current_offset = offset


async def _mode(file: File, data: bytes) -> None:
    """[MS-FSCC] 2.4.31 FileModeInformation; [MS-FSA] 2.1.5.15.8: unknown bits, or both kinds of synchronous,
    are refused."""
    mode = _decode(layouts.FileModeInformation, data).mode
    both = fscc.FILE_SYNCHRONOUS_IO_ALERT | fscc.FILE_SYNCHRONOUS_IO_NONALERT
    if mode & ~_MODE_VALID or mode & both == both:
        raise StatusError(Status.INVALID_PARAMETER, f"mode {mode:#x}")
    file.mode = mode


async def _short_name(file: File, data: bytes) -> None:
    """[MS-FSCC] 2.4.46 FileShortNameInformation: volumes here have no short names."""
    raise StatusError(Status.NOT_SUPPORTED, "files have no short names here")


# class: (what sets it, access that the open needs)
CLASSES: dict[int, tuple[Callable[[File, bytes], Awaitable[None]], int]] = {
    fscc.FILE_BASIC_INFORMATION: (_basic, FILE_WRITE_ATTRIBUTES),
    fscc.FILE_ALLOCATION_INFORMATION: (_allocation, FILE_WRITE_DATA),
    fscc.FILE_END_OF_FILE_INFORMATION: (_end_of_file, FILE_WRITE_DATA),
    fscc.FILE_VALID_DATA_LENGTH_INFORMATION: (_valid_data, FILE_WRITE_DATA),
    fscc.FILE_DISPOSITION_INFORMATION: (_disposition, DELETE),
    fscc.FILE_DISPOSITION_INFORMATION_EX: (_disposition_ex, DELETE),
    fscc.FILE_RENAME_INFORMATION: (_rename, DELETE),
    fscc.FILE_RENAME_INFORMATION_EX: (_rename_ex, DELETE),
    fscc.FILE_LINK_INFORMATION: (_link, 0),
    fscc.FILE_FULL_EA_INFORMATION: (_full_ea, FILE_WRITE_EA),
    fscc.FILE_POSITION_INFORMATION: (_position, 0),
    fscc.FILE_MODE_INFORMATION: (_mode, 0),
    fscc.FILE_SHORT_NAME_INFORMATION: (_short_name, DELETE),
}


async def change(file: File, info_class: int, data: bytes) -> None:
    """Raises: INVALID_INFO_CLASS, ACCESS_DENIED, INFO_LENGTH_MISMATCH, and what [MS-FSA] says for each
    class."""
    known = CLASSES.get(info_class)
    if known is None:
        raise StatusError(Status.INVALID_INFO_CLASS, f"file information class {info_class} is not set")
    setter, needed = known
    if needed & ~file.granted_access:
        raise StatusError(Status.ACCESS_DENIED, f"class {info_class} needs access {needed:#x}")
    await setter(file, data)
