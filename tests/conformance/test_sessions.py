"""SESSION_SETUP, signing, encryption, trees. WPTS SessionMgmt, Signing, Encryption, TreeMgmt,
MultipleChannel, ValidateNegotiateInfo."""

from __future__ import annotations

import struct

import pytest

from smbproto.errors import ProtocolViolation
from smbproto.fscc import fsctl_codes
from smbproto.security.encryption import CipherId
from smbproto.security.signing import SigningAlgorithm, make_signer
from smbproto.smb2.header import Command
from smbproto.smb2.session_setup import SMB2_SESSION_FLAG_BINDING, SessionSetupRequest
from smbproto.smb2.tree_connect import TreeConnectRequest, TreeConnectResponse
from smbproto.status import Status
from tests.conformance.harness import RWH, Client, World, dh2c, dh2q, lease_v2

FOUR = b"\4\0\0\0"
GMAC, CMAC, HMAC = SigningAlgorithm.AES_GMAC, SigningAlgorithm.AES_CMAC, SigningAlgorithm.HMAC_SHA256


def second_channel(world: World, first: Client, **options: object) -> Client:
    second = world.connection(first.client_guid[0], dialect=first.dialect, **options)
    second.negotiate()
    assert second.log_on(binding=first.keys).status == Status.SUCCESS
    second.tree_id = first.tree_id
    return second


# sessions


def test_a_new_session_and_a_reauthentication(world):
    """WPTS BVT_SessionMgmt_NewSession, BVT_SessionMgmt_Reauthentication."""
    client = world.client()
    number = client.keys.session_id
    assert client.log_on(again=True).status == Status.SUCCESS
    assert client.keys.session_id == number
    client.put("still serves", b"x")


def test_a_session_in_place_of_a_lost_one(world):
    """WPTS BVT_SessionMgmt_ReconnectSessionSetup."""
    first = world.client()
    first.lose()
    second = world.connection()
    second.negotiate()
    assert second.log_on(previous=first.keys.session_id).status == Status.SUCCESS
    assert second.ask(Command.LOGOFF, FOUR).status == Status.SUCCESS


def test_one_client_of_two_dialects(world):
    """WPTS SessionMgmt_ReconnectWithDifferentDialect: USER_SESSION_DELETED while the other connection is
    there ([MS-SMB2] 3.3.5.5.3)."""
    first = world.client()
    second = world.connection(dialect=0x0302)
    second.negotiate()
    assert second.log_on(previous=first.keys.session_id).status == Status.USER_SESSION_DELETED


def test_binding_needs_a_signature(world, client):
    """[MS-SMB2] 3.3.5.5, step 4: SMB2_SESSION_FLAG_BINDING without SMB2_FLAGS_SIGNED: INVALID_PARAMETER."""
    second = world.connection()
    second.negotiate()
    body = SessionSetupRequest(flags=SMB2_SESSION_FLAG_BINDING, security_mode=1, security_buffer=b"x")
    number = client.keys.session_id
    response = second.ask(Command.SESSION_SETUP, body.encode(), session_id=number, tree_id=0)
    assert response.status == Status.INVALID_PARAMETER


def test_two_channels_serve_one_open(world, client):
    """WPTS BVT_MultipleChannel_NicRedundantOnBoth: one writes, the other reads."""
    file = client.open("f")
    client.write(file.id, b"by the first")
    second = second_channel(world, client)
    assert second.read_bytes(file.id, 12) == b"by the first"
    client.lose()
    assert second.read_bytes(file.id, 12) == b"by the first"


def test_a_lease_break_takes_the_channel_that_is_left(world, client, other):
    """WPTS BVT_MultipleChannel_LeaseBreak..., MultipleChannel_FileLeasing: the notice goes to the remaining
    channel, where it can be acknowledged."""
    client.open("f", lease_v2(RWH))
    second = second_channel(world, client)
    client.lose()
    waiting = other.opening("f")
    key, old, new, _ = second.lease_break()
    assert (key, old, new) == (b"k" * 16, RWH, RWH & ~4)
    assert second.acknowledge(key, new).status == Status.SUCCESS
    assert other.result(waiting).status == Status.SUCCESS


