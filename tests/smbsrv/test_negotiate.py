"""NEGOTIATE over real bytes: dialects, contexts, SMB1's way in. [MS-SMB2] 3.3.5.3, 3.3.5.4."""

import pytest

from smbproto.errors import ProtocolViolation
from smbproto.security.encryption import CipherId
from smbproto.security.signing import SigningAlgorithm
from smbproto.smb2 import negotiate as wire
from smbproto.smb2.header import Command
from smbproto.status import Status
from tests.smbsrv.wire import Peer, Site

DIALECTS = (0x0202, 0x0210, 0x0300, 0x0302, 0x0311)


def smb1_negotiate(*names: bytes) -> bytes:
    body = b"".join(b"\2" + name + b"\0" for name in names)
    message = b"\xffSMB\x72" + bytes(27) + b"\0" + len(body).to_bytes(2, "little") + body
    return len(message).to_bytes(4, "big") + message


def contexts_of(peer: Peer) -> dict[int, bytes]:
    assert peer.negotiated is not None
    return {context.type: context.data for context in peer.negotiated.contexts}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_greatest_common_dialect_is_chosen(dialect):
    """ "The server MUST set Connection.Dialect to the greatest dialect revision it has in common."
    (3.3.5.4)"""
    answer = Site().connect(dialect=dialect).negotiate()
    assert answer.dialect_revision == dialect
    assert answer.max_read_size == (65536 if dialect == 0x0202 else 8 << 20)


def test_capabilities_are_what_is_served():
    """3.3.5.4: LEASING and LARGE_MTU from 2.1 on; ENCRYPTION is a capability below 3.1.1 only."""
    site = Site()
    assert site.connect(dialect=0x0202).negotiate().capabilities == 0
    assert site.connect(dialect=0x0210).negotiate().capabilities == 0x06
    assert site.connect(dialect=0x0300).negotiate().capabilities == 0x6E
    assert site.connect(dialect=0x0311).negotiate().capabilities == 0x2E


def test_signing_is_required_by_default():
    assert Site().connect().negotiate().security_mode == 3
    assert Site(signing_required=False).connect().negotiate().security_mode == 1


def test_our_preference_decides_among_ciphers_and_signing_algorithms():
    """3.3.5.4: the server selects from the client's list; GCM costs half of CCM, GMAC a third of CMAC."""
    peer = Site().connect(ciphers=(CipherId.AES_256_CCM, CipherId.AES_128_CCM, CipherId.AES_128_GCM))
    peer.negotiate()
    assert peer.cipher is CipherId.AES_128_GCM
    assert peer.algorithm is SigningAlgorithm.AES_GMAC


def test_no_common_cipher_is_said_with_a_zero():
    """ "If the client and server have no common cipher, then the server must set Connection.CipherId to 0."
    (3.3.5.4)"""
    peer = Site(ciphers=(CipherId.AES_256_GCM,)).connect(ciphers=(CipherId.AES_128_CCM,))
    peer.negotiate()
    assert peer.cipher is None
    data = contexts_of(peer)[wire.SMB2_ENCRYPTION_CAPABILITIES]
    assert wire.EncryptionCapabilities.decode_untrusted(data).ciphers == (0,)


def test_contexts_not_asked_for_are_not_answered():
    peer = Site().connect(ciphers=(), signing=())
    peer.negotiate()
    assert set(contexts_of(peer)) == {wire.SMB2_PREAUTH_INTEGRITY_CAPABILITIES}


def _send_contexts(peer: Peer, *contexts: wire.NegotiateContext) -> Status:
    body = wire.NegotiateRequest(
        dialects=(0x0311,), security_mode=1, client_guid=b"C" * 16, contexts=contexts
    )
    return peer.send(Command.NEGOTIATE, body.encode()).status


PREAUTH = wire.NegotiateContext(
    1, wire.PreauthIntegrityCapabilities(hash_algorithms=(1,), salt=bytes(32)).encode()
)


@pytest.mark.parametrize(
    ("contexts", "status"),
    [
        ((), Status.INVALID_PARAMETER),
        ((PREAUTH, PREAUTH), Status.INVALID_PARAMETER),
        (
            (wire.NegotiateContext(1, wire.PreauthIntegrityCapabilities(hash_algorithms=(9,)).encode()),),
            Status.SMB_NO_PREAUTH_INTEGRITY_HASH_OVERLAP,
        ),
        ((PREAUTH, wire.NegotiateContext(2, b"\0\0")), Status.INVALID_PARAMETER),
        ((PREAUTH, wire.NegotiateContext(2, b"\xff\xff\1\0")), Status.INVALID_PARAMETER),
        ((PREAUTH, wire.NegotiateContext(0x100, b"\x93\xad\x25")), Status.SUCCESS),
    ],
)
def test_negotiate_contexts_are_checked(contexts, status):
    """3.3.5.4: exactly one preauth context, a hash in common, no empty lists; unknown contexts are
    ignored."""
    assert _send_contexts(Site().connect(), *contexts) == status


