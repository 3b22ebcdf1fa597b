"""A frame's requests on their way: one, or the elements of a compound one after another.

      execute()                    advance(reply), more to do
    NEW -----> RUNNING <----------------------------------+
                 |  | handler must wait                   |
                 |  +------> DETACHED: a task of its own -+
                 v                       v
               finish(): the responses leave together

A handler that waits for something of unknown length gets an interim response at once; then what is answered
already leaves with it, and the final response is asynchronous. An element in the middle of a compound may not
wait so, but for a CREATE.

Source: [MS-SMB2] 3.3.4.2 Sending an Interim Response for an Asynchronous Operation; 3.3.5.2.7 Handling
Compounded Requests. Owner: the Connection. The driver runs the coroutines.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeAlias

from smbproto.endpoint.framing import OutMessage
from smbproto.smb2.header import (
    SMB2_FLAGS_ASYNC_COMMAND,
    SMB2_FLAGS_RELATED_OPERATIONS,
    SMB2_FLAGS_SERVER_TO_REDIR,
    SMB2_FLAGS_SIGNED,
    Command,
)
from smbproto.status import Status
from smbsrv.dispatch import ERROR_BODY, execute
from smbsrv.request import Chain, Reply, Request

if TYPE_CHECKING:
    from smbsrv.channel import Channel
    from smbsrv.connection import Connection

_COPIED = frozenset((Command.CHANGE_NOTIFY, Command.LOCK, Command.READ, Command.SESSION_SETUP))
_IN_SILENCE = frozenset((Command.SET_INFO, Command.SESSION_SETUP))

Work: TypeAlias = Coroutine[Any, None, Reply]


class Job:
    """See the module. `cancel` is the driver's: it stops the handler that runs now. Of a lone request there
    is a job only if it detached."""

    __slots__ = (
        "async_id",
        "cancel",
        "connection",
        "index",
        "is_detached",
        "is_waiting",
        "last_frame",
        "outgoing",
        "requests",
        "sealed_by",
        "started_s",
    )

    def __init__(self, connection: Connection, requests: list[Request], sealed_by: Channel | None) -> None:
        self.connection = connection
        self.requests = requests
        self.sealed_by = sealed_by
        self.index = 0
        self.outgoing: list[OutMessage] = []
        self.last_frame: bytearray | None = None
        self.async_id = 0
        self.is_detached = False
        self.is_waiting = False
        self.started_s = 0.0
        self.cancel: Callable[[], None] | None = None
        if len(requests) > 1:
            chain = Chain()
            for request in requests:
                request.chain = chain

    @property
    def current(self) -> Request:
        return self.requests[self.index]

    def advance(self, reply: Reply) -> Work | None:
        """The current request has its answer; the work on the next one, or None: call `finish`."""
        request = self.requests[self.index]
        self.outgoing.append(self.message(request, reply))
        self.last_frame = reply.frame
        chain = request.chain
        if chain is not None:
            chain.status = reply.status
            chain.session_id, chain.tree_id = request.session_id, request.tree_id
            if request.command == Command.CREATE:
                chain.had_file_id = True
                chain.open = None
            if request.open is not None and reply.status < 0xC0000000:
                chain.open = request.open
        if self.async_id:
            self.connection.asynchronous.pop(self.async_id, None)
            self.async_id = 0
        self.is_waiting = False
        self.index += 1
        if self.index == len(self.requests) or self.connection.is_closing:
            return None
        following = self.requests[self.index]
        if chain is not None and not following.is_related:
            chain.open, chain.had_file_id = None, False  # only what comes right before is inherited
        return execute(following)

    def may_wait(self) -> bool:
        """Whether the current request may wait for something of unknown length where it stands. In the middle
        of a compound only for disks and lease breaks, not for what other clients may do some day."""
        if len(self.connection.asynchronous) >= self.connection.server.limits.async_requests_per_connection:
            return False
        return self._is_last() or self.current.command not in (Command.CHANGE_NOTIFY, Command.LOCK)

    def keeps_memory(self) -> bool:
        """Whether the frame must stay where it was received. What may wait for ever takes a copy of its few
        bytes: else each watcher of a directory would hold a whole receive buffer. Its handler has no view."""
        request = self.requests[0]
        if len(self.requests) > 1 or request.command not in _COPIED:
            return True
        request.message = memoryview(bytearray(request.message))
        return False

    def may_tell(self) -> bool:
        """Whether an interim response may be sent: for the last of a compound, and CREATE anywhere. A
        SET_INFO waits in silence, as on Windows: Linux renames by CREATE, SET_INFO, CLOSE in one chain, and
        holds the very handles that have to go first. So does a SESSION_SETUP, whose responses are hashed."""
        command = self.current.command
        return command == Command.CREATE or (self._is_last() and command not in _IN_SILENCE)

    def _is_last(self) -> bool:
        return self.index == len(self.requests) - 1

    def waits(self) -> None:
        """The handler waits for something of unknown length; CANCEL may stop it."""
        self.is_waiting = True
        self.interim()

    def interim(self) -> None:
        """Tell the client that it takes longer, once, with all that is answered already."""
        if self.async_id or self.connection.is_closing or not self.may_tell():
            return
        self.async_id = self.connection.new_async_id(self)
        request = self.current
        message = self.message(request, Reply(ERROR_BODY, Status.PENDING))
        message.signer = None
        message.flags &= ~SMB2_FLAGS_SIGNED
        messages, self.outgoing = [*self.outgoing, message], []
        self.connection.send_messages(messages, self.sealed_by, None)

    def cancelled(self) -> Reply:
        """The answer to a request that CANCEL stopped."""
        return Reply(ERROR_BODY, Status.CANCELLED)

    def refused(self) -> Reply:
        """The answer to a request that would have to wait where none may."""
        return Reply(ERROR_BODY, Status.INSUFFICIENT_RESOURCES if self._is_last() else Status.INTERNAL_ERROR)

    def finish(self) -> None:
        """Send what is left to say."""
        connection = self.connection
        if self.is_detached:
            connection.job_ended(self)
        if self.outgoing and not connection.is_closing:
            frame = self.last_frame if len(self.outgoing) == 1 else None
            connection.send_messages(self.outgoing, self.sealed_by, frame)

    def message(self, request: Request, reply: Reply) -> OutMessage:
        """[MS-SMB2] 3.3.4.3 Sending a Success Response; 3.3.4.4 Sending an Error Response."""
        low, high = request.process_id, request.tree_id
        credits = asynchronous = 0
        if self.async_id:
            asynchronous = SMB2_FLAGS_ASYNC_COMMAND
            low, high = self.async_id & 0xFFFFFFFF, self.async_id >> 32
        if not self.async_id or reply.status == Status.PENDING:
            credits = self.connection.grant(request)
        return OutMessage(
            request.command, reply.status, response_flags(request) | asynchronous, request.message_id,
            low, high, request.session_id, reply.body, credit_charge=request.credit_charge, credits=credits,
            signer=request.signer if request.must_sign else None, preauth=reply.preauth,
        )  # fmt: skip


def response_flags(request: Request) -> int:
    """What the response's header says of itself, but for ASYNC_COMMAND."""
    flags = SMB2_FLAGS_SERVER_TO_REDIR | (request.flags & SMB2_FLAGS_RELATED_OPERATIONS)
    if request.must_sign and not request.is_encrypted:
        return flags | SMB2_FLAGS_SIGNED
    if request.signer is None:
        # Nothing is there to sign with (no such session); the flag stays, without which clients heed no
        # status.
        flags |= request.flags & SMB2_FLAGS_SIGNED
    return flags