@pytest.mark.parametrize("is_heard", [False, True])
def test_a_lease_break_does_not_go_to_a_connection_that_is_silent_since_the_client_is_back(
    world, client, other, is_heard
):
    """[MS-SMB2] 3.3.4.7 Object Store Indicates a Lease Break: an open and its connection. A client
    whose connection was lost does not hear what is sent to it until the server has noticed; it may have the
    file open again meanwhile. (Simulated seed 72: READ caching that outlived a write.)"""
    client.open("f", lease_v2(RWH))
    world.advance(1)
    again = world.client(1)
    again.open("f", lease_v2(RWH))
    if is_heard:
        client.connection.received_s = world.runtime.now()
    waiting = other.opening("f")
    told, silent = (client, again) if is_heard else (again, client)
    assert told.lease_break() == (b"k" * 16, RWH, RWH & ~4, 1) and not silent.notices
    assert told.acknowledge(b"k" * 16, RWH & ~4).status == Status.SUCCESS
    assert other.result(waiting).status == Status.SUCCESS


def test_a_lock_outlives_a_channel(world, client, other):
    """WPTS BVT_MultipleChannel_LockUnlockOnSameChannel, MultipleChannel_LockUnlockOnDiffChannel."""
    file = client.open("f")
    client.write(file.id, b"0123456789")
    second = second_channel(world, client)
    assert client.lock(file, (0, 10, 0x12)) == Status.SUCCESS
    client.lose()
    theirs = other.open("f")
    assert other.lock(theirs, (0, 10, 0x12)) == Status.LOCK_NOT_GRANTED
    assert second.lock(file, (0, 10, 4)) == Status.SUCCESS
    assert other.lock(theirs, (0, 10, 0x12)) == Status.SUCCESS


# signing


@pytest.mark.parametrize(
    ("dialect", "algorithm"),
    [
        (0x0202, HMAC),
        (0x0210, HMAC),
        (0x0300, CMAC),
        (0x0302, CMAC),
        (0x0311, HMAC),
        (0x0311, CMAC),
        (0x0311, GMAC),
    ],
)
def test_signing_and_a_wrong_key(world, dialect, algorithm):
    """WPTS BVT_Signing, Signing_VerifyAesGmacSigning, Signing_WrongSessionKey_Rejected_*: ACCESS_DENIED."""
    client = world.client(dialect=dialect, signing=(algorithm,))
    tree = TreeConnectRequest(path=r"\\server\data").encode()
    assert client.ask(Command.TREE_CONNECT, tree, tree_id=0).is_signed
    right = client.keys.signer
    client.keys.signer = make_signer(algorithm, b"another key then")
    message = client.message(Command.TREE_CONNECT, tree, tree_id=0)
    client.keys.signer = right
    client.sort(client.push(client.frame(message)))
    assert client.result(client.message_id - 1).status == Status.ACCESS_DENIED


def test_what_is_encrypted_is_not_signed(world):
    """WPTS Signing_VerifySignatureWhenEncrypted: the Signature of a sealed response is zero."""
    client = world.client(share="secret")
    client.is_sealing = True
    response = client.try_open("f")
    assert response.was_sealed and response.header.signature == bytes(16)


# encryption


@pytest.mark.parametrize("cipher", list(CipherId))
def test_a_session_that_encrypts(world, cipher):
    """WPTS BVT_Encryption_SMB311, _CCM, _GCM, and the AES-256 ciphers;
    BVT_Encryption_PerShareEncryptionEnabled."""
    client = world.client(share="secret", ciphers=(cipher,))
    assert client.cipher == cipher
    client.is_sealing = True
    file = client.open("f")
    assert client.write(file.id, b"content").was_sealed
    assert client.read_bytes(file.id, 7) == b"content"


@pytest.mark.parametrize("dialect", [0x0300, 0x0302])
def test_encryption_by_the_share_in_smb_3_0(world, dialect):
    """WPTS BVT_Encryption_PerShareEncryptionEnabled: SMB2_SHAREFLAG_ENCRYPT_DATA."""
    client = world.client(dialect=dialect)
    tree = client.ask(Command.TREE_CONNECT, TreeConnectRequest(path=r"\\s\secret").encode(), tree_id=0)
    assert TreeConnectResponse.decode_untrusted(tree.message).share_flags & 0x8000
    client.tree_id, client.is_sealing = tree.header.tree_id, True
    client.put("f", b"x")


def test_everything_encrypted():
    """WPTS BVT_Encryption_GlobalEncryptionEnabled."""
    client = World(encrypt_data=True).connection()
    client.negotiate()
    client.log_on()
    client.is_sealing = True
    assert not client.tree_connect("data").share_flags & 0x8000
    client.put("f", b"x")


