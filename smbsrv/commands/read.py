"""READ. Source: [MS-SMB2] 3.3.5.12 Receiving an SMB2 READ Request; [MS-FSA] 2.1.5.3 Server Requests a
Read."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from smbproto.endpoint.framing import BODY_START, LENGTH_BYTES, SEALED_START, finish_single
from smbproto.security.encryption import TAG_BYTES
from smbproto.smb2.header import (
    NO_SIGNATURE,
    SMB2_FLAGS_SERVER_TO_REDIR,
    SMB2_FLAGS_SIGNED,
    SMB2_HEADER_BYTES,
    Command,
)
from smbproto.smb2.read import READ_REQUEST, READ_RESPONSE, SMB2_CHANNEL_NONE, ReadRequest
from smbproto.status import Status, StatusError
from smbsrv.commands.payload import CREDIT_BYTES
from smbsrv.request import Reply, Request

if TYPE_CHECKING:
    from smbproto.endpoint.server import HeaderFields
    from smbsrv.channel import Channel
    from smbsrv.connection import Connection
    from smbsrv.open import Open

__all__ = ["check_size", "handle", "read_now"]

RESPONSE_BYTES = READ_RESPONSE.size
DATA_OFFSET = SMB2_HEADER_BYTES + RESPONSE_BYTES
MESSAGE_MIN_BYTES = SMB2_HEADER_BYTES + READ_REQUEST.size

_request = READ_REQUEST.unpack_from
# The header and the fixed part of the response in one.
_response = Struct("<4sHHIHHIIQIIQ16sHBBIII").pack_into
_READ = int(Command.READ)
_ANSWER = SMB2_FLAGS_SERVER_TO_REDIR
_ANSWER_SIGNED = SMB2_FLAGS_SERVER_TO_REDIR | SMB2_FLAGS_SIGNED


def read_now(
    connection: Connection, channel: Channel, view: memoryview, start: int, end: int, header: HeaderFields,
    sealed_by: Channel | None,
) -> bool:  # fmt: skip
    """See `smbsrv.fast`."""
    if end - start < MESSAGE_MIN_BYTES:
        return False
    (_, _, charge, sequence, _, credits, flags, _, message_id, process_id, tree_id, session_id, _) = header
    size, _, _, length, offset, persistent_id, volatile_id, minimum, rdma, _, _, _ = _request(
        view, start + 64
    )
    session = channel.session
    open = session.opens.get(volatile_id)
    if open is None or open.file is None or open.persistent_id != persistent_id or size != 49 or rdma:
        return False
    tree = open.tree
    if tree is None or tree.id != tree_id or (tree.encrypt and sealed_by is None):
        return False
    if length > connection.max_read_size or (length > CREDIT_BYTES and length > charge * CREDIT_BYTES):
        return False
    if open.channel_sequence != sequence & 0xFFFF and connection.dialect >= 0x0300:
        return False
    arena = connection.arena
    base = arena.end
    message = base + (LENGTH_BYTES if sealed_by is None else SEALED_START)
    data = message + DATA_OFFSET
    amv = arena.view
    try:
        count = open.file.read_now(offset, amv[data : data + length])
    except StatusError:
        return False
    if count < minimum or count <= 0:
        return False
    stop = data + count
    signer = channel.signer if flags & SMB2_FLAGS_SIGNED and sealed_by is None else None
    granted = connection.window.grant(credits if credits > charge else charge or 1)
    answer = _ANSWER if signer is None else _ANSWER_SIGNED
    _response(
        arena.buffer, message, b"\xfeSMB", 64, charge, 0, _READ, granted, answer, 0, message_id,
        process_id, tree_id, session_id, NO_SIGNATURE, 17, DATA_OFFSET, 0, count, 0, 0,
    )  # fmt: skip
    finish_single(arena, message, stop, message_id, signer, None if sealed_by is None else sealed_by.sealer)
    connection.server.statistics.bytes_read += count
    return True


def check_size(request: Request, length: int, limit: int) -> None:
    """[MS-SMB2] 3.3.5.2.5 Verifying the Credit Charge and the Payload Size. Raises: StatusError
    INVALID_PARAMETER."""
    if length > limit:
        raise StatusError(Status.INVALID_PARAMETER, f"{length} bytes are over the {limit} agreed on")
    if length > CREDIT_BYTES and request.connection.supports_multi_credit:
        if length > (request.credit_charge or 1) * CREDIT_BYTES:
            raise StatusError(
                Status.INVALID_PARAMETER, f"{request.credit_charge} credits do not pay for {length} bytes"
            )


async def handle(request: Request) -> Reply:
    """[MS-SMB2] 3.3.5.12 Receiving an SMB2 READ Request. A READ that must wait gets memory in which its reply
    is sent."""
    message = ReadRequest.decode_untrusted(request.message)
    open = request.open_of(*message.file_id)
    check_size(request, message.length, request.connection.max_read_size)
    if message.channel != SMB2_CHANNEL_NONE and request.connection.dialect >= 0x0300:
        raise StatusError(Status.INVALID_PARAMETER, "RDMA on a transport that has none")
    if open.pipe is not None:
        return await _read_pipe(request, open, message.length)
    assert open.file is not None
    frame = bytearray(BODY_START + RESPONSE_BYTES + message.length + TAG_BYTES)
    data = memoryview(frame)[BODY_START + RESPONSE_BYTES : BODY_START + RESPONSE_BYTES + message.length]
    count = await open.file.read(message.offset, data)
    if count < message.minimum_count:
        raise StatusError(Status.END_OF_FILE, f"{count} bytes are fewer than {message.minimum_count}")
    READ_RESPONSE.pack_into(frame, BODY_START, 17, DATA_OFFSET, 0, count, 0, 0)
    request.server.statistics.bytes_read += count
    return Reply(memoryview(frame)[BODY_START : BODY_START + RESPONSE_BYTES + count], frame=frame)


async def _read_pipe(request: Request, open: Open, length: int) -> Reply:
    assert open.pipe is not None
    data, more = await open.pipe.read(length)
    body = READ_RESPONSE.pack(17, DATA_OFFSET, 0, len(data), 0, 0) + data
    return Reply(body if data else body + b"\0", Status.BUFFER_OVERFLOW if more else Status.SUCCESS)
