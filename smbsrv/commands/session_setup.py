"""SESSION_SETUP: new sessions, reauthentication, binding to a further connection.

Source: [MS-SMB2] 3.3.5.5 Receiving an SMB2 SESSION_SETUP Request; 3.3.5.5.1 Authenticating a New Session;
3.3.5.5.2 Reauthenticating an Existing Session; 3.3.5.5.3 Handling GSS-API Authentication.
Passwords, hashes, keys and tokens never reach the log.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from smbproto.errors import WireError
from smbproto.security.authentication import Authenticated, AuthenticationFailed
from smbproto.security.encryption import Opener, Sealer
from smbproto.security.keys import SessionKeys, derive_session_keys, signing_algorithm_of
from smbproto.security.signing import SigningAlgorithm, make_signer
from smbproto.smb2.header import SIGNATURE_OFFSET, SMB2_FLAGS_SIGNED, SMB2_HEADER_BYTES
from smbproto.smb2.negotiate import SMB2_NEGOTIATE_SIGNING_REQUIRED
from smbproto.smb2.session_setup import (
    SMB2_SESSION_FLAG_BINDING,
    SMB2_SESSION_FLAG_ENCRYPT_DATA,
    SMB2_SESSION_FLAG_IS_GUEST,
    SMB2_SESSION_FLAG_IS_NULL,
    SessionSetupRequest,
    SessionSetupResponse,
)
from smbproto.status import Status, StatusError
from smbsrv.channel import Channel
from smbsrv.limits import need
from smbsrv.request import Reply, Request
from smbsrv.session import Session, SessionState
from smbsrv.setup import Purpose, Setup

if TYPE_CHECKING:
    from smbsrv.connection import Connection
    from storage.volume import Token

log = logging.getLogger("sofs.smb")


async def handle(request: Request) -> Reply:
    connection, server = request.connection, request.server
    message = SessionSetupRequest.decode_untrusted(request.message)
    _check_encryption(request)
    if message.flags & SMB2_SESSION_FLAG_BINDING and request.session_id:
        session, setup = _binding(request)
    elif not request.session_id:
        session, setup = _new(request)
    else:
        session, setup = _known(request)
    setup.preauth.update(request.message)
    try:
        need(
            len(message.security_buffer) <= server.limits.security_buffer_bytes,
            "security token",
            Status.INVALID_PARAMETER,
        )
        accepted = await setup.step(bytes(message.security_buffer))
        if session.setups.get(connection) is not setup:
            raise StatusError(Status.USER_SESSION_DELETED, "it ended while it was being set up")
        if accepted.identity is None:
            body = SessionSetupResponse(security_buffer=accepted.token).encode()
            return Reply(body, Status.MORE_PROCESSING_REQUIRED, preauth=setup.preauth)
        flags = await _complete(request, session, setup, message, accepted.identity)
    except (StatusError, WireError) as error:
        server.statistics.logon_failures += 1
        log.warning(
            "logon failed connection=%d peer=%s %s: %s",
            connection.id,
            connection.peer,
            setup.purpose.value,
            error,
        )
        await _failed(request, session, setup)
        raise
    session.setups.pop(connection, None)
    return Reply(SessionSetupResponse(session_flags=flags, security_buffer=accepted.token).encode())


def _check_encryption(request: Request) -> None:
    """Where everything must be encrypted, who cannot has no business here. Raises: StatusError
    ACCESS_DENIED."""
    config, connection = request.server.config, request.connection
    if config.encrypt_data and config.reject_unencrypted_access and connection.cipher is None:
        raise StatusError(Status.ACCESS_DENIED, "the server demands encryption, the client offers none")


def _new(request: Request) -> tuple[Session, Setup]:
    """[MS-SMB2] 3.3.5.5.1 Authenticating a New Session."""
    connection, server = request.connection, request.server
    limits = server.limits
    most = limits.sessions_per_connection
    if not connection.has_session:
        most = min(most, limits.setups_before_session)
    need(len(connection.channels) < most, "sessions of a connection")
    session = server.new_session(connection)
    channel = Channel(session, connection)
    session.channels[connection] = channel
    connection.channels[session.id] = channel
    request.session_id = session.id
    setup = Setup.begin(Purpose.NEW, server, connection)
    session.setups[connection] = setup
    return session, setup


def _known(request: Request) -> tuple[Session, Setup]:
    """The next token of a setup, or the first of a reauthentication. Raises: StatusError."""
    connection = request.connection
    channel = connection.channels.get(request.session_id)
    if channel is None:
        raise StatusError(Status.USER_SESSION_DELETED, f"session {request.session_id:#x}")
    session = channel.session
    setup = session.setups.get(connection)
    if setup is None:
        if session.state is SessionState.IN_PROGRESS:
            raise StatusError(Status.REQUEST_NOT_ACCEPTED, "the session is being set up elsewhere")
        setup = Setup.begin(Purpose.AGAIN, request.server, connection)
        session.setups[connection] = setup
    return session, setup


def _binding(request: Request) -> tuple[Session, Setup]:
    """[MS-SMB2] 3.3.5.5, step 4: the session exists, and this request is signed with its key. Raises:
    StatusError."""
    connection, server = request.connection, request.server
    session = server.sessions.get(request.session_id)
    if session is None:
        raise StatusError(Status.USER_SESSION_DELETED, f"session {request.session_id:#x}")
    _check_binding_signature(request, session)
    if session.is_anonymous or session.is_guest or session.signer is None:
        raise StatusError(Status.NOT_SUPPORTED, "a session without a key cannot be bound")
    _check_same_kind(request, session)
    if not request.flags & SMB2_FLAGS_SIGNED:
        raise StatusError(Status.INVALID_PARAMETER, "a session binding must be signed")
    if session.client_guid != connection.client_guid:
        raise StatusError(Status.USER_SESSION_DELETED, "the session is another client's")
    if session.state is SessionState.IN_PROGRESS:
        raise StatusError(Status.REQUEST_NOT_ACCEPTED, "the session is not set up yet")
    if session.state is SessionState.EXPIRED:
        raise StatusError(Status.NETWORK_SESSION_EXPIRED)
    if connection in session.channels:
        raise StatusError(Status.REQUEST_NOT_ACCEPTED, "the session is bound to this connection already")
    need(len(session.channels) < server.limits.channels_per_session, "channels of a session")
    setup = session.setups.get(connection)
    if setup is None:
        setup = Setup.begin(Purpose.BINDING, server, connection)
        session.setups[connection] = setup
    return session, setup


def _check_binding_signature(request: Request, session: Session) -> None:
    """It is Session.SigningKey that signs a binding, and our refusal of it. Raises: StatusError."""
    if session.signer is None or not request.flags & SMB2_FLAGS_SIGNED:
        return
    signature = bytes(request.message[SIGNATURE_OFFSET:SMB2_HEADER_BYTES])
    request.signer, request.must_sign = session.signer, True
    if not session.signer.verify(request.message, request.message_id, False):
        raise StatusError(Status.ACCESS_DENIED, "a session binding with a wrong signature")
    request.message[SIGNATURE_OFFSET:SMB2_HEADER_BYTES] = signature  # the preauth hash goes over it


def _check_same_kind(request: Request, session: Session) -> None:
    """A channel speaks as its session does. Raises: StatusError, with what Windows says in each case."""
    connection = request.connection
    algorithm = signing_algorithm_of(connection.dialect, connection.signing_algorithm)
    was_gmac = session.signing_algorithm is SigningAlgorithm.AES_GMAC
    if was_gmac != (algorithm is SigningAlgorithm.AES_GMAC):
        status = Status.REQUEST_OUT_OF_SEQUENCE if was_gmac else Status.NOT_SUPPORTED
        raise StatusError(status, "the session signs with another algorithm")
    if connection.dialect < 0x0300 or not request.server.config.multichannel:
        raise StatusError(Status.REQUEST_NOT_ACCEPTED, "a binding, but this is no multichannel connection")
    if session.dialect != connection.dialect:
        raise StatusError(Status.INVALID_PARAMETER, "the session speaks another dialect")
    if session.cipher != connection.cipher:
        raise StatusError(Status.INVALID_PARAMETER, "the session has another cipher")


async def _complete(
    request: Request, session: Session, setup: Setup, message: SessionSetupRequest, identity: Authenticated
) -> int:
    """The last token was right; SessionFlags of the response. Raises: StatusError."""
    connection, server = request.connection, request.server
    if setup.purpose is Purpose.BINDING:
        _bind(request, session, setup, identity)
    else:
        token = _token_of(setup, identity)
        if setup.purpose is Purpose.NEW:
            _check_other_connections(connection)
            _establish(request, session, setup, message, identity)
        session.token = token
        session.state = SessionState.VALID
    connection.has_session = True
    connection.endpoint.frame_max_bytes = server.limits.frame_max_bytes
    channel = session.channels[connection]
    if channel.signer is not None and not request.is_encrypted and not session.is_anonymous:
        request.signer, request.must_sign = channel.signer, True
    if message.previous_session_id and setup.purpose is Purpose.NEW:
        await _end_previous(request, session, message.previous_session_id)
    log.info(
        "session connection=%d peer=%s id=%#x user=%s\\%s %s dialect=%#06x encrypt=%s",
        connection.id, connection.peer, session.id, session.domain, session.user_name, setup.purpose.value,
        connection.dialect, session.encrypt_data,
    )  # fmt: skip
    flags = SMB2_SESSION_FLAG_ENCRYPT_DATA if session.encrypt_data else 0
    if session.is_anonymous:
        flags |= SMB2_SESSION_FLAG_IS_NULL
    elif session.is_guest:
        flags |= SMB2_SESSION_FLAG_IS_GUEST
    return flags


def _check_other_connections(connection: Connection) -> None:
    """[MS-SMB2] 3.3.5.5.3: a client speaks one dialect on all its connections, else USER_SESSION_DELETED."""
    if connection.dialect < 0x0210 or not any(connection.client_guid):
        return
    for other in connection.server.clients.get(connection.client_guid, ()):
        if other.dialect != connection.dialect and not other.is_closing:
            raise StatusError(Status.USER_SESSION_DELETED, f"it speaks {other.dialect:#06x} elsewhere")


def _token_of(setup: Setup, identity: Authenticated) -> Token:
    """Raises: StatusError for somebody who is not let in."""
    config = setup.server.config
    if identity.is_anonymous:
        if config.anonymous is None:
            raise StatusError(Status.ACCESS_DENIED, "anonymous logon is off")
        return config.anonymous
    if setup.account is not None:
        return setup.account.token
    if config.guest is None:
        raise AuthenticationFailed("guest logon is off")
    return config.guest


def _establish(
    request: Request, session: Session, setup: Setup, message: SessionSetupRequest, identity: Authenticated
) -> None:
    """Names, keys and what must be protected, of a new session."""
    connection, config = request.connection, request.server.config
    session.is_anonymous = identity.is_anonymous
    session.is_guest = not identity.is_anonymous and setup.account is None
    session.user_name = identity.user if setup.account is None else setup.account.name
    session.domain = config.domain if setup.account is None else setup.account.domain
    session.workstation = identity.workstation
    if session.is_guest:
        return
    keys = _keys(request, setup, identity)
    session.keys, session.full_session_key = keys, identity.session_key
    session.cipher = connection.cipher
    session.signing_algorithm = signing_algorithm_of(connection.dialect, connection.signing_algorithm)
    session.signer = make_signer(session.signing_algorithm, keys.signing)
    wants_signing = config.signing_required or bool(message.security_mode & SMB2_NEGOTIATE_SIGNING_REQUIRED)
    session.signing_required = wants_signing and not session.is_anonymous
    channel = session.channels[connection]
    channel.signer = session.signer
    if connection.dialect >= 0x0300 and connection.cipher is not None:
        session.sealer = Sealer(connection.cipher, keys.server_to_client, session.id)
        session.opener = Opener(connection.cipher, keys.client_to_server)
        session.encrypt_data = config.encrypt_data and not session.is_anonymous
        if not session.is_anonymous or _somebody_is_known(connection):
            _let_seal(channel)


def _bind(request: Request, session: Session, setup: Setup, identity: Authenticated) -> None:
    """A further channel, with a signing key of its own. Raises: StatusError ACCESS_DENIED for another
    user."""
    connection = request.connection
    account, token = setup.account, session.token
    if identity.is_anonymous or account is None or token is None or account.token.user != token.user:
        raise StatusError(Status.ACCESS_DENIED, "a session is bound by the user it belongs to")
    keys = _keys(request, setup, identity)
    signer = make_signer(signing_algorithm_of(connection.dialect, connection.signing_algorithm), keys.signing)
    channel = Channel(session, connection, signer)
    session.channels[connection] = channel
    connection.channels[session.id] = channel
    _let_seal(channel)


def _somebody_is_known(connection: Connection) -> bool:
    """Whether a user has authenticated here: on a connection of strangers alone, Windows drops what comes
    sealed with the keys of an anonymous session, which everybody knows."""
    return any(
        channel.session.token is not None and not channel.session.is_anonymous
        for channel in connection.channels.values()
    )


def _let_seal(channel: Channel) -> None:
    """Messages of this session may come sealed on this connection."""
    session = channel.session
    channel.sealer, channel.opener = session.sealer, session.opener
    if session.opener is not None:
        channel.connection.endpoint.openers[session.id] = session.opener


def _keys(request: Request, setup: Setup, identity: Authenticated) -> SessionKeys:
    connection = request.connection
    return derive_session_keys(
        connection.dialect, identity.session_key, connection.cipher, setup.preauth.value
    )


async def _end_previous(request: Request, session: Session, previous_id: int) -> None:
    """[MS-SMB2] 3.3.5.5.3: the client says that this session replaces one whose connection it lost before we
    did."""
    previous = request.server.sessions.get(previous_id)
    if previous is None or previous is session or previous.token is None or session.token is None:
        return
    if previous.token.user != session.token.user:
        return
    for connection in list(previous.channels):
        connection.forget_session(previous)
    await request.server.client_lost(previous)


async def _failed(request: Request, session: Session, setup: Setup) -> None:
    """A failed setup leaves no session behind, a failed reauthentication neither; a failed binding leaves it
    as it was."""
    session.setups.pop(request.connection, None)
    if setup.purpose is Purpose.BINDING:
        return
    await request.server.end_session(session)