# trees


def test_connect_and_disconnect(world, client):
    """WPTS BVT_TreeMgmt_TreeConnectAndDisconnect: -1 is no TreeId."""
    assert client.tree_id not in (0, 0xFFFFFFFF)
    assert client.ask(Command.TREE_DISCONNECT, FOUR).status == Status.SUCCESS
    assert client.ask(Command.TREE_DISCONNECT, FOUR).status == Status.NETWORK_NAME_DELETED


def test_an_unsigned_tree_connect():
    """WPTS BVT_TreeMgmt_SMB311_Disconnect_NoSignedNoEncryptedTreeConnect."""
    client = World(signing_required=False).connection()
    client.negotiate()
    client.log_on()
    with pytest.raises(ProtocolViolation):
        client.ask(Command.TREE_CONNECT, TreeConnectRequest(path=r"\\s\data").encode(), sign=False)


def test_a_tree_connect_that_says_cluster_reconnect(client):
    """WPTS TreeMgmt_SMB311_CLUSTER_RECONNECT: the flag changes nothing."""
    body = TreeConnectRequest(path=r"\\s\data", flags=1).encode()
    assert client.ask(Command.TREE_CONNECT, body, tree_id=0).status == Status.SUCCESS


# FSCTL_VALIDATE_NEGOTIATE_INFO


def info(client: Client, **instead: object) -> bytes:
    dialects = instead.get("dialects", (0x0202, 0x0210, 0x0300))
    assert isinstance(dialects, tuple)
    head = struct.pack(
        "<I16sHH",
        instead.get("capabilities", 0x7F),
        instead.get("guid", client.client_guid),
        instead.get("mode", 1),
        len(dialects),
    )
    return head + struct.pack(f"<{len(dialects)}H", *dialects)


def test_the_negotiation_is_confirmed(world):
    """WPTS BVT_ValidateNegotiateInfo."""
    client = world.client(dialect=0x0300, share="IPC$")
    status, data = client.ioctl(fsctl_codes.FSCTL_VALIDATE_NEGOTIATE_INFO, info(client), room=24)
    found = client.negotiated
    assert status == Status.SUCCESS
    assert struct.unpack("<I16sHH", data) == (
        found.capabilities, found.server_guid, found.security_mode, 0x0300)  # fmt: skip


@pytest.mark.parametrize(
    "instead",
    [{"dialects": (0x02FF,)}, {"dialects": (0x0210,)}, {"guid": b"?" * 16}, {"mode": 0}, {"capabilities": 0}],
)
def test_a_negotiation_that_was_tampered_with(world, instead):
    """WPTS ValidateNegotiateInfo_Negative_InvalidDialects_NoCommonDialect, _CommonDialectNotExpected,
    _InvalidGuid, _InvalidSecurityMode, _InvalidCapabilities: the connection ends."""
    client = world.client(dialect=0x0300, share="IPC$")
    with pytest.raises(ProtocolViolation):
        client.ioctl(fsctl_codes.FSCTL_VALIDATE_NEGOTIATE_INFO, info(client, **instead), room=24)


def test_too_little_room_for_the_confirmation(world):
    """WPTS ValidateNegotiateInfo_Negative_InvalidMaxOutputResponse: the connection ends."""
    client = world.client(dialect=0x0300, share="IPC$")
    with pytest.raises(ProtocolViolation):
        client.ioctl(fsctl_codes.FSCTL_VALIDATE_NEGOTIATE_INFO, info(client), room=23)


def test_no_confirmation_in_3_1_1(world):
    """WPTS ValidateNegotiateInfo_Negative_SMB311: the connection ends."""
    client = world.client(share="IPC$")
    with pytest.raises(ProtocolViolation):
        client.ioctl(fsctl_codes.FSCTL_VALIDATE_NEGOTIATE_INFO, info(client), room=24)


def test_a_durable_open_is_taken_up_after_the_last_channel(world, client):
    """WPTS MultipleChannel and DurableHandleV2 together: while a channel is left the open is not given
    away."""
    file = client.open("f", lease_v2(RWH), dh2q())
    second = second_channel(world, client)
    client.lose()
    third = world.client()
    assert third.try_open("f", lease_v2(RWH), dh2c(file)).status == Status.OBJECT_NAME_NOT_FOUND
    second.lose()
    assert third.try_open("f", lease_v2(RWH), dh2c(file)).status == Status.SUCCESS
