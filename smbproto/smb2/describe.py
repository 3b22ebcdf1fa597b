"""Which message belongs to which command, and a message in words, for logs.

Source: [MS-SMB2] 2.2 Message Syntax.
"""

from __future__ import annotations

from typing import Final

from smbproto.codec import Buffer, Message
from smbproto.errors import WireError
from smbproto.smb2 import (
    cancel,
    change_notify,
    close,
    create,
    echo,
    flush,
    ioctl,
    lock,
    logoff,
    negotiate,
    query_directory,
    query_info,
    read,
    session_setup,
    set_info,
    smb1_negotiate,
    tree_connect,
    tree_disconnect,
    write,
)
from smbproto.smb2.error import ErrorResponse
from smbproto.smb2.header import Command, Header
from smbproto.smb2.notification import ServerToClientNotification
from smbproto.smb2.oplock_break import decode_acknowledgment_untrusted, decode_from_server_untrusted
from smbproto.smb2.transform import (
    SMB2_COMPRESSION_PROTOCOL_ID,
    SMB2_TRANSFORM_PROTOCOL_ID,
    CompressionTransformHeader,
    TransformHeader,
)
from smbproto.status import Status

# OPLOCK_BREAK is not among them: StructureSize tells its forms apart (`oplock_break.py`).
REQUESTS: Final[dict[int, type[Message]]] = {
    Command.NEGOTIATE: negotiate.NegotiateRequest,
    Command.SESSION_SETUP: session_setup.SessionSetupRequest,
    Command.LOGOFF: logoff.LogoffRequest,
    Command.TREE_CONNECT: tree_connect.TreeConnectRequest,
    Command.TREE_DISCONNECT: tree_disconnect.TreeDisconnectRequest,
    Command.CREATE: create.CreateRequest,
    Command.CLOSE: close.CloseRequest,
    Command.FLUSH: flush.FlushRequest,
    Command.READ: read.ReadRequest,
    Command.WRITE: write.WriteRequest,
    Command.LOCK: lock.LockRequest,
    Command.IOCTL: ioctl.IoctlRequest,
    Command.CANCEL: cancel.CancelRequest,
    Command.ECHO: echo.EchoRequest,
    Command.QUERY_DIRECTORY: query_directory.QueryDirectoryRequest,
    Command.CHANGE_NOTIFY: change_notify.ChangeNotifyRequest,
    Command.QUERY_INFO: query_info.QueryInfoRequest,
    Command.SET_INFO: set_info.SetInfoRequest,
}

RESPONSES: Final[dict[int, type[Message]]] = {
    Command.NEGOTIATE: negotiate.NegotiateResponse,
    Command.SESSION_SETUP: session_setup.SessionSetupResponse,
    Command.LOGOFF: logoff.LogoffResponse,
    Command.TREE_CONNECT: tree_connect.TreeConnectResponse,
    Command.TREE_DISCONNECT: tree_disconnect.TreeDisconnectResponse,
    Command.CREATE: create.CreateResponse,
    Command.CLOSE: close.CloseResponse,
    Command.FLUSH: flush.FlushResponse,
    Command.READ: read.ReadResponse,
    Command.WRITE: write.WriteResponse,
    Command.LOCK: lock.LockResponse,
    Command.IOCTL: ioctl.IoctlResponse,
    Command.ECHO: echo.EchoResponse,
    Command.QUERY_DIRECTORY: query_directory.QueryDirectoryResponse,
    Command.CHANGE_NOTIFY: change_notify.ChangeNotifyResponse,
    Command.QUERY_INFO: query_info.QueryInfoResponse,
    Command.SET_INFO: set_info.SetInfoResponse,
    Command.SERVER_TO_CLIENT_NOTIFICATION: ServerToClientNotification,
}

# Responses with one of these have their ordinary body: [MS-SMB2] 3.3.4.4 Sending an Error Response.
_ORDINARY: Final = frozenset(
    (Status.SUCCESS, Status.MORE_PROCESSING_REQUIRED, Status.BUFFER_OVERFLOW, Status.NOTIFY_ENUM_DIR)
)
_UNSOLICITED: Final = 0xFFFFFFFFFFFFFFFF


def decode_body_untrusted(message: Buffer, header: Header) -> Message:
    """The message behind a header, whatever its command. Raises: WireError."""
    if not header.is_response:
        if header.command == Command.OPLOCK_BREAK:
            return decode_acknowledgment_untrusted(message)
        return _of(REQUESTS, header).decode_untrusted(message)
    if header.status not in _ORDINARY:
        return ErrorResponse.decode_untrusted(message)
    if header.command == Command.OPLOCK_BREAK:
        return decode_from_server_untrusted(message, notification=header.message_id == _UNSOLICITED)
    return _of(RESPONSES, header).decode_untrusted(message)


def _of(table: dict[int, type[Message]], header: Header) -> type[Message]:
    if header.command not in table:
        raise WireError(f"no message of command {header.command:#x} goes this way")
    return table[header.command]


def describe_untrusted(message: Buffer) -> str:
    """One message in words: names of fields, flags and statuses, lengths of payloads. Never raises for bad
    bytes."""
    try:
        start = bytes(message[:4])
        if start == SMB2_TRANSFORM_PROTOCOL_ID:
            return repr(TransformHeader.decode_untrusted(message))
        if start == SMB2_COMPRESSION_PROTOCOL_ID:
            return repr(CompressionTransformHeader.decode_untrusted(message))
        if start == smb1_negotiate.SMB1_PROTOCOL_ID:
            return f"SMB_COM_NEGOTIATE{smb1_negotiate.decode_dialects_untrusted(message)}"
        header = Header.decode_untrusted(message)
    except WireError as error:
        return f"<{len(message)} bytes: {error}>"
    outcome = f" {Status(header.status).name}" if header.is_response else ""
    try:
        body = repr(decode_body_untrusted(message, header))
    except WireError as error:
        body = f"<malformed: {error}>"
    return f"{header!r}{outcome} {body}"
