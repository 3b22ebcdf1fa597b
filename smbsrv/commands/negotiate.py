"""NEGOTIATE: the dialect and what goes with it. Also the SMB1 form, which only ever leads to SMB2.

    NEW --SMB1 with "SMB 2.???"--> wildcard (0x02FF) --NEGOTIATE--> negotiated
     |  --SMB1 with "SMB 2.002"-----------------------------------> negotiated (2.0.2)
     +---NEGOTIATE------------------------------------------------> negotiated;   a second one ends the
     connection

Source: [MS-SMB2] 3.3.5.3 Receiving an SMB_COM_NEGOTIATE; 3.3.5.4 Receiving an SMB2 NEGOTIATE Request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smbproto.codec import Message
from smbproto.endpoint.framing import OutMessage
from smbproto.errors import ProtocolViolation, WireError
from smbproto.security.encryption import CipherId
from smbproto.security.signing import SigningAlgorithm
from smbproto.security.spnego import negotiate_hint
from smbproto.smb2 import negotiate as wire
from smbproto.smb2.header import SMB2_FLAGS_SERVER_TO_REDIR, Command
from smbproto.smb2.smb1_negotiate import (
    DIALECT_SMB_2_002,
    DIALECT_SMB_2_WILDCARD,
    decode_dialects_untrusted,
)
from smbproto.status import Status, StatusError
from smbsrv.request import Reply, Request

if TYPE_CHECKING:
    from smbsrv.connection import Connection
    from smbsrv.server import Server

__all__ = ["answer_smb1", "handle"]

PREAUTH_SALT_BYTES = 32
_ONCE = frozenset(
    (
        wire.SMB2_PREAUTH_INTEGRITY_CAPABILITIES,
        wire.SMB2_ENCRYPTION_CAPABILITIES,
        wire.SMB2_COMPRESSION_CAPABILITIES,
        wire.SMB2_RDMA_TRANSFORM_CAPABILITIES,
        wire.SMB2_SIGNING_CAPABILITIES,
    )
)
_ECHOED = (
    wire.SMB2_GLOBAL_CAP_MULTI_CHANNEL
    | wire.SMB2_GLOBAL_CAP_DIRECTORY_LEASING
    | wire.SMB2_GLOBAL_CAP_ENCRYPTION
)


def answer_smb1(connection: Connection, message: memoryview) -> OutMessage:
    """[MS-SMB2] 3.3.5.3.1 SMB 2.1 or SMB 3.x Support; 3.3.5.3.2 SMB 2.0.2 Support. Raises:
    ProtocolViolation."""
    try:
        names = decode_dialects_untrusted(message)
    except WireError as error:
        raise ProtocolViolation(str(error)) from None
    dialects = connection.server.config.dialects
    if DIALECT_SMB_2_WILDCARD in names and max(dialects) > wire.SMB2_DIALECT_202:
        connection.is_wildcard = True
        body = _response(connection, wire.SMB2_DIALECT_WILDCARD, ())
    elif DIALECT_SMB_2_002 in names and wire.SMB2_DIALECT_202 in dialects:
        _settle(connection, wire.SMB2_DIALECT_202, 0)
        body = _response(connection, wire.SMB2_DIALECT_202, ())
    else:
        raise ProtocolViolation("an SMB1 client that knows no SMB2 dialect of ours")
    credits = connection.window.grant(1)
    return OutMessage(
        Command.NEGOTIATE, Status.SUCCESS, SMB2_FLAGS_SERVER_TO_REDIR, 0, 0, 0, 0, body, credits=credits
    )


async def handle(request: Request) -> Reply:
    connection = request.connection
    if connection.dialect:
        raise ProtocolViolation("a second NEGOTIATE")
    message = wire.NegotiateRequest.decode_untrusted(request.message)
    if not message.dialects:
        raise StatusError(Status.INVALID_PARAMETER, "no dialect is offered")
    common = set(message.dialects) & set(connection.server.config.dialects)
    if not common:
        offered = ", ".join(f"{dialect:#06x}" for dialect in message.dialects)
        raise StatusError(Status.NOT_SUPPORTED, f"of the dialects {offered} none is ours")
    dialect = max(common)
    contexts: tuple[wire.NegotiateContext, ...] = ()
    if dialect >= wire.SMB2_DIALECT_311:
        contexts = _agree(connection, message.contexts)
        connection.endpoint.preauth.update(request.message)
    elif dialect >= wire.SMB2_DIALECT_300 and message.capabilities & wire.SMB2_GLOBAL_CAP_ENCRYPTION:
        if CipherId.AES_128_CCM in connection.server.config.ciphers:
            connection.cipher = CipherId.AES_128_CCM
    connection.client_guid = message.client_guid
    connection.client_security_mode = message.security_mode
    connection.server.clients.setdefault(message.client_guid, {})[connection] = None
    _settle(connection, dialect, message.capabilities)
    body = _response(connection, dialect, contexts)
    return Reply(body, preauth=connection.endpoint.preauth if contexts else None)


def _settle(connection: Connection, dialect: int, client_capabilities: int) -> None:
    """The connection speaks `dialect` from now on."""
    limits = connection.server.limits
    connection.dialect = connection.endpoint.dialect = dialect
    connection.client_capabilities = client_capabilities
    connection.server_capabilities = _capabilities(connection, dialect)
    connection.server_security_mode = _security_mode(connection.server)
    if dialect >= wire.SMB2_DIALECT_210:
        connection.supports_multi_credit = True
        size = limits.io_size_max_bytes
        connection.max_transact_size = connection.max_read_size = connection.max_write_size = size


def _security_mode(server: Server) -> int:
    required = wire.SMB2_NEGOTIATE_SIGNING_REQUIRED if server.config.signing_required else 0
    return wire.SMB2_NEGOTIATE_SIGNING_ENABLED | required


def _capabilities(connection: Connection, dialect: int) -> int:
    """Connection.ServerCapabilities: what we serve; of some, only what the client knows, too."""
    config = connection.server.config
    capabilities = 0
    if dialect >= wire.SMB2_DIALECT_210:
        capabilities |= wire.SMB2_GLOBAL_CAP_LARGE_MTU
        if config.leasing:
            capabilities |= wire.SMB2_GLOBAL_CAP_LEASING
    if dialect >= wire.SMB2_DIALECT_300 and dialect != wire.SMB2_DIALECT_WILDCARD:
        if config.multichannel:
            capabilities |= wire.SMB2_GLOBAL_CAP_MULTI_CHANNEL
        if config.leasing and config.directory_leasing:
            capabilities |= wire.SMB2_GLOBAL_CAP_DIRECTORY_LEASING
        if dialect < wire.SMB2_DIALECT_311 and connection.cipher is not None:
            capabilities |= wire.SMB2_GLOBAL_CAP_ENCRYPTION
        capabilities &= ~_ECHOED | connection.client_capabilities
    return capabilities


def _response(connection: Connection, dialect: int, contexts: tuple[wire.NegotiateContext, ...]) -> bytes:
    server = connection.server
    size = (
        server.limits.io_size_max_bytes
        if dialect != wire.SMB2_DIALECT_202
        else server.limits.io_size_small_bytes
    )
    is_wildcard = dialect == wire.SMB2_DIALECT_WILDCARD
    return wire.NegotiateResponse(
        security_mode=_security_mode(server),
        dialect_revision=dialect,
        server_guid=server.config.guid,
        capabilities=_capabilities(connection, dialect) if is_wildcard else connection.server_capabilities,
        max_transact_size=size,
        max_read_size=size,
        max_write_size=size,
        system_time=server.runtime.filetime(),
        security_buffer=negotiate_hint(),
        contexts=contexts,
    ).encode()


def _agree(
    connection: Connection, offered: tuple[wire.NegotiateContext, ...]
) -> tuple[wire.NegotiateContext, ...]:
    """The contexts of our answer. Unknown ones are ignored. Raises: StatusError, WireError."""
    config = connection.server.config
    found: dict[int, bytes] = {}
    for kind, body in offered:
        if kind in _ONCE and kind in found:
            raise StatusError(Status.INVALID_PARAMETER, f"negotiate context {kind} comes twice")
        found.setdefault(kind, body)
    answers: list[wire.NegotiateContext] = []

    def answer(kind: int, context: Message) -> None:
        answers.append(wire.NegotiateContext(kind, context.encode()))

    data: bytes | None = found.get(wire.SMB2_PREAUTH_INTEGRITY_CAPABILITIES)
    if data is None:
        raise StatusError(Status.INVALID_PARAMETER, "3.1.1 without preauthentication integrity")
    if wire.HASH_SHA512 not in wire.PreauthIntegrityCapabilities.decode_untrusted(data).hash_algorithms:
        raise StatusError(
            Status.SMB_NO_PREAUTH_INTEGRITY_HASH_OVERLAP, "no hash algorithm of the client's is ours"
        )
    answer(
        wire.SMB2_PREAUTH_INTEGRITY_CAPABILITIES,
        wire.PreauthIntegrityCapabilities(
            hash_algorithms=(wire.HASH_SHA512,),
            salt=connection.server.runtime.random_bytes(PREAUTH_SALT_BYTES),
        ),
    )
    data = found.get(wire.SMB2_ENCRYPTION_CAPABILITIES)
    if data is not None and config.ciphers:
        ciphers = wire.EncryptionCapabilities.decode_untrusted(data).ciphers
        _not_empty(ciphers, "ciphers")
        connection.cipher = next((cipher for cipher in config.ciphers if cipher in ciphers), None)
        answer(
            wire.SMB2_ENCRYPTION_CAPABILITIES, wire.EncryptionCapabilities(ciphers=(connection.cipher or 0,))
        )
    data = found.get(wire.SMB2_SIGNING_CAPABILITIES)
    if data is not None:
        algorithms = wire.SigningCapabilities.decode_untrusted(data).algorithms
        _not_empty(algorithms, "signing algorithms")
        chosen = next(
            (known for known in config.signing_algorithms if known in algorithms), SigningAlgorithm.AES_CMAC
        )
        connection.signing_algorithm = chosen
        answer(wire.SMB2_SIGNING_CAPABILITIES, wire.SigningCapabilities(algorithms=(chosen,)))
    data = found.get(wire.SMB2_COMPRESSION_CAPABILITIES)
    if data is not None:
        _not_empty(wire.CompressionCapabilities.decode_untrusted(data).algorithms, "compression algorithms")
        answer(
            wire.SMB2_COMPRESSION_CAPABILITIES,
            wire.CompressionCapabilities(algorithms=(wire.COMPRESSION_NONE,)),
        )
    name = found.get(wire.SMB2_NETNAME_NEGOTIATE_CONTEXT_ID)
    if name is not None:
        connection.client_name = wire.NetnameContext.decode_untrusted(name).net_name
    return tuple(answers)


def _not_empty(offered: tuple[int, ...], what: str) -> None:
    if not offered:
        raise StatusError(Status.INVALID_PARAMETER, f"an empty list of {what}")
