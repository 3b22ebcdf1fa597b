"""[MS-SMB2] 2.2.15 SMB2 CLOSE Request; 2.2.16 SMB2 CLOSE Response."""

from __future__ import annotations

from struct import Struct
from typing import Annotated, ClassVar, Final

from smbproto.codec import FileId, Message, Names, message, reserved4, u16, u32, u64

SMB2_CLOSE_FLAG_POSTQUERY_ATTRIB: Final = 0x0001

CLOSE_FLAGS = Names(((1, "POSTQUERY_ATTRIB"),))

# For the hot path. Request: StructureSize (24), Flags, Reserved, persistent and volatile FileId.
CLOSE_REQUEST: Final = Struct("<HHIQQ")
# StructureSize (60), Flags, Reserved, four times, AllocationSize, EndofFile, FileAttributes.
CLOSE_RESPONSE: Final = Struct("<HHIQQQQQQI")


@message(structure_size=24)
class CloseRequest(Message):
    """[MS-SMB2] 2.2.15 SMB2 CLOSE Request."""

    flags: Annotated[u16, CLOSE_FLAGS] = 0
    reserved: ClassVar[reserved4]
    file_id: FileId


@message(structure_size=60)
class CloseResponse(Message):
    """[MS-SMB2] 2.2.16 SMB2 CLOSE Response. All zero but for the POSTQUERY_ATTRIB flag's answer."""

    flags: Annotated[u16, CLOSE_FLAGS] = 0
    reserved: ClassVar[reserved4]
    creation_time: u64 = 0
    last_access_time: u64 = 0
    last_write_time: u64 = 0
    change_time: u64 = 0
    allocation_size: u64 = 0
    end_of_file: u64 = 0
    file_attributes: u32 = 0
