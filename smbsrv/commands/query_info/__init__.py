"""QUERY_INFO: facts about an open, its volume, its security descriptor, quotas.

Source: [MS-SMB2] 3.3.5.20 Receiving an SMB2 QUERY_INFO Request. One module for each InfoType: `file`
(3.3.5.20.1), `filesystem` (3.3.5.20.2), `security` (3.3.5.20.3), `quota` (3.3.5.20.4); `pipe` for opens of
named pipes. A provider gives (bytes, length of the fixed part): a buffer below the fixed part is
INFO_LENGTH_MISMATCH, one below the whole gets what fits, with BUFFER_OVERFLOW ([MS-FSA] 2.1.5.12 Server
Requests a Query of File Information).
"""

from __future__ import annotations

from struct import Struct

from smbproto.status import Status, StatusError
from smbsrv.commands.payload import check_payload
from smbsrv.commands.query_info import file, filesystem, pipe, quota, security
from smbsrv.commands.query_info.result import Result
from smbsrv.request import Reply, Request

# StructureSize (41), InfoType, FileInfoClass, OutputBufferLength, InputBufferOffset, InputBufferLength,
# AdditionalInformation, Flags, FileId
_REQUEST = Struct("<HBBIHxxIIIQQ")
_REQUEST_BYTES = 64 + 40
_RESPONSE = Struct("<HHI")
_RESPONSE_OFFSET = 72

SMB2_0_INFO_FILE = 1
SMB2_0_INFO_FILESYSTEM = 2
SMB2_0_INFO_SECURITY = 3
SMB2_0_INFO_QUOTA = 4


async def handle(request: Request) -> Reply | bytes:
    """[MS-SMB2] 3.3.5.20 Receiving an SMB2 QUERY_INFO Request."""
    message = request.message
    if len(message) < _REQUEST_BYTES:
        raise StatusError(Status.INVALID_PARAMETER, f"{len(message)} bytes are no QUERY_INFO request")
    (size, info_type, info_class, room, input_offset, input_length, additional, flags, persistent_id,
     volatile_id) = _REQUEST.unpack_from(message, 64)  # fmt: skip
    if size != 41 or (
        input_length and (input_offset < _REQUEST_BYTES or input_offset + input_length > len(message))
    ):
        raise StatusError(Status.INVALID_PARAMETER, "QUERY_INFO with a wrong size or input buffer")
    opened = request.open_of(persistent_id, volatile_id)
    if not opened.is_persistent:
        opened.is_replay_eligible = False
    if room > 65536 or input_length > 65536:
        check_payload(request, room, input_length)
    asked = message[input_offset : input_offset + input_length] if input_length else message[:0]
    target = opened.file
    if target is None:
        result = pipe.query(opened, info_type, info_class)
    elif info_type == SMB2_0_INFO_FILE:
        result = file.query(target, info_class, asked, flags, room, opened)
    elif info_type == SMB2_0_INFO_FILESYSTEM:
        result = filesystem.query(target, info_class)
    elif info_type == SMB2_0_INFO_SECURITY:
        result = security.query(target, additional, room)
    elif info_type == SMB2_0_INFO_QUOTA:
        result = quota.query(target, asked, room)
    else:
        raise StatusError(Status.INVALID_PARAMETER, f"InfoType {info_type}")
    return _reply(result, room)


def _reply(result: Result, room: int) -> Reply | bytes:
    data, fixed, status = result
    if room < fixed:
        raise StatusError(
            Status.INFO_LENGTH_MISMATCH, f"{room} bytes hold not even the fixed part of {fixed}"
        )
    if room < len(data):
        data, status = data[:room], Status.BUFFER_OVERFLOW
    body = _RESPONSE.pack(9, _RESPONSE_OFFSET, len(data)) + data
    return body if status == Status.SUCCESS else Reply(body, status)
