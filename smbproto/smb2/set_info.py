"""[MS-SMB2] 2.2.39 SMB2 SET_INFO Request; 2.2.40 SMB2 SET_INFO Response."""

from __future__ import annotations

from typing import Annotated, ClassVar

from smbproto.codec import BYTES, FileId, Message, Pair, message, reserved2, u8, u32
from smbproto.smb2.query_info import INFO_TYPES


@message(structure_size=33)
class SetInfoRequest(Message):
    """[MS-SMB2] 2.2.39 SMB2 SET_INFO Request."""

    info_type: Annotated[u8, INFO_TYPES]
    file_info_class: u8 = 0
    buffer: Annotated[bytes, Pair("IH", BYTES, length_first=True, points_when_empty=True)] = b""
    reserved: ClassVar[reserved2]
    additional_information: u32 = 0
    file_id: FileId


@message(structure_size=2)
class SetInfoResponse(Message):
    """[MS-SMB2] 2.2.40 SMB2 SET_INFO Response."""
