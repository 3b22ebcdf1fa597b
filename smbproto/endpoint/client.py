"""The client's end of a connection, without I/O: requests in, bytes out; bytes in, events out.

    start() -> Negotiating
    begin_session() -> SessionReady | SessionRefused
    request() -> [Pending] -> Answer

The driver sends what `take_output` gives, in order, and feeds what it receives. Each request gets one
`Answer`, whatever its status; a CANCEL gets none. `ProtocolViolation` means: close the connection, nothing
of it can be trusted.

Owner: one connection of the client. It knows keys, message ids and credits; it never knows paths or opens.
Source: [MS-SMB2] 3.2.4.1 Sending Any Outgoing Message; 3.2.5.1 Receiving Any Message; 3.2.4.24 Application
Requests Canceling an Operation; 3.2.5.19 Receiving an SMB2 OPLOCK_BREAK Notification.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from smbproto import limits
from smbproto.codec import Buffer
from smbproto.endpoint.client_frames import Frame, FrameReader, Outgoing, build_frame
from smbproto.endpoint.client_negotiate import SALT_BYTES, ClientConfig, Negotiated
from smbproto.endpoint.client_session import ClientSession, SessionState
from smbproto.endpoint.window import ClientWindow
from smbproto.errors import ProtocolViolation, WireError
from smbproto.security.encryption import TRANSFORM_HEADER_BYTES, session_id_of
from smbproto.security.preauth import PreauthIntegrity
from smbproto.security.spnego import SpnegoInitiator
from smbproto.smb2.cancel import CancelRequest
from smbproto.smb2.header import (
    HEADER,
    SMB2_FLAGS_ASYNC_COMMAND,
    SMB2_FLAGS_RELATED_OPERATIONS,
    SMB2_FLAGS_SERVER_TO_REDIR,
    SMB2_FLAGS_SIGNED,
    SMB2_HEADER_BYTES,
    SMB2_PROTOCOL_ID,
    UNSOLICITED_MESSAGE_ID,
    Command,
)
from smbproto.smb2.negotiate import NegotiateResponse
from smbproto.smb2.oplock_break import (
    LeaseBreakNotification,
    OplockBreakNotification,
    decode_from_server_untrusted,
)
from smbproto.smb2.session_setup import SessionSetupRequest, SessionSetupResponse
from smbproto.status import Status, StatusError

__all__ = [
    "Answer",
    "BreakNotice",
    "ClientEndpoint",
    "Event",
    "Negotiating",
    "Pending",
    "SessionClosed",
    "SessionReady",
    "SessionRefused",
]

FRAME_BYTES_MAX = limits.TRANSACT_BYTES_MAX + 65536 + TRANSFORM_HEADER_BYTES
UNSIGNED_ERRORS = (
    Status.USER_SESSION_DELETED,
    Status.NETWORK_SESSION_EXPIRED,
)  # the server has no key for them
_unpack_header = HEADER.unpack_from


@dataclass(frozen=True, slots=True)
class Negotiating:
    """The server answered NEGOTIATE."""

    negotiated: Negotiated


@dataclass(frozen=True, slots=True)
class SessionReady:
    """The session is valid."""

    session: ClientSession


@dataclass(frozen=True, slots=True)
class SessionRefused:
    """The session setup ended with an error."""

    session: ClientSession
    error: StatusError


@dataclass(frozen=True, slots=True)
class Pending:
    """The server will answer later; the request can be cancelled for certain from now on."""

    message_id: int


@dataclass(frozen=True, slots=True)
class Answer:
    """The final response. `message` begins at its SMB2 header and is the receiver's to keep."""

    message_id: int
    status: int
    message: memoryview


@dataclass(frozen=True, slots=True)
class BreakNotice:
    """Another client wants in: an oplock or a lease is to be given up."""

    notice: OplockBreakNotification | LeaseBreakNotification


@dataclass(frozen=True, slots=True)
class SessionClosed:
    """The server closed the session (SERVER_TO_CLIENT_NOTIFICATION)."""

    session_id: int


Event: TypeAlias = (
    Negotiating | SessionReady | SessionRefused | Pending | Answer | BreakNotice | SessionClosed
)
_Header: TypeAlias = tuple[bytes, int, int, int, int, int, int, int, int, int, int, int, bytes]


@dataclass(slots=True)
class _Request:
    """A request without its final response yet."""

    command: int
    charge: int
    session: ClientSession | None
    sealed: bool
    tree_id: int
    async_id: int = 0