def test_compression_is_refused_with_none():
    """3.3.5.4: without a common algorithm CompressionAlgorithms is NONE."""
    peer = Site().connect()
    offer = wire.CompressionCapabilities(algorithms=(1, 2, 3)).encode()
    body = wire.NegotiateRequest(
        dialects=(0x0311,), security_mode=1, contexts=(PREAUTH, wire.NegotiateContext(3, offer))
    )
    response = peer.send(Command.NEGOTIATE, body.encode())
    peer.negotiated = wire.NegotiateResponse.decode_untrusted(response.message)
    assert wire.CompressionCapabilities.decode_untrusted(contexts_of(peer)[3]).algorithms == (0,)


def test_no_dialects_is_invalid_and_no_common_dialect_not_supported():
    """ "If the DialectCount of the SMB2 NEGOTIATE Request is 0, ... STATUS_INVALID_PARAMETER." (3.3.5.4)"""
    empty = wire.NegotiateRequest(dialects=(), security_mode=1).encode()
    assert Site().connect().send(Command.NEGOTIATE, empty).status == Status.INVALID_PARAMETER
    strange = wire.NegotiateRequest(dialects=(0x0999,), security_mode=1).encode()
    assert Site().connect().send(Command.NEGOTIATE, strange).status == Status.NOT_SUPPORTED


def test_second_negotiate_ends_the_connection():
    """ "If Connection.NegotiateDialect is [set], the server MUST disconnect the connection and not reply."
    (3.3.5.4)"""
    peer = Site().connect()
    peer.negotiate()
    with pytest.raises(ProtocolViolation, match="second NEGOTIATE"):
        peer.send(Command.NEGOTIATE, peer.negotiate_request())


def test_anything_before_negotiate_ends_the_connection():
    with pytest.raises(ProtocolViolation, match="before NEGOTIATE"):
        Site().connect().send(Command.ECHO, b"\4\0\0\0")


def test_smb1_wildcard_leads_to_a_second_negotiate():
    """3.3.5.3.1: "SMB 2.???" is answered with dialect 0x02FF, then the client sends an SMB2 NEGOTIATE."""
    peer = Site().connect()
    (response,) = peer.push(smb1_negotiate(b"NT LM 0.12", b"SMB 2.002", b"SMB 2.???"))
    assert wire.NegotiateResponse.decode_untrusted(response.message).dialect_revision == 0x02FF
    assert response.header.message_id == 0
    peer.message_id = 1
    assert peer.negotiate().dialect_revision == 0x0311
    assert peer.log_on().status == Status.SUCCESS


def test_smb1_with_202_alone_is_final():
    """3.3.5.3.2: "SMB 2.002" settles dialect 2.0.2; the client goes on with SESSION_SETUP."""
    peer = Site().connect(dialect=0x0202)
    (response,) = peer.push(smb1_negotiate(b"NT LM 0.12", b"SMB 2.002"))
    peer.negotiated = wire.NegotiateResponse.decode_untrusted(response.message)
    assert peer.negotiated.dialect_revision == 0x0202
    peer.message_id = 1
    assert peer.log_on().status == Status.SUCCESS


@pytest.mark.parametrize(
    "frame",
    [
        smb1_negotiate(b"NT LM 0.12"),
        smb1_negotiate(b"SMB 2.???")[:-3],
        b"\0\0\0\x08\xffSMB\x72\0\0\0",
        b"\0\0\0\x40\xfcSMB" + bytes(60),
        b"\0\0\0\x40\xfdSMB" + bytes(60),
        b"\0\0\0\x04\xfeSMB",
        b"\0\0\0\x40\xfeSMB" + bytes(60),
        b"\x7f\0\0\x40",
        b"\0\3\0\0",
    ],
)
def test_what_is_no_first_frame_ends_the_connection(frame):
    """A stranger's frames are small, and begin with a NEGOTIATE."""
    peer = Site().connect()
    length = int.from_bytes(frame[:4], "big")
    if length <= len(frame) - 4 or length > 131072:
        with pytest.raises(ProtocolViolation):
            peer.push(frame)
    else:
        assert peer.push(frame) == []


def test_a_session_keep_alive_is_nothing():
    """[RFC1002] 4.3.1: SESSION KEEP ALIVE has type 0x85 and no data."""
    peer = Site().connect()
    assert peer.push(b"\x85\0\0\0") == []
    assert peer.negotiate().dialect_revision == 0x0311
