"""WRITE. Source: [MS-SMB2] 3.3.5.13 Receiving an SMB2 WRITE Request; [MS-FSA] 2.1.5.4 Server Requests a
Write."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from smbproto.endpoint.framing import LENGTH_BYTES, SEALED_START, finish_single
from smbproto.fscc.constants import FILE_WRITE_THROUGH
from smbproto.smb2.header import (
    NO_SIGNATURE,
    SMB2_FLAGS_SERVER_TO_REDIR,
    SMB2_FLAGS_SIGNED,
    SMB2_HEADER_BYTES,
    Command,
)
from smbproto.smb2.read import SMB2_CHANNEL_NONE
from smbproto.smb2.write import (
    SMB2_WRITEFLAG_WRITE_THROUGH,
    WRITE_REQUEST,
    WRITE_RESPONSE,
    WriteRequest,
)
from smbproto.status import Status, StatusError
from smbsrv.commands.payload import CREDIT_BYTES
from smbsrv.commands.read import check_size
from smbsrv.request import Request

if TYPE_CHECKING:
    from smbproto.endpoint.server import HeaderFields
    from smbsrv.channel import Channel
    from smbsrv.connection import Connection

__all__ = ["handle", "write_now"]

DATA_MIN_OFFSET = SMB2_HEADER_BYTES + WRITE_REQUEST.size

_request = WRITE_REQUEST.unpack_from
_response_body = WRITE_RESPONSE.pack
# The header and the whole body of the response in one.
_response = Struct("<4sHHIHHIIQIIQ16sHHIIHH")
_pack_response = _response.pack_into
_WRITE = int(Command.WRITE)
_ANSWER = SMB2_FLAGS_SERVER_TO_REDIR
_ANSWER_SIGNED = SMB2_FLAGS_SERVER_TO_REDIR | SMB2_FLAGS_SIGNED


def write_now(
    connection: Connection, channel: Channel, view: memoryview, start: int, end: int, header: HeaderFields,
    sealed_by: Channel | None,
) -> bool:  # fmt: skip
    """See `smbsrv.fast`."""
    if end - start < DATA_MIN_OFFSET:
        return False
    (_, _, charge, sequence, _, credits, flags, _, message_id, process_id, tree_id, session_id, _) = header
    size, data_offset, length, offset, persistent_id, volatile_id, rdma, _, _, _, how = _request(
        view, start + 64
    )
    session = channel.session
    open = session.opens.get(volatile_id)
    if open is None or open.file is None or open.persistent_id != persistent_id or size != 49 or rdma:
        return False
    tree = open.tree
    if tree is None or tree.id != tree_id or (tree.encrypt and sealed_by is None):
        return False
    if how & SMB2_WRITEFLAG_WRITE_THROUGH or open.file.options & FILE_WRITE_THROUGH:
        return False
    if (
        length > connection.max_write_size
        or (length > CREDIT_BYTES and length > charge * CREDIT_BYTES)
        or not length
    ):
        return False
    if open.channel_sequence != sequence & 0xFFFF and connection.dialect >= 0x0300:
        return False
    data = start + data_offset
    if data_offset < DATA_MIN_OFFSET or data + length > end:
        return False
    try:
        if not open.file.write_now(offset, view[data : data + length]):
            return False
    except StatusError:
        return False
    arena = connection.arena
    base = arena.end
    message = base + (LENGTH_BYTES if sealed_by is None else SEALED_START)
    stop = message + _response.size
    signer = channel.signer if flags & SMB2_FLAGS_SIGNED and sealed_by is None else None
    granted = connection.window.grant(credits if credits > charge else charge or 1)
    answer = _ANSWER if signer is None else _ANSWER_SIGNED
    _pack_response(
        arena.buffer, message, b"\xfeSMB", 64, charge, 0, _WRITE, granted, answer, 0, message_id,
        process_id, tree_id, session_id, NO_SIGNATURE, 17, 0, length, 0, 0, 0,
    )  # fmt: skip
    finish_single(arena, message, stop, message_id, signer, None if sealed_by is None else sealed_by.sealer)
    connection.server.statistics.bytes_written += length
    return True


async def handle(request: Request) -> bytes:
    """[MS-SMB2] 3.3.5.13 Receiving an SMB2 WRITE Request."""
    message = WriteRequest.decode_untrusted(request.message)
    open = request.open_of(*message.file_id)
    length = len(message.data)
    check_size(request, length, request.connection.max_write_size)
    if message.channel != SMB2_CHANNEL_NONE and request.connection.dialect >= 0x0300:
        raise StatusError(Status.INVALID_PARAMETER, "RDMA on a transport that has none")
    data = memoryview(message.data)
    if open.pipe is not None:
        await open.pipe.write(data)
    else:
        assert open.file is not None
        through = bool(message.flags & SMB2_WRITEFLAG_WRITE_THROUGH) and request.connection.dialect >= 0x0210
        through = through or bool(open.file.options & FILE_WRITE_THROUGH)
        await open.file.write(message.offset, data, through)
    request.server.statistics.bytes_written += length
    return _response_body(17, 0, length, 0, 0, 0)
