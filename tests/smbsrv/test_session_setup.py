"""SESSION_SETUP, LOGOFF, TREE_CONNECT over real bytes. [MS-SMB2] 3.3.5.5, 3.3.5.6, 3.3.5.7."""

import logging

import pytest

from smbproto.errors import ProtocolViolation
from smbproto.security.encryption import CipherId
from smbproto.security.signing import SigningAlgorithm
from smbproto.smb2.header import SMB2_FLAGS_RELATED_OPERATIONS, SMB2_FLAGS_SIGNED, Command, Header
from smbproto.smb2.session_setup import SessionSetupRequest, SessionSetupResponse
from smbproto.smb2.tree_connect import TreeConnectRequest
from smbproto.status import Status
from smbsrv.limits import Limits
from smbsrv.session import SessionState
from tests.smbsrv.wire import PASSWORD, Peer, Site, token_of

ECHO = b"\4\0\0\0"


def logged_on(site: Site, **options):
    peer = site.connect(**options)
    peer.negotiate()
    response = peer.log_on()
    return peer, response


@pytest.mark.parametrize("dialect", [0x0202, 0x0210, 0x0300, 0x0302, 0x0311])
@pytest.mark.parametrize("is_raw", [False, True])
def test_a_user_logs_on_in_every_dialect(dialect, is_raw):
    """3.3.5.5.3: the last response is signed with the new key."""
    peer = Site().connect(dialect=dialect)
    peer.negotiate()
    response = peer.log_on(is_raw=is_raw)
    assert response.status == Status.SUCCESS
    assert response.is_signed
    assert peer.send(Command.ECHO, ECHO).status == Status.SUCCESS


@pytest.mark.parametrize(("user", "password"), [("ana", "wrong"), ("nobody", PASSWORD), ("ana", "")])
def test_wrong_credentials_leave_nothing_behind(user, password, caplog):
    """3.3.5.5.3: on failure the session is removed. Neither the log nor the client learns which of the two
    was wrong."""
    site = Site()
    peer = site.connect()
    peer.negotiate()
    with caplog.at_level(logging.DEBUG):
        assert peer.log_on(user, password).status == Status.LOGON_FAILURE
    assert site.server.sessions == {} and peer.connection.channels == {}
    assert PASSWORD not in caplog.text and "wrong" not in caplog.text.replace("wrong password", "")
    assert peer.log_on().status == Status.SUCCESS


def test_anonymous_is_refused_unless_configured():
    peer = Site().connect()
    peer.negotiate()
    assert peer.log_on("", "").status == Status.ACCESS_DENIED
    site = Site(anonymous=token_of(7))
    peer = site.connect()
    peer.negotiate()
    response = peer.log_on("", "")
    assert response.status == Status.SUCCESS
    assert SessionSetupResponse.decode_untrusted(response.message).session_flags == 2


def test_unknown_users_are_guests_only_where_configured():
    """3.3.5.5.3: SMB2_SESSION_FLAG_IS_GUEST; a wrong password is no guest."""
    site = Site(guest=token_of(501))
    peer = site.connect()
    peer.negotiate()
    response = peer.log_on("stranger", "x")
    assert response.status == Status.SUCCESS and not response.is_signed
    assert SessionSetupResponse.decode_untrusted(response.message).session_flags == 1
    assert peer.log_on("ana", "wrong").status == Status.LOGON_FAILURE


def test_an_unsigned_request_is_denied_where_signing_is_required():
    """ "If Session.SigningRequired is TRUE ... and the request is not signed ... STATUS_ACCESS_DENIED."
    (3.3.5.2.4)"""
    peer, _ = logged_on(Site())
    assert peer.send(Command.ECHO, ECHO, sign=False).status == Status.ACCESS_DENIED
    peer, _ = logged_on(Site(signing_required=False))
    assert peer.send(Command.ECHO, ECHO, sign=False).status == Status.SUCCESS


def test_a_wrong_signature_is_denied():
    """ "If signature verification fails, the server MUST fail the request with STATUS_ACCESS_DENIED."
    (3.3.5.2.4)"""
    peer, _ = logged_on(Site())
    message = peer.message(Command.ECHO, ECHO)
    message[50] ^= 1
    (response,) = peer.push(peer.frame(message))
    assert response.status == Status.ACCESS_DENIED


