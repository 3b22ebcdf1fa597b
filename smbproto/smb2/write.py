"""[MS-SMB2] 2.2.21 SMB2 WRITE Request; 2.2.22 SMB2 WRITE Response."""

from __future__ import annotations

from struct import Struct
from typing import Annotated, ClassVar, Final

from smbproto.codec import (
    VIEW,
    Buffer,
    FileId,
    Message,
    Names,
    Pair,
    blob16,
    message,
    reserved2,
    u16,
    u32,
    u64,
)
from smbproto.smb2.read import CHANNELS, SMB2_CHANNEL_NONE

SMB2_WRITEFLAG_WRITE_THROUGH: Final = 0x00000001
SMB2_WRITEFLAG_WRITE_UNBUFFERED: Final = 0x00000002

WRITE_FLAGS = Names(((1, "WRITE_THROUGH"), (2, "WRITE_UNBUFFERED")))

# For the hot path. Request: StructureSize (49), DataOffset, Length, Offset, persistent and volatile FileId,
# Channel, RemainingBytes, WriteChannelInfoOffset, WriteChannelInfoLength, Flags.
WRITE_REQUEST: Final = Struct("<HHIQQQIIHHI")
# StructureSize (17), Reserved, Count, Remaining, WriteChannelInfoOffset, WriteChannelInfoLength.
WRITE_RESPONSE: Final = Struct("<HHIIHH")


@message(structure_size=49)
class WriteRequest(Message):
    """[MS-SMB2] 2.2.21 SMB2 WRITE Request. `data` is a view of the message, not a copy."""

    data: Annotated[Buffer, Pair("HI", VIEW, points_when_empty=True)] = b""
    offset: u64  # bytes from the start of the file
    file_id: FileId
    channel: Annotated[u32, CHANNELS] = SMB2_CHANNEL_NONE
    remaining_bytes: u32 = 0  # with RDMA: the bytes to fetch
    channel_info: blob16 = b""
    flags: Annotated[u32, WRITE_FLAGS] = 0


@message(structure_size=17)
class WriteResponse(Message):
    """[MS-SMB2] 2.2.22 SMB2 WRITE Response."""

    reserved: ClassVar[reserved2]
    count: u32
    remaining: u32 = 0
    write_channel_info_offset: u16 = 0
    write_channel_info_length: u16 = 0
