"""[MS-SMB2] 2.2.37 SMB2 QUERY_INFO Request; 2.2.38 SMB2 QUERY_INFO Response."""

from __future__ import annotations

from struct import Struct
from typing import Annotated, ClassVar, Final

from smbproto.codec import (
    BYTES,
    VIEW,
    Buffer,
    FileId,
    Message,
    Names,
    Pair,
    message,
    reserved2,
    rest,
    structure,
    u8,
    u32,
)

SMB2_0_INFO_FILE: Final = 0x01
SMB2_0_INFO_FILESYSTEM: Final = 0x02
SMB2_0_INFO_SECURITY: Final = 0x03
SMB2_0_INFO_QUOTA: Final = 0x04

OWNER_SECURITY_INFORMATION: Final = 0x00000001
GROUP_SECURITY_INFORMATION: Final = 0x00000002
DACL_SECURITY_INFORMATION: Final = 0x00000004
SACL_SECURITY_INFORMATION: Final = 0x00000008
LABEL_SECURITY_INFORMATION: Final = 0x00000010
ATTRIBUTE_SECURITY_INFORMATION: Final = 0x00000020
SCOPE_SECURITY_INFORMATION: Final = 0x00000040
BACKUP_SECURITY_INFORMATION: Final = 0x00010000

SL_RESTART_SCAN: Final = 0x00000001
SL_RETURN_SINGLE_ENTRY: Final = 0x00000002
SL_INDEX_SPECIFIED: Final = 0x00000004

INFO_TYPES = Names(((1, "FILE"), (2, "FILESYSTEM"), (3, "SECURITY"), (4, "QUOTA")), flags=False)

# For the hot path: StructureSize (41), InfoType, FileInfoClass, OutputBufferLength, InputBufferOffset,
# InputBufferLength, AdditionalInformation, Flags, persistent and volatile FileId.
QUERY_INFO_REQUEST: Final = Struct("<HBBIHxxIIIQQ")
# StructureSize (9), OutputBufferOffset, OutputBufferLength.
QUERY_INFO_RESPONSE: Final = Struct("<HHI")


@message(structure_size=41)
class QueryInfoRequest(Message):
    """[MS-SMB2] 2.2.37 SMB2 QUERY_INFO Request."""

    info_type: Annotated[u8, INFO_TYPES]
    file_info_class: u8 = 0
    output_buffer_length: u32
    input: Annotated[bytes, Pair("HxxI", BYTES)] = b""  # SMB2_QUERY_QUOTA_INFO, or a list of EA names
    additional_information: u32 = 0
    flags: u32 = 0
    file_id: FileId


@structure()
class QueryQuotaInfo(Message):
    """[MS-SMB2] 2.2.37.1 SMB2_QUERY_QUOTA_INFO. `sids` is SidBuffer: a FILE_GET_QUOTA_INFORMATION list or one
    SID."""

    return_single: u8 = 0
    restart_scan: u8 = 0
    reserved: ClassVar[reserved2]
    sid_list_length: u32 = 0
    start_sid_length: u32 = 0
    start_sid_offset: u32 = 0
    sids: rest = b""


@message(structure_size=9)
class QueryInfoResponse(Message):
    """[MS-SMB2] 2.2.38 SMB2 QUERY_INFO Response."""

    output: Annotated[Buffer, Pair("HI", VIEW, points_when_empty=True)] = b""