class ClientEndpoint:
    """One connection."""

    def __init__(self, config: ClientConfig, entropy: Callable[[int], bytes]) -> None:
        self.config = config
        self._entropy = entropy
        self._reader = FrameReader(FRAME_BYTES_MAX)
        self._window = ClientWindow(config.credits_target)
        self._output: list[memoryview] = []
        self._requests: dict[int, _Request] = {}
        self._sessions: dict[int, ClientSession] = {}
        self._preauth = PreauthIntegrity()
        self._negotiated: Negotiated | None = None

    @property
    def negotiated(self) -> Negotiated:
        """What was agreed; only after the event `Negotiating`."""
        assert self._negotiated is not None, "nothing is negotiated yet"
        return self._negotiated

    @property
    def credits(self) -> int:
        """Credits free to use."""
        return self._window.available

    @property
    def credits_owned(self) -> int:
        """Credits free or in use: a request that costs more would wait for ever."""
        return self._window.owned

    @property
    def outstanding(self) -> int:
        """Requests without a final response."""
        return len(self._requests)

    @property
    def output_waiting(self) -> bool:
        return bool(self._output)

    def take_output(self) -> list[memoryview]:
        """Frames to send, in this order."""
        output, self._output = self._output, []
        return output

    def receive_buffer(self) -> memoryview:
        """Where received bytes go."""
        return self._reader.buffer()

    def received(self, count: int) -> list[Event]:
        """`count` bytes were put into `receive_buffer()`. Raises: ProtocolViolation."""
        events: list[Event] = []
        for frame in self._reader.received(count):
            try:
                self._frame(frame, events)
            except WireError as error:
                raise ProtocolViolation(f"the server sent a broken message: {error}") from error
        return events

    # Sending

    def start(self) -> None:
        """Send NEGOTIATE."""
        body = self.config.request(self._entropy(SALT_BYTES)).encode()
        self._send_alone(Command.NEGOTIATE, body, None, self._preauth)

    def begin_session(self, initiator: SpnegoInitiator, previous_session_id: int = 0) -> ClientSession:
        """Send the first SESSION_SETUP; one credit must be free. SessionReady or SessionRefused follows."""
        session = ClientSession(self.config, self.negotiated, initiator, self._preauth.copy())
        self._send_setup(session, session.begin(), previous_session_id)
        return session

    def renew_session(self, session: ClientSession, initiator: SpnegoInitiator) -> None:
        """Prove again who we are; one credit must be free. `SessionReady` or `SessionRefused` follows."""
        self._send_setup(session, session.begin_again(initiator))

    def request(
        self,
        command: int,
        body: Buffer,
        payload: Buffer = b"",
        *,
        session: ClientSession,
        tree_id: int = 0,
        sealed: bool = False,
        charge: int = 1,
        flags: int = 0,
    ) -> int:
        """Send one request; its message id. `charge` credits must be free. `sealed`: encrypt it."""
        one = Outgoing(command, body, payload, charge=charge, tree_id=tree_id, flags=flags)
        return self.compound([one], session=session, sealed=sealed)[0]

    def compound(
        self,
        requests: Sequence[Outgoing],
        *,
        session: ClientSession,
        sealed: bool = False,
        related: bool = False,
    ) -> list[int]:
        """Send requests as one frame; their message ids. `related`: each but the first works on what the one
        before it opened. The sum of their charges must be free."""
        assert len(requests) <= limits.COMPOUND_ELEMENTS_MAX
        sealed = sealed or session.encrypt_data
        assert not sealed or session.sealer is not None, "encryption was not negotiated"
        signer = None
        if not sealed and session.signer is not None and self._must_sign(session, requests[0].command):
            signer = session.signer
        for index, request in enumerate(requests):
            self._admit(request, session, sealed)
            if related and index:
                request.flags |= SMB2_FLAGS_RELATED_OPERATIONS
        sealer = session.sealer if sealed else None
        self._output.append(build_frame(requests, session.session_id, signer, sealer))
        return [request.message_id for request in requests]

    def cancel(self, message_id: int) -> None:
        """Ask the server to give that request up; it is answered nevertheless. Nothing if it was."""
        request = self._requests.get(message_id)
        if request is None or request.session is None:
            return
        session = request.session
        flags = SMB2_FLAGS_ASYNC_COMMAND if request.async_id else 0
        cancel = Outgoing(
            Command.CANCEL, CancelRequest().encode(), message_id=message_id, charge=0, credits=0, flags=flags,
            tree_id=request.tree_id, async_id=request.async_id,
        )  # fmt: skip
        signer = session.signer if session.signing_required and not request.sealed else None
        sealer = session.sealer if request.sealed else None
        self._output.append(build_frame([cancel], session.session_id, signer, sealer))

    def forget_session(self, session: ClientSession) -> None:
        """The session is logged off or deleted; nothing may be sent on it any more."""
        session.state = SessionState.GONE
        self._sessions.pop(session.session_id, None)

    def _must_sign(self, session: ClientSession, command: int) -> bool:
        """[MS-SMB2] 3.2.4.1.1 Signing the Message; 3.1.1 signs every TREE_CONNECT that is not encrypted."""
        if session.signing_required:
            return True
        if command == Command.TREE_CONNECT and self.negotiated.dialect == 0x0311:
            return True
        # 3.2.5.5: VALIDATE_NEGOTIATE_INFO is signed; so as not to look into an IOCTL, below 3.1.1 all are.
        return command == Command.IOCTL and self.negotiated.dialect < 0x0311

    def _admit(self, request: Outgoing, session: ClientSession | None, sealed: bool) -> None:
        """Give it ids and credits, and remember it."""
        charge = request.charge
        first = self._window.take(charge)
        assert first is not None, f"{charge} credits are wanted, {self._window.available} are there"
        request.message_id = first
        request.credits = self._window.wanted(charge)
        if self._negotiated is None or self._negotiated.dialect == 0x0202:
            request.charge = 0
        self._requests[first] = _Request(request.command, charge, session, sealed, request.tree_id)

    def _send_alone(
        self, command: int, body: bytes, session: ClientSession | None, preauth: PreauthIntegrity | None
    ) -> None:
        """NEGOTIATE and SESSION_SETUP: not signed, and part of the preauthentication chain."""
        request = Outgoing(command, body)
        self._admit(request, session, False)
        frame = build_frame([request], session.session_id if session else 0, None, None)
        if preauth is not None:
            preauth.update(frame[4:])
        self._output.append(frame)

    def _send_setup(self, session: ClientSession, token: bytes, previous_session_id: int = 0) -> None:
        body = SessionSetupRequest(
            security_mode=self.config.security_mode,
            security_buffer=token,
            previous_session_id=previous_session_id,
        ).encode()
        if session.state is SessionState.RENEWING:
            self.compound([Outgoing(Command.SESSION_SETUP, body)], session=session)
        else:
            self._send_alone(Command.SESSION_SETUP, body, session, session.preauth)

    # Receiving

    def _frame(self, frame: Frame, events: list[Event]) -> None:
        view, end = frame
        start, sealed = 0, None
        if view[0] == 0xFD:
            sealed = self._sessions.get(session_id_of(view[:end]))
            if sealed is None or sealed.opener is None:
                raise ProtocolViolation("a message sealed for a session that is not here")
            sealed.opener.open_in_place(view, 0, end)
            start = TRANSFORM_HEADER_BYTES
        for _ in range(limits.COMPOUND_ELEMENTS_MAX):
            if end - start < SMB2_HEADER_BYTES:
                raise ProtocolViolation(f"{end - start} bytes are too short for an SMB2 header")
            header: _Header = _unpack_header(view, start)
            if header[0] != SMB2_PROTOCOL_ID or header[1] != SMB2_HEADER_BYTES:
                raise ProtocolViolation(f"no SMB2 header: {header[0]!r}, StructureSize {header[1]}")
            following = header[7]
            if not following:
                self._element(view[start:end], header, sealed, events)
                return
            if following & 7 or following < SMB2_HEADER_BYTES or following > end - start - SMB2_HEADER_BYTES:
                raise ProtocolViolation(f"NextCommand {following} in a message of {end - start} bytes")
            self._element(view[start : start + following], header, sealed, events)
            start += following
        raise ProtocolViolation(f"a compound of more than {limits.COMPOUND_ELEMENTS_MAX} responses")

    def _element(
        self, message: memoryview, header: _Header, sealed: ClientSession | None, events: list[Event]
    ) -> None:
        _, _, _, status, command, credits, flags, _, message_id, low, high, session_id, _ = header
        if not flags & SMB2_FLAGS_SERVER_TO_REDIR:
            raise ProtocolViolation("the server sent a request")
        if message_id == UNSOLICITED_MESSAGE_ID:
            self._unsolicited(message, command, session_id, events)
            return
        request = self._requests.get(message_id)
        if request is None or request.command != command:
            raise ProtocolViolation(
                f"a response to command {command}, message {message_id}, which was not asked"
            )
        self._window.granted(credits)
        self._verify(message, header, request, sealed)
        if status == Status.PENDING and flags & SMB2_FLAGS_ASYNC_COMMAND:
            request.async_id = low | high << 32
            events.append(Pending(message_id))
            return
        del self._requests[message_id]
        self._window.answered(request.charge)
        if command == Command.NEGOTIATE:
            self._negotiate_answer(message, status, events)
        elif command == Command.SESSION_SETUP:
            assert request.session is not None
            self._setup_answer(request.session, message, header, events)
        else:
            if status == Status.USER_SESSION_DELETED and request.session is not None:
                self.forget_session(request.session)
            events.append(Answer(message_id, status, message))

    def _verify(
        self, message: memoryview, header: _Header, request: _Request, sealed: ClientSession | None
    ) -> None:
        """[MS-SMB2] 3.2.5.1.1 Decrypting the Message; 3.2.5.1.3 Verifying the Signature."""
        status, flags, message_id, session_id = header[3], header[6], header[8], header[11]
        session = request.session
        if sealed is not None:
            if sealed is not session or session_id not in (session.session_id, 0):
                raise ProtocolViolation("a response came sealed for another session")
            return
        if status in UNSIGNED_ERRORS:
            return
        if request.sealed:
            raise ProtocolViolation(f"the response to the encrypted message {message_id} is not encrypted")
        if session is None or session.signer is None or status == Status.PENDING:
            return
        if flags & SMB2_FLAGS_SIGNED:
            if not session.signer.verify(message, message_id, True):
                raise ProtocolViolation(f"the response to message {message_id} has a wrong signature")
        elif self._must_sign(session, request.command):
            raise ProtocolViolation(f"the response to message {message_id} is not signed")

    def _unsolicited(self, message: memoryview, command: int, session_id: int, events: list[Event]) -> None:
        if command == Command.OPLOCK_BREAK:
            notice = decode_from_server_untrusted(message, notification=True)
            if not isinstance(notice, OplockBreakNotification | LeaseBreakNotification):
                raise ProtocolViolation("an unsolicited OPLOCK_BREAK response")
            events.append(BreakNotice(notice))
        elif command == Command.SERVER_TO_CLIENT_NOTIFICATION:
            session = self._sessions.get(session_id)
            if session is not None:
                self.forget_session(session)
                events.append(SessionClosed(session_id))
        else:
            raise ProtocolViolation(f"an unsolicited response to command {command}")

    def _negotiate_answer(self, message: memoryview, status: int, events: list[Event]) -> None:
        if status != Status.SUCCESS:
            raise ProtocolViolation(f"the server answers NEGOTIATE with {Status(status).name}")
        response = NegotiateResponse.decode_untrusted(message)
        self._negotiated = Negotiated.of_response(self.config, response)
        self._preauth.update(message)
        events.append(Negotiating(self._negotiated))

    def _setup_answer(
        self, session: ClientSession, message: memoryview, header: _Header, events: list[Event]
    ) -> None:
        status, message_id, session_id = header[3], header[8], header[11]
        if session.state not in (SessionState.SETTING_UP, SessionState.RENEWING):
            raise ProtocolViolation("a SESSION_SETUP response for a session that is set up")
        if session.session_id not in (0, session_id):
            raise ProtocolViolation("the server changed the session's id")
        session.session_id = session_id
        try:
            if status == Status.MORE_PROCESSING_REQUIRED:
                response = SessionSetupResponse.decode_untrusted(message)
                self._send_setup(session, session.next_token(response, message))
                return
            if status != Status.SUCCESS:
                raise StatusError(Status(status), "the server refused the session")
            response = SessionSetupResponse.decode_untrusted(message)
            if session.state is SessionState.RENEWING:
                session.renewed(response)
            else:
                session.established(response, message, message_id)
        except StatusError as error:
            self.forget_session(session)
            events.append(SessionRefused(session, error))
            return
        self._sessions[session_id] = session
        events.append(SessionReady(session))