def test_unknown_session_is_user_session_deleted():
    """ "If SessionId is not found ... STATUS_USER_SESSION_DELETED." (3.3.5.2.9)"""
    peer, _ = logged_on(Site())
    body = TreeConnectRequest(path=r"\\s\data").encode()
    assert (
        peer.send(Command.TREE_CONNECT, body, session_id=77, sign=False).status == Status.USER_SESSION_DELETED
    )


def test_logoff_ends_the_session():
    """3.3.5.6: "The session MUST be removed from GlobalSessionTable"."""
    site = Site()
    peer = site.logged_on()
    peer.create("f")
    assert peer.send(Command.LOGOFF, ECHO).status == Status.SUCCESS
    assert site.server.sessions == {} and site.server.opens == {}
    assert peer.send(Command.ECHO, ECHO, sign=False, tree_id=0).status == Status.SUCCESS
    assert peer.send(Command.LOGOFF, ECHO, sign=False).status == Status.USER_SESSION_DELETED


def test_reauthentication_keeps_keys_and_opens():
    """3.3.5.5.2: the session stays, its keys as well."""
    site = Site()
    peer = site.logged_on()
    file_id = peer.create("f")
    peer.write(file_id, b"data")
    session = site.server.sessions[peer.keys.session_id]
    session.state = SessionState.EXPIRED
    assert peer.read(file_id, 4).status == Status.NETWORK_SESSION_EXPIRED
    assert peer.log_on(again=True).status == Status.SUCCESS
    assert peer.read_bytes(file_id, 4) == b"data"


def test_an_unsigned_reauthentication_is_denied_and_harms_nothing():
    """3.3.5.2.4 Verifying the Signature: who has a key signs; else anybody in between could end a session."""
    site = Site()
    peer = site.logged_on()
    file_id = peer.create("f")
    body = SessionSetupRequest(security_mode=1, security_buffer=b"rubbish").encode()
    response = peer.send(
        Command.SESSION_SETUP, body, session_id=peer.keys.session_id, tree_id=0, sign=False
    )
    assert response.status == Status.ACCESS_DENIED
    assert peer.write(file_id, b"data").status == Status.SUCCESS


def test_sealed_by_an_anonymous_session_alone_ends_the_connection():
    """As Windows: everybody knows these keys; beside a user's session on the same connection it goes."""
    site = Site(anonymous=token_of(7))
    stranger = site.connect()
    stranger.negotiate()
    assert stranger.log_on("", "").status == Status.SUCCESS
    stranger.is_sealing = True
    with pytest.raises(ProtocolViolation):
        stranger.send(Command.ECHO, ECHO)
    peer = site.logged_on()
    assert peer.log_on("", "").status == Status.SUCCESS
    peer.is_sealing = True
    assert peer.send(Command.ECHO, ECHO).status == Status.SUCCESS


def test_expired_session_may_close_and_log_off():
    """ "If Session.State is Expired, the server MUST continue to process LOGOFF, CLOSE, and LOCK."
    (3.3.5.2.9)"""
    site = Site()
    peer = site.logged_on()
    file_id = peer.create("f")
    site.server.sessions[peer.keys.session_id].state = SessionState.EXPIRED
    assert peer.close(file_id).status == Status.SUCCESS
    assert peer.send(Command.LOGOFF, ECHO).status == Status.SUCCESS


def test_previous_session_ends_when_the_same_user_is_back():
    """3.3.5.5.3: PreviousSessionId names a session of the same user, which is removed."""
    site = Site()
    old = site.logged_on()
    old.create("f", share_access=0)
    new = site.connect()
    new.negotiate()
    assert new.log_on(previous=old.keys.session_id).status == Status.SUCCESS
    assert list(site.server.sessions) == [new.keys.session_id]
    new.tree_connect()
    new.create("f", share_access=0)
    other = site.connect()
    other.negotiate()
    other.log_on("bob", previous=new.keys.session_id)
    assert new.keys.session_id in site.server.sessions


@pytest.mark.parametrize("dialect", [0x0300, 0x0302, 0x0311])
def test_a_second_connection_is_bound_to_a_session(dialect):
    """3.3.5.5, step 4: both channels serve the session's opens, each with a signing key of its own."""
    site = Site()
    first = site.logged_on(dialect=dialect)
    file_id = first.create("f")
    first.write(file_id, b"over the first")
    second = site.connect(dialect=dialect)
    second.negotiate()
    assert second.log_on(binding=first.keys).status == Status.SUCCESS
    second.tree_id = first.tree_id
    assert second.read_bytes(file_id, 14) == b"over the first"
    first.connection.lost()
    assert second.read_bytes(file_id, 14) == b"over the first"
    second.connection.lost()
    assert site.server.sessions == {} and site.server.opens == {}


