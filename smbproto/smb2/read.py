"""[MS-SMB2] 2.2.19 SMB2 READ Request; 2.2.20 SMB2 READ Response."""

from __future__ import annotations

from struct import Struct
from typing import Annotated, Final

from smbproto.codec import VIEW, Buffer, FileId, Message, Names, Pair, blob16, message, u8, u32, u64

SMB2_READFLAG_READ_UNBUFFERED: Final = 0x01
SMB2_READFLAG_REQUEST_COMPRESSED: Final = 0x02

SMB2_CHANNEL_NONE: Final = 0x00000000
SMB2_CHANNEL_RDMA_V1: Final = 0x00000001
SMB2_CHANNEL_RDMA_V1_INVALIDATE: Final = 0x00000002
SMB2_CHANNEL_RDMA_TRANSFORM: Final = 0x00000003

READ_FLAGS = Names(((1, "READ_UNBUFFERED"), (2, "REQUEST_COMPRESSED")))
CHANNELS = Names(((0, "NONE"), (1, "RDMA_V1"), (2, "RDMA_V1_INVALIDATE"), (3, "RDMA_TRANSFORM")), flags=False)

# For the hot path, which makes no object. Request: StructureSize, Padding, Flags, Length, Offset, persistent
# and volatile FileId, MinimumCount, Channel, RemainingBytes, ReadChannelInfoOffset, ReadChannelInfoLength.
READ_REQUEST: Final = Struct("<HBBIQQQIIIHH")
# StructureSize (17), DataOffset, Reserved, DataLength, DataRemaining, Flags or Reserved2.
READ_RESPONSE: Final = Struct("<HBBIII")


@message(structure_size=49)
class ReadRequest(Message):
    """[MS-SMB2] 2.2.19 SMB2 READ Request."""

    padding: u8 = 0  # header-relative place the client would like the data at; a hint
    flags: Annotated[u8, READ_FLAGS] = 0  # zero below SMB 3.0.2
    length: u32  # bytes wanted
    offset: u64  # bytes from the start of the file
    file_id: FileId
    minimum_count: u32 = 0  # bytes; fewer than this fails the request
    channel: Annotated[u32, CHANNELS] = SMB2_CHANNEL_NONE
    remaining_bytes: u32 = 0
    channel_info: blob16 = b""  # SMB Direct descriptors


@message(structure_size=17, fill=False)
class ReadResponse(Message):
    """[MS-SMB2] 2.2.20 SMB2 READ Response. After an RDMA Write it is exactly 16 bytes: clients choke on one
    more."""

    data: Annotated[Buffer, Pair("BxI", VIEW)] = b""
    data_remaining: u32 = 0  # bytes sent by RDMA
    flags: u32 = 0  # SMB2_READFLAG_RESPONSE_RDMA_TRANSFORM
