"""[MS-SMB2] 2.2.33 SMB2 QUERY_DIRECTORY Request; 2.2.34 SMB2 QUERY_DIRECTORY Response."""

from __future__ import annotations

from typing import Annotated, Final

from smbproto.codec import VIEW, Buffer, FileId, Message, Names, Pair, message, u8, u32, utf16

SMB2_RESTART_SCANS: Final = 0x01
SMB2_RETURN_SINGLE_ENTRY: Final = 0x02
SMB2_INDEX_SPECIFIED: Final = 0x04
SMB2_REOPEN: Final = 0x10

QUERY_DIRECTORY_FLAGS = Names(
    ((1, "RESTART_SCANS"), (2, "RETURN_SINGLE_ENTRY"), (4, "INDEX_SPECIFIED"), (0x10, "REOPEN"))
)


@message(structure_size=33)
class QueryDirectoryRequest(Message):
    """[MS-SMB2] 2.2.33 SMB2 QUERY_DIRECTORY Request."""

    file_information_class: u8
    flags: Annotated[u8, QUERY_DIRECTORY_FLAGS] = 0
    file_index: u32 = 0
    file_id: FileId
    file_name: utf16 = ""  # the pattern
    output_buffer_length: u32


@message(structure_size=9)
class QueryDirectoryResponse(Message):
    """[MS-SMB2] 2.2.34 SMB2 QUERY_DIRECTORY Response."""

    output: Annotated[Buffer, Pair("HI", VIEW, points_when_empty=True)] = b""