def test_binding_is_refused_to_who_has_no_right_to_it():
    """3.3.5.5, step 4, and 3.3.5.5.3: dialect, client GUID, signature and user must be the session's."""
    site = Site()
    cmac = (SigningAlgorithm.AES_CMAC,)
    first = site.logged_on(signing=cmac)
    for options, user, status in [
        ({"dialect": 0x0302}, "ana", Status.INVALID_PARAMETER),
        ({"client_guid": b"D" * 16}, "ana", Status.USER_SESSION_DELETED),
        ({}, "bob", Status.ACCESS_DENIED),
        ({"dialect": 0x0210}, "ana", Status.REQUEST_NOT_ACCEPTED),
        ({"ciphers": (CipherId.AES_128_CCM,)}, "ana", Status.INVALID_PARAMETER),
        ({"signing": (SigningAlgorithm.AES_GMAC,)}, "ana", Status.NOT_SUPPORTED),
    ]:
        peer = site.connect(**{"signing": cmac, **options})
        peer.negotiate()
        assert peer.log_on(user, binding=first.keys).status == status
        assert peer.connection.channels == {}
    assert first.send(Command.ECHO, ECHO).status == Status.SUCCESS


def test_tokens_without_end_are_refused():
    """A session setup has a bounded number of rounds and sessions a bounded number."""
    site = Site(limits=Limits(sessions_per_connection=2))
    peer = site.connect()
    peer.negotiate()
    statuses = [
        peer.send(
            Command.SESSION_SETUP,
            SessionSetupRequest(security_buffer=b"NTLMSSP\0\1\0\0\0\7\x82\x08\xa2").encode(),
        ).status
        for _ in range(3)
    ]
    assert statuses[-1] == Status.INSUFFICIENT_RESOURCES
    assert len(site.server.sessions) == 2


def test_rubbish_for_a_token_is_an_error_and_no_session():
    site = Site()
    peer = site.connect()
    peer.negotiate()
    for token in (b"", b"rubbish", b"\x60\x82\xff\xff", b"NTLMSSP\0\3\0\0\0"):
        status = peer.send(Command.SESSION_SETUP, SessionSetupRequest(security_buffer=token).encode()).status
        assert status in (Status.INVALID_PARAMETER, Status.LOGON_FAILURE)
    assert site.server.sessions == {}


# tree connects


def tree_connect(peer, path: str) -> Status:
    return peer.send(Command.TREE_CONNECT, TreeConnectRequest(path=path).encode(), tree_id=0).status


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (r"\\any.name\DATA", Status.SUCCESS),
        (r"\\s\IPC$", Status.SUCCESS),
        (r"\\s\nowhere", Status.BAD_NETWORK_NAME),
        (r"\\s\data\deeper", Status.INVALID_PARAMETER),
        (r"data", Status.INVALID_PARAMETER),
        ("", Status.INVALID_PARAMETER),
    ],
)
def test_share_is_found_by_its_name(path, status):
    """3.3.5.7: "If no share with a matching share name ... is found, ... STATUS_BAD_NETWORK_NAME"."""
    peer, _ = logged_on(Site())
    assert tree_connect(peer, path) == status


def test_share_rights_decide():
    """3.3.5.7: who has no access to the share gets STATUS_ACCESS_DENIED; MaximalAccess is what the list
    gives."""
    site = Site()
    share = site.server.find_share("data")
    share.access = {token_of(1001).user: 0x1200A9}
    peer, _ = logged_on(site)
    assert peer.tree_connect().maximal_access == 0x1200A9
    share.access = {"S-1-5-21-9-9-9-9": 0x1F01FF}
    assert tree_connect(peer, r"\\s\data") == Status.ACCESS_DENIED
    share.access, share.is_read_only = {}, True
    assert peer.tree_connect().maximal_access == 0x1200A9


def test_unsigned_tree_connect_in_311_ends_the_connection():
    """ "If ... the request is not signed or not encrypted, then the server MUST disconnect the connection."
    (3.3.5.7)"""
    peer, _ = logged_on(Site(signing_required=False))
    with pytest.raises(ProtocolViolation):
        peer.send(Command.TREE_CONNECT, TreeConnectRequest(path=r"\\s\data").encode(), sign=False)


