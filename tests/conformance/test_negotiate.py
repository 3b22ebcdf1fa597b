"""NEGOTIATE: dialects, contexts, what is refused. WPTS SMB2/TestSuite/Negotiate."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from smbproto.security.encryption import CipherId
from smbproto.smb2 import negotiate as wire
from smbproto.smb2.header import Command
from smbproto.status import Status
from tests.conformance.harness import Client, World
from tests.smbsrv.wire import Response

ALL = (0x0202, 0x0210, 0x0300, 0x0302, 0x0311)
PREAUTH = (
    wire.SMB2_PREAUTH_INTEGRITY_CAPABILITIES,
    wire.PreauthIntegrityCapabilities(hash_algorithms=(1,), salt=bytes(32)).encode(),
)
COMPRESSION, NETNAME = 3, 5


def ciphers(*ids: int) -> tuple[int, bytes]:
    return wire.SMB2_ENCRYPTION_CAPABILITIES, wire.EncryptionCapabilities(ciphers=ids).encode()


def ask(world: World, *contexts: tuple[int, bytes], dialects: tuple[int, ...] = ALL, **more: Any) -> Response:
    client = world.connection()
    body = wire.NegotiateRequest(
        dialects=dialects,
        security_mode=more.get("security_mode", 1),
        capabilities=0x7F,
        client_guid=bytes(16),
        contexts=tuple(wire.NegotiateContext(*one) for one in contexts),
    ).encode()
    return client.ask(Command.NEGOTIATE, body)


def answer(response: Response) -> wire.NegotiateResponse:
    assert response.status == Status.SUCCESS, response.status.name
    return wire.NegotiateResponse.decode_untrusted(response.message)


def smb1(world: World, *dialects: bytes) -> tuple[Client, wire.NegotiateResponse]:
    client = world.connection()
    names = b"".join(b"\x02" + name + b"\0" for name in dialects)
    message = b"\xffSMB\x72" + bytes(27) + b"\0" + struct.pack("<H", len(names)) + names
    (response,) = client.push(client.frame(message))
    client.message_id = 1
    return client, answer(response)


def test_a_multi_protocol_negotiate_with_the_wildcard(world):
    """WPTS BVT_Negotiate_Compatible_Wildcard: the answer is 0x02FF, and a NEGOTIATE follows."""
    client, found = smb1(world, b"NT LM 0.12", b"SMB 2.002", b"SMB 2.???")
    assert found.dialect_revision == 0x02FF
    client.dialect = 0x0302
    assert client.negotiate().dialect_revision == 0x0302


def test_a_multi_protocol_negotiate_of_2_002(world):
    """WPTS BVT_Negotiate_Compatible_2002."""
    _, found = smb1(world, b"NT LM 0.12", b"SMB 2.002")
    assert found.dialect_revision == 0x0202
    assert not found.capabilities & ~wire.SMB2_GLOBAL_CAP_DFS


@pytest.mark.parametrize("most", ALL)
def test_the_greatest_common_dialect(world, most):
    """WPTS BVT_Negotiate_SMB2002, _SMB21, _SMB30, _SMB302, _SMB311."""
    found = answer(ask(world, PREAUTH, dialects=tuple(d for d in ALL if d <= most)))
    assert found.dialect_revision == most
    assert bool(found.contexts) == (most == 0x0311)
    assert bool(found.capabilities & wire.SMB2_GLOBAL_CAP_ENCRYPTION) == (0x0300 <= most < 0x0311)
    assert bool(found.capabilities & wire.SMB2_GLOBAL_CAP_LEASING) == (most >= 0x0210)
    assert bool(found.capabilities & wire.SMB2_GLOBAL_CAP_LARGE_MTU) == (most >= 0x0210)
    assert bool(found.capabilities & wire.SMB2_GLOBAL_CAP_MULTI_CHANNEL) == (most >= 0x0300)
    assert found.max_transact_size >= 65536


def test_a_client_that_requires_signing(world):
    """WPTS BVT_Negotiate_SigningEnabled: SMB2_NEGOTIATE_SIGNING_ENABLED is always set."""
    assert answer(ask(world, PREAUTH, security_mode=2)).security_mode & 1


def context_types(found: wire.NegotiateResponse) -> list[int]:
    return [one.type for one in found.contexts]


def test_preauthentication_alone(world):
    """WPTS BVT_Negotiate_SMB311_Preauthentication: SHA-512 and a salt; no other context is answered."""
    found = answer(ask(world, PREAUTH))
    assert context_types(found) == [wire.SMB2_PREAUTH_INTEGRITY_CAPABILITIES]
    data = wire.find_context(found.contexts, wire.SMB2_PREAUTH_INTEGRITY_CAPABILITIES)
    assert data is not None
    preauth = wire.PreauthIntegrityCapabilities.decode_untrusted(data)
    assert tuple(preauth.hash_algorithms) == (1,) and len(preauth.salt) > 0


@pytest.mark.parametrize("wanted", [CipherId.AES_128_CCM, CipherId.AES_128_GCM])
def test_one_cipher_of_the_client_s(world, wanted):
    """WPTS BVT_Negotiate_SMB311_Preauthentication_Encryption_CCM, _GCM."""
    found = answer(ask(world, PREAUTH, ciphers(wanted, CipherId.AES_256_GCM)))
    data = wire.find_context(found.contexts, wire.SMB2_ENCRYPTION_CAPABILITIES)
    assert data is not None
    (chosen,) = wire.EncryptionCapabilities.decode_untrusted(data).ciphers
    assert chosen in (wanted, CipherId.AES_256_GCM)
    only = answer(ask(world, PREAUTH, ciphers(wanted)))
    data = wire.find_context(only.contexts, wire.SMB2_ENCRYPTION_CAPABILITIES)
    assert data is not None and tuple(wire.EncryptionCapabilities.decode_untrusted(data).ciphers) == (wanted,)


@pytest.mark.parametrize(
    "contexts",
    [
        [],
        [ciphers(2, 1)],
        [(COMPRESSION, struct.pack("<HHIH", 1, 0, 0, 1))],
        [ciphers(2, 1), (COMPRESSION, struct.pack("<HHIH", 1, 0, 0, 1))],
        [PREAUTH, PREAUTH],
        [PREAUTH, ciphers(2), ciphers(1)],
        [(PREAUTH[0], b"\0\0")],
        [PREAUTH, (COMPRESSION, struct.pack("<HH", 1, 0))],
        [PREAUTH, (COMPRESSION, struct.pack("<HHI", 0, 0, 0))],
        [PREAUTH, (wire.SMB2_ENCRYPTION_CAPABILITIES, struct.pack("<H", 0))],
        [PREAUTH, (wire.SMB2_SIGNING_CAPABILITIES, struct.pack("<H", 0))],
    ],
)
def test_contexts_that_cannot_be(world, contexts):
    """WPTS Negotiate_SMB311_WithoutAnyContexts, _WithEncryptionContextWithoutIntegrityContext,
    _WithCompressionContextWithoutIntegrityContext, _WithEncryptionAndCompressionContextsWithout...,
    Negotiate_SMB311_Compression_CompressionContextInvalidDataLength, _CompressionAlgorithmEmpty;
    [MS-SMB2] 3.3.5.4: none, two of a kind, too short, or empty: INVALID_PARAMETER."""
    assert ask(world, *contexts).status == Status.INVALID_PARAMETER


def test_an_unknown_hash(world):
    """WPTS Negotiate_SMB311_InvalidHashAlgorithm."""
    bad = wire.PreauthIntegrityCapabilities(hash_algorithms=(0xFFFF,), salt=bytes(32)).encode()
    assert ask(world, (PREAUTH[0], bad)).status == Status.SMB_NO_PREAUTH_INTEGRITY_HASH_OVERLAP


def test_an_unknown_cipher(world):
    """WPTS Negotiate_SMB311_InvalidCipher: the answer says cipher 0."""
    found = answer(ask(world, PREAUTH, ciphers(0xFFFF)))
    data = wire.find_context(found.contexts, wire.SMB2_ENCRYPTION_CAPABILITIES)
    assert data is not None and tuple(wire.EncryptionCapabilities.decode_untrusted(data).ciphers) == (0,)


@pytest.mark.parametrize("unknown", [NETNAME, 0xFFFF, 0x0100])
def test_contexts_that_are_ignored(world, unknown):
    """WPTS Negotiate_SMB311_ContextID_NetName, Negotiate_SMB311_WithAllContexts."""
    found = answer(ask(world, PREAUTH, ciphers(2, 1), (unknown, "server".encode("utf-16-le"))))
    assert context_types(found) == [
        wire.SMB2_PREAUTH_INTEGRITY_CAPABILITIES,
        wire.SMB2_ENCRYPTION_CAPABILITIES,
    ]


@pytest.mark.parametrize("flags", [0, 1])
def test_no_compression_in_common(world, flags):
    """WPTS Negotiate_SMB311_Compression_CompressionAlgorithmNotSupported, _ChainedCompressionNotSupported:
    one algorithm, NONE, and not chained."""
    found = answer(ask(world, PREAUTH, (COMPRESSION, struct.pack("<HHIHH", 2, 0, flags, 1, 2))))
    assert wire.find_context(found.contexts, COMPRESSION) == struct.pack("<HHIH", 1, 0, 0, 0)


def test_compression_below_3_1_1(world):
    """WPTS Negotiate_SMB311_Compression_InvalidSmbDialect: no contexts are looked at, or answered."""
    asked = ask(world, PREAUTH, (COMPRESSION, struct.pack("<HHIH", 1, 0, 0, 1)), dialects=ALL[:-1])
    assert answer(asked).contexts == ()


def test_no_common_dialect(world):
    """[MS-SMB2] 3.3.5.4: NOT_SUPPORTED; no dialects at all: INVALID_PARAMETER."""
    assert ask(world, dialects=(0x0999,)).status == Status.NOT_SUPPORTED
    assert ask(world, dialects=()).status == Status.INVALID_PARAMETER
