"""Connection-oriented PDUs: header, bind and its answers, request, response, fault.

Source: [C706] 12.6.3 Connection-Oriented PDU Data Types, 12.6.4 Connection-Oriented PDU Definitions;
[MS-RPCE] 2.2.2 Connection-Oriented RPC Messages. Little-endian only, as every SMB client is.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final, NamedTuple
from uuid import UUID

from smbproto.errors import WireError
from smbproto.rpc.limits import CONTEXTS_MAX, SYNTAXES_MAX

REQUEST: Final = 0
RESPONSE: Final = 2
FAULT: Final = 3
BIND: Final = 11
BIND_ACK: Final = 12
BIND_NAK: Final = 13
ALTER_CONTEXT: Final = 14
ALTER_CONTEXT_RESP: Final = 15
AUTH3: Final = 16
CO_CANCEL: Final = 18
ORPHANED: Final = 19

PFC_FIRST_FRAG: Final = 0x01
PFC_LAST_FRAG: Final = 0x02
PFC_OBJECT_UUID: Final = 0x80

ACCEPTANCE: Final = 0
PROVIDER_REJECTION: Final = 2
NEGOTIATE_ACK: Final = 3
ABSTRACT_SYNTAX_NOT_SUPPORTED: Final = 1
TRANSFER_SYNTAXES_NOT_SUPPORTED: Final = 2
AUTHENTICATION_TYPE_NOT_RECOGNIZED: Final = 8
PROTOCOL_VERSION_NOT_SUPPORTED: Final = 4

FAULT_OP_RANGE: Final = 0x1C010002
FAULT_UNKNOWN_INTERFACE: Final = 0x1C010003
FAULT_PROTOCOL: Final = 0x1C01000B
FAULT_CONTEXT_MISMATCH: Final = 0x1C00001A
FAULT_BAD_STUB_DATA: Final = 0x000006F7
FAULT_ACCESS_DENIED: Final = 0x00000005

HEADER_BYTES: Final = 16
_HEADER = Struct(
    "<BBBB4sHHI"
)  # version, minor, type, flags, data representation, fragment and auth length, call id
_LITTLE_ENDIAN: Final = b"\x10\0\0\0"
_BIND = Struct("<HHIB3x")
_CONTEXT = Struct("<HBx16sHH")
_SYNTAX = Struct("<16sI")
_BIND_ACK = Struct("<HHI")
_RESULT = Struct("<HH16sI")
_REQUEST = Struct("<IHH")
_RESPONSE = Struct("<IHBx")
_FAULT = Struct("<IHBxI4x")


class Syntax(NamedTuple):
    """An interface or a transfer syntax, with its version (minor << 16 | major)."""

    uuid: UUID
    version: int


NDR: Final = Syntax(UUID("8a885d04-1ceb-11c9-9fe8-08002b104860"), 2)
BIND_TIME_FEATURES: Final = "6cb71c2c-9812-4540-"
"""[MS-RPCE] 3.3.1.5.3 Bind Time Feature Negotiation: the first half of the syntax; the other half is the
offer."""


class Header(NamedTuple):
    """Of one fragment. Units: bytes."""

    kind: int
    flags: int
    fragment_bytes: int
    auth_bytes: int
    call_id: int


class Context(NamedTuple):
    """One presentation context that a bind proposes."""

    id: int
    interface: Syntax
    transfers: tuple[Syntax, ...]


@dataclass(frozen=True, slots=True)
class Bind:
    """A bind or alter_context."""

    transmit_max: int
    receive_max: int
    group: int
    contexts: tuple[Context, ...]


class Result(NamedTuple):
    """The answer to one proposed context."""

    result: int
    reason: int
    transfer: Syntax


NO_SYNTAX: Final = Syntax(UUID(int=0), 0)


def decode_header_untrusted(data: bytes | bytearray | memoryview) -> Header:
    """Raises: WireError for another protocol version or byte order, or lengths that contradict each other."""
    if len(data) < HEADER_BYTES:
        raise WireError(f"{len(data)} bytes are no RPC header")
    version, minor, kind, flags, representation, fragment, auth, call_id = _HEADER.unpack_from(data)
    if version != 5 or minor > 1:
        raise WireError(f"RPC version {version}.{minor}")
    if representation != _LITTLE_ENDIAN:
        raise WireError(f"data representation {representation.hex()}")
    if fragment < HEADER_BYTES or (auth and auth + 8 + HEADER_BYTES > fragment):
        raise WireError(f"a fragment of {fragment} bytes with {auth} of authentication")
    return Header(kind, flags, fragment, auth, call_id)


def _syntax(data: bytes, at: int) -> Syntax:
    uuid, version = _SYNTAX.unpack_from(data, at)
    return Syntax(UUID(bytes_le=uuid), version)


def decode_bind_untrusted(body: bytes) -> Bind:
    """What follows the header of a bind or alter_context. Raises: WireError."""
    if len(body) < _BIND.size:
        raise WireError(f"a bind of {len(body)} bytes")
    transmit, receive, group, count = _BIND.unpack_from(body)
    if not 0 < count <= CONTEXTS_MAX:
        raise WireError(f"a bind of {count} contexts")
    at = _BIND.size
    contexts: list[Context] = []
    for _ in range(count):
        if at + _CONTEXT.size > len(body):
            raise WireError("a bind ends within a context")
        number, syntaxes, uuid, major, minor = _CONTEXT.unpack_from(body, at)
        at += _CONTEXT.size
        if syntaxes > SYNTAXES_MAX or at + syntaxes * _SYNTAX.size > len(body):
            raise WireError(f"a context of {syntaxes} transfer syntaxes")
        transfers = tuple(_syntax(body, at + i * _SYNTAX.size) for i in range(syntaxes))
        at += syntaxes * _SYNTAX.size
        contexts.append(Context(number, Syntax(UUID(bytes_le=uuid), major | minor << 16), transfers))
    return Bind(transmit, receive, group, tuple(contexts))


def decode_request_untrusted(body: bytes, flags: int) -> tuple[int, int, bytes]:
    """(context id, operation number, stub data). Raises: WireError."""
    start = _REQUEST.size + (16 if flags & PFC_OBJECT_UUID else 0)
    if len(body) < start:
        raise WireError(f"a request of {len(body)} bytes")
    _, context_id, operation = _REQUEST.unpack_from(body)
    return context_id, operation, body[start:]


def encode(kind: int, flags: int, call_id: int, body: bytes) -> bytes:
    """One fragment without authentication."""
    return _HEADER.pack(5, 0, kind, flags, _LITTLE_ENDIAN, HEADER_BYTES + len(body), 0, call_id) + body


_WHOLE = PFC_FIRST_FRAG | PFC_LAST_FRAG


def encode_bind_ack(
    kind: int, call_id: int, fragment_max: int, group: int, address: str, results: list[Result]
) -> bytes:
    """BIND_ACK, or ALTER_CONTEXT_RESP with an empty address."""
    name = address.encode("ascii") + b"\0" if address else b""
    body = _BIND_ACK.pack(fragment_max, fragment_max, group) + len(name).to_bytes(2, "little") + name
    body += bytes(-(HEADER_BYTES + len(body)) % 4) + bytes((len(results), 0, 0, 0))
    body += b"".join(
        _RESULT.pack(one.result, one.reason, one.transfer.uuid.bytes_le, one.transfer.version)
        for one in results
    )
    return encode(kind, _WHOLE, call_id, body)


def encode_bind_nak(call_id: int, reason: int) -> bytes:
    """With the one protocol version that there is: 5.0."""
    return encode(BIND_NAK, _WHOLE, call_id, reason.to_bytes(2, "little") + bytes((1, 5, 0)))


def encode_fault(call_id: int, context_id: int, status: int) -> bytes:
    return encode(FAULT, _WHOLE, call_id, _FAULT.pack(32, context_id, 0, status))


def encode_response(call_id: int, context_id: int, stub: bytes, fragment_max: int) -> list[bytes]:
    """As many fragments as it takes, each but the last with stub data of a multiple of 8 bytes."""
    room = (fragment_max - HEADER_BYTES - _RESPONSE.size) & ~7
    fragments: list[bytes] = []
    for at in range(0, max(len(stub), 1), room):
        flags = (PFC_FIRST_FRAG if at == 0 else 0) | (PFC_LAST_FRAG if at + room >= len(stub) else 0)
        body = _RESPONSE.pack(len(stub) - at, context_id, 0) + stub[at : at + room]
        fragments.append(encode(RESPONSE, flags, call_id, body))
    return fragments
