"""From a verified message to its reply: find session and tree, ask the handler, turn its refusal into an
error response.

Source: [MS-SMB2] 3.3.5.2.9 Verifying the Session; 3.3.5.2.11 Verifying the Tree Connect; 3.3.4.4 Sending an
Error Response. Anything but StatusError, WireError and ProtocolViolation is a bug of ours and passes through:
it ends the connection.
"""

from __future__ import annotations

import logging

from smbproto.errors import WireError
from smbproto.smb2.error import SymbolicLinkError, error_body
from smbproto.smb2.header import Command
from smbproto.status import BufferTooSmall, Status, StatusError, StoppedOnSymlink
from smbsrv.handlers import HANDLERS
from smbsrv.request import Reply, Request
from smbsrv.session import SessionState
from storage.volume import StorageError, status_error

__all__ = ["ERROR_BODY", "error_reply", "execute"]

log = logging.getLogger("sofs.smb")

ERROR_BODY = b"\x09\0\0\0\0\0\0\0\0"
"""An SMB2 ERROR Response without data."""

_NO_SESSION = frozenset((Command.NEGOTIATE, Command.SESSION_SETUP, Command.ECHO))
_NO_TREE = frozenset(
    (*_NO_SESSION, Command.LOGOFF, Command.TREE_CONNECT, Command.CANCEL, Command.OPLOCK_BREAK)
)
_WHEN_EXPIRED = frozenset((Command.LOGOFF, Command.CLOSE, Command.LOCK))


async def execute(request: Request) -> Reply:
    """Answer the request. Raises: ProtocolViolation; anything else but cancellation is a bug."""
    try:
        if request.early is not None:
            raise request.early
        handler = HANDLERS.get(request.command)
        if handler is None:
            raise StatusError(Status.INVALID_PARAMETER, f"command {request.command:#x}")
        _resolve(request)
        result = await handler(request)
        return Reply(result) if type(result) is bytes else as_reply(result)
    except StatusError as error:
        return error_reply(request, error)
    except StorageError as error:
        connection = request.connection.id
        log.warning("storage failed connection=%d command=%d: %s", connection, request.command, error)
        return error_reply(request, status_error(error))
    except WireError as error:
        log.info("malformed connection=%d command=%d: %s", request.connection.id, request.command, error)
        return Reply(ERROR_BODY, Status.INVALID_PARAMETER)
    finally:
        if request.counted is not None:
            request.done()


def as_reply(result: Reply | bytes) -> Reply:
    return result if isinstance(result, Reply) else Reply(result)


def error_reply(request: Request, error: StatusError) -> Reply:
    """[MS-SMB2] 2.2.2 SMB2 ERROR Response, with the data that some statuses carry."""
    if log.isEnabledFor(logging.DEBUG):
        log.debug(
            "refused connection=%d message=%d command=%d: %s",
            request.connection.id, request.message_id, request.command, error,
        )  # fmt: skip
    if isinstance(error, StoppedOnSymlink):
        link = SymbolicLinkError(
            unparsed_path_length=error.unparsed_path_length_bytes,
            flags=1 if error.relative else 0,
            substitute_name=error.substitute_name,
            print_name=error.print_name,
        )
        data = link.encode()
    elif isinstance(error, BufferTooSmall):
        data = error.need_bytes.to_bytes(4, "little")
    else:
        return Reply(ERROR_BODY, error.status)
    return Reply(error_body(data, dialect_311=request.connection.dialect >= 0x0311), error.status)


def _resolve(request: Request) -> None:
    """Session and tree connect of the request. Raises: StatusError."""
    command = request.command
    chain = request.chain
    if request.is_related and chain is not None:
        request.session_id, request.tree_id = chain.session_id, chain.tree_id
        request.channel = request.connection.channels.get(chain.session_id)
        request.session = None if request.channel is None else request.channel.session
    if command in _NO_SESSION:
        return
    session = request.session
    if session is None:
        if request.is_related:
            raise StatusError(Status.INVALID_PARAMETER, "a related request with no session before it")
        raise StatusError(Status.USER_SESSION_DELETED, f"session {request.session_id:#x}")
    if session.state is not SessionState.VALID and command not in _WHEN_EXPIRED:
        if session.state is SessionState.EXPIRED:
            raise StatusError(Status.NETWORK_SESSION_EXPIRED)
        raise StatusError(Status.USER_SESSION_DELETED, "the session setup is not complete")
    if session.signing_required and not (request.is_encrypted or request.must_sign):
        # Verified when it came; but then the session had no key yet: it rode on the last SESSION_SETUP.
        raise StatusError(Status.ACCESS_DENIED, "the message was not verified with the session's key")
    if session.encrypt_data and not request.is_encrypted:
        raise StatusError(Status.ACCESS_DENIED, "the session must be encrypted")
    if command in _NO_TREE:
        return
    tree = session.trees.get(request.tree_id)
    if tree is None:
        if request.is_related and not request.tree_id:
            raise StatusError(Status.INVALID_PARAMETER, "a related request with no tree connect before it")
        raise StatusError(Status.NETWORK_NAME_DELETED, f"tree {request.tree_id}")
    if tree.encrypt and not request.is_encrypted:
        raise StatusError(Status.ACCESS_DENIED, f"share {tree.share.name} must be encrypted")
    request.tree = tree
