"""[MS-SMB2] 2.2.35 SMB2 CHANGE_NOTIFY Request; 2.2.36 SMB2 CHANGE_NOTIFY Response."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final

from smbproto.codec import BYTES, FileId, Message, Names, Pair, message, reserved4, u16, u32
from smbproto.fscc.fsctl_codes import FILE_NOTIFY_CHANGE_NAMES

SMB2_WATCH_TREE: Final = 0x0001

COMPLETION_FILTER = Names(FILE_NOTIFY_CHANGE_NAMES)


@message(structure_size=32)
class ChangeNotifyRequest(Message):
    """[MS-SMB2] 2.2.35 SMB2 CHANGE_NOTIFY Request."""

    flags: u16 = 0
    output_buffer_length: u32
    file_id: FileId
    completion_filter: Annotated[u32, COMPLETION_FILTER]
    reserved: ClassVar[reserved4]


@message(structure_size=9)
class ChangeNotifyResponse(Message):
    """[MS-SMB2] 2.2.36 SMB2 CHANGE_NOTIFY Response: a chain of FILE_NOTIFY_INFORMATION."""

    output: Annotated[bytes, Pair("HI", BYTES, points_when_empty=True)] = b""