def test_tree_disconnect_closes_its_opens():
    """3.3.5.8; afterwards its id is unknown: STATUS_NETWORK_NAME_DELETED (3.3.5.2.11)."""
    site = Site()
    peer = site.logged_on()
    peer.create("f")
    assert peer.send(Command.TREE_DISCONNECT, ECHO).status == Status.SUCCESS
    assert site.server.opens == {}
    assert peer.send(Command.TREE_DISCONNECT, ECHO).status == Status.NETWORK_NAME_DELETED


def test_encrypted_share_takes_only_encrypted_requests():
    """3.3.5.2.11: ShareFlags has ENCRYPT_DATA, plain requests on the tree get STATUS_ACCESS_DENIED."""
    site = Site()
    peer = site.connect()
    peer.negotiate()
    peer.log_on()
    assert peer.tree_connect("secret").share_flags & 0x8000
    assert peer.send(Command.CREATE, peer.create_request("f")).status == Status.ACCESS_DENIED
    peer.is_sealing = True
    file_id = peer.create("f")
    assert peer.write(file_id, b"sealed").was_sealed
    assert peer.read_bytes(file_id, 6) == b"sealed"
    peer.is_sealing = False
    assert peer.read(file_id, 6).status == Status.ACCESS_DENIED
    assert peer.write(file_id, b"plain").status == Status.ACCESS_DENIED


def test_encrypted_share_is_closed_to_who_cannot_encrypt():
    """3.3.5.7: RejectUnencryptedAccess."""
    for options in ({"dialect": 0x0210}, {"ciphers": ()}):
        peer, _ = logged_on(Site(), **options)
        assert tree_connect(peer, r"\\s\secret") == Status.ACCESS_DENIED


def test_a_server_that_encrypts_everything():
    """Global EncryptData: SMB2_SESSION_FLAG_ENCRYPT_DATA, and nothing plain after the session setup
    (3.3.5.2.9)."""
    site = Site(encrypt_data=True)
    peer, response = logged_on(site)
    assert SessionSetupResponse.decode_untrusted(response.message).session_flags == 4
    assert tree_connect(peer, r"\\s\data") == Status.ACCESS_DENIED
    peer.is_sealing = True
    assert tree_connect(peer, r"\\s\data") == Status.SUCCESS
    weak = site.connect(dialect=0x0210)
    weak.negotiate()
    assert weak.log_on().status == Status.ACCESS_DENIED


def test_sealed_with_the_wrong_key_or_for_nobody_ends_the_connection():
    """3.3.5.2.1.1: what cannot be decrypted ends the connection."""
    peer = Site().logged_on()
    peer.is_sealing = True
    frame = bytearray(peer.frame(peer.message(Command.ECHO, ECHO)))
    frame[80] ^= 1
    with pytest.raises(ProtocolViolation):
        peer.push(bytes(frame))
    peer = Site().logged_on(signing=(SigningAlgorithm.AES_CMAC,))
    peer.is_sealing = True
    peer.keys.sealer.session_id += 1
    with pytest.raises(ProtocolViolation):
        peer.send(Command.ECHO, ECHO)


class Meddler(Peer):
    """Somebody in between, who hangs a TREE_CONNECT of his own to the user's last SESSION_SETUP."""

    flags = 0

    def frame(self, message):
        if message[12] == Command.SESSION_SETUP and self.message_id == 3:
            body = TreeConnectRequest(path="\\\\s\\data").encode()
            message += bytes(-len(message) % 8)
            message[20:24] = len(message).to_bytes(4, "little")
            session_id = int.from_bytes(message[40:48], "little")
            header = Header(command=Command.TREE_CONNECT, message_id=3, session_id=session_id,
                            credit_charge=1, credits=1, flags=self.flags)  # fmt: skip
            message = message + header.encode() + body
        return super().frame(message)

    def _keep_keys(self, *_):
        """Who is in between learns no key."""


@pytest.mark.parametrize("dialect", [0x0210, 0x0302, 0x0311])
@pytest.mark.parametrize("flags", [SMB2_FLAGS_SIGNED, SMB2_FLAGS_SIGNED | SMB2_FLAGS_RELATED_OPERATIONS])
def test_nothing_unsigned_rides_on_the_last_session_setup(dialect, flags):
    """3.3.5.2.4: what comes in one frame with the SESSION_SETUP was there before the key; its signature was
    never verified, so it is no request of this session."""
    site = Site()
    peer = Meddler(site, dialect=dialect)
    peer.flags = flags
    peer.negotiate()
    peer.log_on()
    (session,) = site.server.sessions.values()
    assert session.state is SessionState.VALID, "the logon itself is the user's"
    assert session.trees == {}
