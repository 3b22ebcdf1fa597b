"""Connections: bytes in, requests out to handlers, responses into the driver's arena. Source: [MS-SMB2]
3.3.1.7 Per Connection; 3.3.5.2 Receiving Any Message; 3.3.7.1 Handling Loss of a Connection.

    NEW --NEGOTIATE--> NEGOTIATED --last session is there--> SERVING --transport lost, violation, bug-->
    CLOSING

`receive` handles whole frames one after another. A READ or WRITE whose file can do it at once is answered by
a plain function; all else is a Job that the driver runs. What a handler returns leaves in the arena if it
never had to wait, else in memory of its own through `Driver.send`, which keeps the order.
Invariants: a message id is taken from the window exactly once; a request is answered exactly once, or its
connection ends. Owner: `Server.connections`, driven by `smbsrv/io/`. No I/O.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from smbproto.endpoint.framing import (
    BODY_START,
    LENGTH_BYTES,
    SEALED_START,
    Arena,
    OutMessage,
    finish_frame,
    finish_single,
    frame_bytes_max,
    frame_length_untrusted,
    sign_in_place,
    write_frame,
    write_header,
)
from smbproto.endpoint.server import Element, ServerEndpoint
from smbproto.errors import ProtocolViolation
from smbproto.io.eager import WAIT, Kind, run_inline
from smbproto.security.encryption import TAG_BYTES
from smbproto.smb2.describe import describe_untrusted
from smbproto.smb2.header import (
    HEADER,
    NO_SIGNATURE,
    SMB2_FLAGS_ASYNC_COMMAND,
    SMB2_FLAGS_RELATED_OPERATIONS,
    SMB2_FLAGS_REPLAY_OPERATION,
    SMB2_FLAGS_SIGNED,
    SMB2_HEADER_BYTES,
    Command,
)
from smbproto.status import Status, StatusError
from smbsrv.commands.cancel import cancel
from smbsrv.commands.negotiate import answer_smb1
from smbsrv.commands.payload import CREDIT_BYTES
from smbsrv.dispatch import execute
from smbsrv.fast import FAST
from smbsrv.job import Job, Work, response_flags
from smbsrv.request import Reply, Request
from smbsrv.session import SessionState

if TYPE_CHECKING:
    from smbproto.security.encryption import CipherId, Sealer
    from smbproto.security.signing import SigningAlgorithm
    from smbsrv.channel import Channel
    from smbsrv.server import Server
    from smbsrv.session import Session

__all__ = ["ARENA_BYTES", "FLUSH_BYTES", "Connection", "Driver"]

log = logging.getLogger("sofs.smb")

FLUSH_BYTES = 256 << 10
"""An arena with this much in it is sent before the next request is handled."""
ANSWER_BYTES_MAX = 8 << 20
ARENA_BYTES = FLUSH_BYTES + (9 << 20)
_NOT_FAST = SMB2_FLAGS_ASYNC_COMMAND | SMB2_FLAGS_REPLAY_OPERATION
_UNSIGNED = frozenset((Command.NEGOTIATE, Command.SESSION_SETUP, Command.CANCEL))
_WITH_PAYLOAD = frozenset((Command.READ, Command.WRITE, Command.QUERY_DIRECTORY))
_CANCEL = int(Command.CANCEL)
_SMB2 = 0xFE
_SEALED = 0xFD
_SMB1 = 0xFF

_unpack_header = HEADER.unpack_from
_pack_header = HEADER.pack_into


class Driver(Protocol):
    """What `smbsrv/io` does for its connections."""

    arena: Arena

    def detach(self, job: Job, work: Work) -> None:
        """Go on with `work`, and with what follows it in the job, in a task that ends with the connection."""
        ...

    def send(self, connection: Connection, frame: memoryview) -> None:
        """Send after what was sent before, and after what the arena holds for this connection."""
        ...

    def is_stuck(self, connection: Connection) -> bool:
        """Whether the peer has not taken what was sent, for about a second."""
        ...

    def close(self, connection: Connection) -> None:
        """Drop the transport, soon; `Connection.lost` follows."""
        ...


class Connection:
    """See the module."""

    def __init__(self, server: Server, driver: Driver, number: int, peer: str, now: float) -> None:
        limits = server.limits
        self.server = server
        self.driver = driver
        self.arena = driver.arena
        self.id = number
        self.peer = peer
        self.endpoint = ServerEndpoint(
            frame_max_bytes=limits.frame_before_session_bytes,
            elements_max=limits.compound_elements,
            credits_max=limits.credits_max,
        )
        self.window = self.endpoint.window
        self.channels: dict[int, Channel] = {}
        """By session id."""
        self.jobs: dict[Job, None] = {}
        """Those that have a task of their own."""
        self.asynchronous: dict[int, Job] = {}
        self.is_closing = False
        self.created_s = self.received_s = now
        self.is_wildcard = False
        """A multi-protocol negotiate was answered with 0x02FF; the SMB2 one is still to come."""
        self.has_session = False
        """Somebody has authenticated here."""
        self.is_receiving = False
        self.may_read = True
        """False while READs and WRITEs under way need much memory: the driver reads no further requests."""
        self._waiting_bytes = 0
        self.dialect = 0
        """0 until NEGOTIATE is answered."""
        self.client_guid = bytes(16)
        self.client_name = ""
        self.client_capabilities = 0
        self.client_security_mode = 0
        self.server_capabilities = 0
        self.server_security_mode = 0
        self.max_transact_size = self.max_read_size = self.max_write_size = limits.io_size_small_bytes
        self.cipher: CipherId | None = None
        self.signing_algorithm: SigningAlgorithm | None = None
        self.supports_multi_credit = False
        self._next_async_id = 1
        self._notices: list[tuple[bytes, Channel | None]] = []
        """Notifications that the frame being handled set off on its own connection."""

    def __repr__(self) -> str:
        return f"Connection({self.id}, {self.peer}, {self.dialect:#06x})"

    # in

    def receive(self, view: memoryview, at: int, have: int) -> int:
        """Handle the whole frames in `view[at:have]` until the arena should be sent. Where the next one
        begins.

        Raises: ProtocolViolation, and whatever a bug raises: the driver closes the connection.
        """
        arena = self.arena
        self.is_receiving = True
        try:
            while (
                have - at >= LENGTH_BYTES
                and arena.end < FLUSH_BYTES
                and self.may_read
                and not self.is_closing
            ):
                end = at + LENGTH_BYTES + frame_length_untrusted(view, at, self.endpoint.frame_max_bytes)
                if end > have:
                    break
                if end > at + LENGTH_BYTES:
                    self._frame(view, at + LENGTH_BYTES, end)
                    if self._notices:
                        self._send_notices()
                at = end
        except ProtocolViolation:
            raise
        except Exception as error:
            error.add_note(f"while handling {describe_untrusted(view[at + LENGTH_BYTES : have])}")
            raise
        finally:
            self.is_receiving = False
            self._notices.clear()
        return at

    def _frame(self, view: memoryview, start: int, end: int) -> None:
        sealed_by: Channel | None = None
        first = view[start]
        if first != _SMB2:
            if first == _SEALED:
                start, session_id = self.endpoint.unseal(view, start, end)
                sealed_by = self.channels[session_id]
            elif first == _SMB1 and not self.dialect and not self.is_wildcard:
                self._answer_smb1(view[start:end])
                return
            else:
                raise ProtocolViolation(f"a frame that begins with {first:#x}")
        if end - start < SMB2_HEADER_BYTES:
            raise ProtocolViolation(f"{end - start} bytes are too short for an SMB2 header")
        header = _unpack_header(view, start)
        command, flags, session_id = header[4], header[6], header[11]
        channel = self.channels.get(session_id)
        if (
            header[7]
            or header[0] != b"\xfeSMB"
            or header[1] != SMB2_HEADER_BYTES
            or flags & SMB2_FLAGS_RELATED_OPERATIONS
            or command == _CANCEL
            or channel is None
            or not (sealed_by is None or sealed_by is channel)
        ):
            self._general(view, start, end, sealed_by)
            return
        self._consume(header[8], header[2])
        fast = FAST.get(command)
        verified = False
        if fast is not None and not flags & _NOT_FAST:
            verified = self._is_fast(channel, flags, view, start, end, header[8], sealed_by)
            if verified and fast(self, channel, view, start, end, header, sealed_by):
                return
        self._run_one((start, end, header), view, sealed_by, verified=verified)

    def _is_fast(
        self,
        channel: Channel,
        flags: int,
        view: memoryview,
        start: int,
        end: int,
        message_id: int,
        sealed_by: Channel | None,
    ) -> bool:
        """Whether nothing but the file can be in the way of this READ or WRITE; its signature is right
        then."""
        session = channel.session
        if session.state is not SessionState.VALID:
            return False
        if sealed_by is not None:
            return True
        if session.encrypt_data:
            return False
        if flags & SMB2_FLAGS_SIGNED:
            return channel.signer is not None and channel.signer.verify(view[start:end], message_id, False)
        return not session.signing_required

    def _run_one(
        self, element: Element, view: memoryview, sealed_by: Channel | None, *, verified: bool = False
    ) -> None:
        """A lone request. A Job is made of it only if it must wait."""
        request = self._request(element, view, sealed_by, None, verified=verified)
        work = execute(request)
        kind, reply = run_inline(work)
        if reply is not None:
            self._answer(request, reply, sealed_by)
            return
        assert kind is not None
        self._pause(Job(self, [request], sealed_by), work, kind)

    def _run(self, job: Job, work: Work | None) -> None:
        """The elements of a compound, as far as they go."""
        while work is not None:
            kind, reply = run_inline(work)
            if kind is not None:
                self._pause(job, work, kind)
                return
            assert reply is not None
            work = job.advance(reply)
        job.finish()

    def _pause(self, job: Job, work: Work, kind: Kind) -> None:
        """A handler must wait: the rest of the job runs in a task, unless waiting is not for it."""
        if kind is WAIT and not job.may_wait():
            work.close()
            self._run(job, job.advance(job.refused()))
            return
        self.job_detached(job)
        self.driver.detach(job, work)
        if kind is WAIT:
            job.waits()

    def _general(self, view: memoryview, start: int, end: int, sealed_by: Channel | None) -> None:
        """Any frame: verify all of its messages, then answer them in order."""
        requests: list[Request] = []
        previous: Request | None = None
        for element in self.endpoint.elements(view, start, end):
            header = element[2]
            command = header[4]
            if command == Command.CANCEL:
                self._check_cancel(element, view, sealed_by)
                continue
            if not self.dialect and command != Command.NEGOTIATE:
                raise ProtocolViolation(f"command {command:#x} before NEGOTIATE")
            self._consume(header[8], header[2])
            previous = self._request(element, view, sealed_by, previous)
            requests.append(previous)
        if not requests:
            return
        for request in requests:
            if not request.is_related:
                break
            request.early = StatusError(Status.INVALID_PARAMETER, "a related request with none before it")
        job = Job(self, requests, sealed_by)
        self._run(job, execute(job.current))

    def _request(
        self, element: Element, view: memoryview, sealed_by: Channel | None, previous: Request | None,
        *, verified: bool = False,
    ) -> Request:  # fmt: skip
        start, end, header = element
        (_, _, charge, word, command, credits, flags, _, message_id, process_id, tree_id, session_id, _) = (
            header
        )
        request = Request(self.server, self, view[start:end], command, message_id, flags, charge)
        request.credits_requested = credits
        request.channel_sequence = word & 0xFFFF
        request.process_id, request.tree_id, request.session_id = process_id, tree_id, session_id
        request.is_encrypted = sealed_by is not None
        if flags & SMB2_FLAGS_RELATED_OPERATIONS:
            request.is_related = True
            if previous is not None:
                session_id = previous.session_id
                request.session_id = session_id
        channel = self.channels.get(session_id)
        if channel is not None:
            request.channel, request.session = channel, channel.session
        if sealed_by is not None:
            request.sealed_by = sealed_by
            if channel is not sealed_by and not request.is_related:
                raise ProtocolViolation(f"a message of session {session_id:#x} sealed for another")
        elif verified:
            assert channel is not None
            request.signer, request.must_sign = channel.signer, bool(flags & SMB2_FLAGS_SIGNED)
        else:
            self._verify(request, channel)
        return request

    def _verify(self, request: Request, channel: Channel | None) -> None:
        """[MS-SMB2] 3.3.5.2.4 Verifying the Signature. A binding is verified by its handler, with the
        session's key."""
        command = request.command
        if not request.flags & SMB2_FLAGS_SIGNED:
            if channel is not None and channel.session.signing_required:
                # A SESSION_SETUP that has a key is a reauthentication.
                if command not in _UNSIGNED or (command == Command.SESSION_SETUP and channel.signer):
                    request.early = StatusError(Status.ACCESS_DENIED, "the message must be signed")
            return
        if command == Command.NEGOTIATE:
            request.early = StatusError(Status.INVALID_PARAMETER, "a signed NEGOTIATE")
        elif channel is None:
            if command != Command.SESSION_SETUP and not request.is_related:
                request.early = StatusError(Status.USER_SESSION_DELETED, f"session {request.session_id:#x}")
        elif channel.signer is None:
            if channel.session.state is not SessionState.IN_PROGRESS and not channel.session.is_anonymous:
                request.early = StatusError(Status.ACCESS_DENIED, "the session has no signing key")
        else:
            request.signer, request.must_sign = channel.signer, True
            if not channel.signer.verify(request.message, request.message_id, False):
                log.warning("wrong signature connection=%d message=%d", self.id, request.message_id)
                request.early = StatusError(Status.ACCESS_DENIED, "wrong signature")

    def _check_cancel(self, element: Element, view: memoryview, sealed_by: Channel | None) -> None:
        """[MS-SMB2] 3.3.5.16 Receiving an SMB2 CANCEL Request: no message id is taken, no response is
        sent."""
        start, end, header = element
        flags, message_id, session_id = header[6], header[8], header[11]
        channel = self.channels.get(session_id)
        if channel is not None and flags & SMB2_FLAGS_SIGNED and sealed_by is None:
            if channel.signer is None or not channel.signer.verify(view[start:end], message_id, False, True):
                log.warning("wrong signature connection=%d cancel of message=%d", self.id, message_id)
                return
        async_id = header[9] | header[10] << 32 if flags & SMB2_FLAGS_ASYNC_COMMAND else 0
        cancel(self, async_id, message_id)

    def _answer_smb1(self, message: memoryview) -> None:
        self._consume(0, 1)
        self.send_messages([answer_smb1(self, message)], None, None)

    def _consume(self, message_id: int, charge: int) -> None:
        """[MS-SMB2] 3.3.5.2.3 Verifying the Sequence Number. Without multi-credit requests the charge means
        nothing."""
        if not self.window.consume(message_id, charge if self.supports_multi_credit else 1):
            raise ProtocolViolation(f"message id {message_id} (charge {charge}) is not the client's to use")

    # out

    def _answer(self, request: Request, reply: Reply, sealed_by: Channel | None) -> None:
        """The response to a lone request that never had to wait, built where it is sent."""
        arena, body = self.arena, reply.body
        if reply.frame is not None or reply.preauth is not None or len(body) > ANSWER_BYTES_MAX:
            message = Job(self, [request], sealed_by).message(request, reply)
            self.send_messages([message], sealed_by, reply.frame)
            return
        start = arena.end + (LENGTH_BYTES if sealed_by is None else SEALED_START)
        end = start + SMB2_HEADER_BYTES + len(body)
        _pack_header(
            arena.buffer, start, b"\xfeSMB", SMB2_HEADER_BYTES, request.credit_charge, reply.status,
            request.command, self.grant(request), response_flags(request), 0, request.message_id,
            request.process_id, request.tree_id, request.session_id, NO_SIGNATURE,
        )  # fmt: skip
        arena.view[start + SMB2_HEADER_BYTES : end] = body
        signer = request.signer if request.must_sign else None
        finish_single(
            arena, start, end, request.message_id, signer, None if sealed_by is None else sealed_by.sealer
        )

    def send_messages(
        self, messages: list[OutMessage], sealed_by: Channel | None, frame: bytearray | None
    ) -> None:
        """Into the arena if it is this connection's turn and there is room, else in memory of their own.
        `frame` holds the body of the only message already."""
        sealer = None if sealed_by is None else sealed_by.sealer
        if frame is not None:
            self._send_prepared(messages[0], sealer, frame)
            return
        arena = self.arena
        size = frame_bytes_max([message.body for message in messages])
        if self.is_receiving and size <= arena.room_bytes:
            arena.end = write_frame(arena.view, arena.end, messages, sealer)
            return
        memory = memoryview(bytearray(size))
        self.driver.send(self, memory[: write_frame(memory, 0, messages, sealer)])

    def _send_prepared(self, message: OutMessage, sealer: Sealer | None, frame: bytearray) -> None:
        memory = memoryview(frame)
        end = BODY_START + len(message.body)
        write_header(memory, SEALED_START, message)
        base = 0
        if sealer is None:
            base = SEALED_START - LENGTH_BYTES
            if message.signer is not None:
                sign_in_place(memory, SEALED_START, end, message.message_id, message.signer)
        self.driver.send(self, memory[base : finish_frame(memory, base, end, sealer)])

    def send_unsolicited(self, message: bytes, sealed_by: Channel | None) -> None:
        """A notification: never signed. One that a frame of this connection sets off follows what answers
        that frame, and comes before what answers the next."""
        if self.is_receiving:
            self._notices.append((message, sealed_by))
            return
        memory = memoryview(bytearray(SEALED_START + len(message) + TAG_BYTES))
        self.driver.send(self, memory[: _put_notice(memory, 0, message, sealed_by)])

    def _send_notices(self) -> None:
        arena = self.arena
        for message, sealed_by in self._notices:
            size = SEALED_START + len(message) + TAG_BYTES
            if size <= arena.room_bytes:
                arena.end = _put_notice(arena.view, arena.end, message, sealed_by)
            else:
                memory = memoryview(bytearray(size))
                self.driver.send(self, memory[: _put_notice(memory, 0, message, sealed_by)])
        self._notices.clear()

    def grant(self, request: Request) -> int:
        """CreditResponse. Source: [MS-SMB2] 3.3.1.2 Algorithm for the Granting of Message Credits. What is
        asked for is given, up to the limit; little to strangers; never so little that the client could not go
        on."""
        wanted = max(request.credits_requested, request.credit_charge, 1)
        if not self.has_session:
            wanted = min(wanted, self.server.limits.credits_before_session)
        return self.window.grant(wanted)

    # requests that wait

    def job_detached(self, job: Job) -> None:
        """It has a task of its own from now on."""
        job.is_detached = True
        job.started_s = self.server.runtime.now()
        self.jobs[job] = None
        self._count_payload(_payload_bytes(job))

    def job_ended(self, job: Job) -> None:
        """Its task is over. Idempotent."""
        if job in self.jobs:
            del self.jobs[job]
            self._count_payload(-_payload_bytes(job))
        self.asynchronous.pop(job.async_id, None)

    def _count_payload(self, change: int) -> None:
        self._waiting_bytes += change
        self.may_read = self._waiting_bytes <= self.server.limits.reading_bytes

    def new_async_id(self, job: Job) -> int:
        number, self._next_async_id = self._next_async_id, self._next_async_id + 1
        self.asynchronous[number] = job
        return number

    # the end

    def forget_session(self, session: Session) -> None:
        self.channels.pop(session.id, None)
        self.endpoint.openers.pop(session.id, None)
        session.channels.pop(self, None)

    def lost(self) -> None:
        """The transport is gone: [MS-SMB2] 3.3.7.1 Handling Loss of a Connection. Called once, by the
        driver."""
        self.is_closing = True
        self.server.connections.pop(self, None)
        self.server.forget_client(self)
        ended: list[Session] = []
        for channel in list(self.channels.values()):
            session = channel.session
            self.forget_session(session)
            session.setups.pop(self, None)
            if not session.channels:
                ended.append(session)
        for job in list(self.jobs):
            request = job.current
            goes_on = request.outlives_connection and request.session is not None and request.session.channels
            if job.cancel is not None and not goes_on:
                job.cancel()
        if ended:
            self.server.sessions_lost(ended)
        self.server.retelling.lost(self, self.server.runtime.now())


def _put_notice(view: memoryview, base: int, message: bytes, sealed_by: Channel | None) -> int:
    """The frame of a notification at `base`; where it ends."""
    sealer = None if sealed_by is None else sealed_by.sealer
    start = base + (LENGTH_BYTES if sealer is None else SEALED_START)
    end = start + len(message)
    view[start:end] = message
    return finish_frame(view, base, end, sealer)


def _payload_bytes(job: Job) -> int:
    """What its data, or the answers to its READs and listings, may take, by the credits they cost."""
    return sum(
        CREDIT_BYTES * (request.credit_charge or 1)
        for request in job.requests
        if request.command in _WITH_PAYLOAD
    )
