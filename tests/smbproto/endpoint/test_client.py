"""The client's end against a scripted server: negotiation, sessions, message security, credits, compounds."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smbproto.endpoint.client import (
    Answer,
    BreakNotice,
    ClientEndpoint,
    Negotiating,
    Pending,
    SessionClosed,
    SessionReady,
    SessionRefused,
)
from smbproto.endpoint.client_frames import FrameReader, Outgoing
from smbproto.endpoint.client_negotiate import ClientConfig
from smbproto.endpoint.framing import OutMessage
from smbproto.errors import ProtocolViolation
from smbproto.fscc.fsctl import ValidateNegotiate
from smbproto.security.encryption import CipherId
from smbproto.security.ntlm import NtlmInitiator
from smbproto.security.signing import SigningAlgorithm
from smbproto.security.spnego import SpnegoInitiator
from smbproto.smb2 import negotiate as wire
from smbproto.smb2.echo import EchoRequest, EchoResponse
from smbproto.smb2.error import ERROR_RESPONSE_EMPTY
from smbproto.smb2.header import Command
from smbproto.smb2.notification import ServerToClientNotification
from smbproto.smb2.oplock_break import LeaseBreakNotification
from smbproto.status import Status
from tests.smbproto.endpoint.peer import PASSWORD, RESPONSE, SESSION_ID, Peer

ECHO = EchoRequest().encode()
ECHOED = EchoResponse().encode()


def feed(endpoint, data):
    """All of `data`, and the events."""
    events = []
    while data:
        buffer = endpoint.receive_buffer()
        count = min(len(buffer), len(data))
        buffer[:count] = data[:count]
        data = data[count:]
        events += endpoint.received(count)
    return events


def config(**changes):
    return ClientConfig(client_guid=b"c" * 16, server_name="peer", **changes)


def negotiated(peer, **changes):
    endpoint = ClientEndpoint(config(**changes), lambda n: b"\5" * n)
    endpoint.start()
    _, frame = peer.negotiate(endpoint.take_output())
    [event] = feed(endpoint, frame)
    assert isinstance(event, Negotiating)
    return endpoint


def log_in(endpoint, peer, user="ana", password=PASSWORD):
    ntlm = NtlmInitiator(user, password, entropy=lambda n: b"\6" * n, filetime=1)
    session = endpoint.begin_session(SpnegoInitiator(ntlm))
    assert feed(endpoint, peer.setup(endpoint.take_output())) == []
    [event] = feed(endpoint, peer.setup(endpoint.take_output()))
    return session, event


def established(peer, **changes):
    endpoint = negotiated(peer, **changes)
    session, event = log_in(endpoint, peer)
    assert event == SessionReady(session)
    return endpoint, session


@pytest.mark.parametrize(("dialect", "encrypt"), [
    (0x0202, False), (0x0210, False), (0x0300, False), (0x0302, False), (0x0311, False),
    (0x0300, True), (0x0302, True), (0x0311, True),
])  # fmt: skip
def test_every_dialect_signs_or_seals(dialect, encrypt):
    """[MS-SMB2] 3.2.4.1.1 Signing the Message; 3.1.4.3 Encrypting the Message."""
    peer = Peer(dialect)
    endpoint, session = established(peer, require_encryption=encrypt)
    message_id = endpoint.request(Command.ECHO, ECHO, session=session)
    [(header, _, sealed)] = peer.requests(endpoint.take_output())
    assert sealed == encrypt
    assert bool(header.flags & 8) == (not encrypt)
    [event] = feed(endpoint, peer.frame(peer.message(header, ECHOED), sealed=sealed))
    assert isinstance(event, Answer)
    assert (event.message_id, event.status) == (message_id, Status.SUCCESS)
    assert endpoint.outstanding == 0


@pytest.mark.parametrize("cipher", CipherId)
@pytest.mark.parametrize("signing", [*SigningAlgorithm, None])
def test_every_cipher_and_signing_algorithm_of_3_1_1(cipher, signing):
    """[MS-SMB2] 2.2.3.1.2 SMB2_ENCRYPTION_CAPABILITIES; 2.2.3.1.7 SMB2_SIGNING_CAPABILITIES."""
    peer = Peer(0x0311, cipher, signing)
    endpoint, session = established(peer)
    for wanted in (False, True):
        endpoint.request(Command.ECHO, ECHO, session=session, sealed=wanted)
        [(header, _, sealed)] = peer.requests(endpoint.take_output())
        assert sealed == wanted
        assert len(feed(endpoint, peer.frame(peer.message(header, ECHOED), sealed=sealed))) == 1


def test_what_negotiate_offers():
    """[MS-SMB2] 3.2.4.2.2.2 SMB2-Only Negotiate."""
    peer = Peer()
    endpoint = ClientEndpoint(config(), lambda n: b"\5" * n)
    endpoint.start()
    request, _ = peer.negotiate(endpoint.take_output())
    assert request.dialects == (0x0202, 0x0210, 0x0300, 0x0302, 0x0311)
    assert request.security_mode == 3
    assert [context.type for context in request.contexts] == [1, 2, 8, 5]
    older = ClientEndpoint(config(dialects=(0x0202, 0x0210)), lambda n: b"\5" * n)
    older.start()
    request, _ = Peer(0x0210).negotiate(older.take_output())
    assert (request.contexts, request.capabilities) == ((), 0)


PREAUTH = wire.NegotiateContext(1, wire.PreauthIntegrityCapabilities(hash_algorithms=(1,), salt=b"").encode())


@pytest.mark.parametrize("peer", [
    Peer(0x0302, contexts=()),
    Peer(0x02FF),
    Peer(contexts=()),
    Peer(contexts=(PREAUTH, PREAUTH)),
    Peer(contexts=(wire.NegotiateContext(1, b"\2\0\0\0\1\0\1\0"),)),
    Peer(contexts=(PREAUTH, wire.NegotiateContext(2, b"\2\0\1\0\2\0"))),
    Peer(contexts=(PREAUTH, wire.NegotiateContext(2, b"\1\0\1\0"))),
    Peer(contexts=(PREAUTH, wire.NegotiateContext(8, b"\1\0\1\0"))),
    Peer(contexts=(PREAUTH, wire.NegotiateContext(8, b"\1"))),
])  # fmt: skip
def test_an_answer_that_does_not_fit_the_offer_ends_the_connection(peer):
    """[MS-SMB2] 3.2.5.2 Receiving an SMB2 NEGOTIATE Response."""
    offer = config(
        dialects=(0x0300, 0x0311),
        ciphers=(CipherId.AES_128_GCM,),
        signing_algorithms=(SigningAlgorithm.AES_GMAC,),
    )
    endpoint = ClientEndpoint(offer, lambda n: b"\5" * n)
    endpoint.start()
    _, frame = peer.negotiate(endpoint.take_output())
    with pytest.raises(ProtocolViolation):
        feed(endpoint, frame)


def test_an_unknown_context_in_the_answer_is_ignored():
    peer = Peer()
    peer.response["contexts"] = (*peer._contexts(), wire.NegotiateContext(0x0100, b"\x93" * 16))
    assert negotiated(peer).negotiated.cipher is CipherId.AES_128_GCM


def test_a_wrong_password_refuses_the_session():
    peer = Peer()
    endpoint = negotiated(peer)
    ntlm = NtlmInitiator("ana", "wrong", entropy=lambda n: b"\6" * n, filetime=1)
    session = endpoint.begin_session(SpnegoInitiator(ntlm))
    feed(endpoint, peer.setup(endpoint.take_output()))
    [(header, _, _)] = peer.requests(endpoint.take_output())
    [event] = feed(
        endpoint, peer.frame(peer.message(header, ERROR_RESPONSE_EMPTY, Status.LOGON_FAILURE, signed=False))
    )
    assert isinstance(event, SessionRefused)
    assert (event.session, event.error.status) == (session, Status.LOGON_FAILURE)


@pytest.mark.parametrize(
    ("flags", "status"), [(1, Status.SMB_GUEST_LOGON_BLOCKED), (2, Status.ACCESS_DENIED)]
)
def test_nobody_can_turn_a_user_into_a_guest_or_anonymous(flags, status):
    """The flags stand in a message that a guest's session cannot sign; with them anybody could strip
    signing."""
    peer = Peer(session_flags=flags)
    endpoint = negotiated(peer)
    _, event = log_in(endpoint, peer)
    assert isinstance(event, SessionRefused)
    assert event.error.status == status


def test_a_changed_negotiation_breaks_the_session_of_3_1_1():
    """[MS-SMB2] 3.2.5.3.1: the keys come from a hash over NEGOTIATE, so the final response does not
    verify."""
    peer = Peer()
    endpoint = ClientEndpoint(config(), lambda n: b"\5" * n)
    endpoint.start()
    _, frame = peer.negotiate(endpoint.take_output())
    changed = bytearray(frame)
    changed[4 + 64 + 8] ^= 1  # the server's GUID
    feed(endpoint, bytes(changed))
    with pytest.raises(ProtocolViolation, match="signature"):
        log_in(endpoint, peer)


def test_validate_negotiate_info_finds_a_changed_negotiation():
    """[MS-SMB2] 3.2.5.14.12 Handling a Validate Negotiate Info Response: terminate if anything differs."""
    endpoint = negotiated(Peer(0x0302))
    said = endpoint.negotiated
    good = ValidateNegotiate(
        capabilities=said.capabilities,
        guid=said.server_guid,
        security_mode=said.security_mode,
        dialect=said.dialect,
    )
    said.check_validation(good.encode())
    for field in ("capabilities", "security_mode", "dialect"):
        bad = ValidateNegotiate.decode_untrusted(good.encode())
        setattr(bad, field, getattr(bad, field) ^ 1)
        with pytest.raises(ProtocolViolation):
            said.check_validation(bad.encode())
    with pytest.raises(ProtocolViolation):
        said.check_validation(good.encode()[:-1])


def asked(peer, sealed=False):
    endpoint, session = established(peer)
    endpoint.request(Command.ECHO, ECHO, session=session, sealed=sealed)
    [(header, _, _)] = peer.requests(endpoint.take_output())
    return endpoint, header


@pytest.mark.parametrize("sealed", [False, True])
def test_no_changed_bit_of_a_response_passes(sealed):
    """[MS-SMB2] 3.2.5.1.1 Decrypting the Message; 3.2.5.1.3 Verifying the Signature."""
    for at in range(4, 4 + 64 + 4 + (52 if sealed else 0)):
        peer = Peer()
        endpoint, header = asked(peer, sealed)
        frame = bytearray(peer.frame(peer.message(header, ECHOED), sealed=sealed))
        if at < len(frame):
            frame[at] ^= 0x20
            with pytest.raises(ProtocolViolation):
                feed(endpoint, bytes(frame))


def test_an_unsigned_response_does_not_pass():
    peer = Peer()
    endpoint, header = asked(peer)
    with pytest.raises(ProtocolViolation, match="not signed"):
        feed(endpoint, peer.frame(peer.message(header, ECHOED, signed=False)))


def test_the_response_to_a_sealed_request_must_be_sealed():
    peer = Peer()
    endpoint, header = asked(peer, sealed=True)
    with pytest.raises(ProtocolViolation, match="not encrypted"):
        feed(endpoint, peer.frame(peer.message(header, ECHOED, signed=True)))


def test_a_deleted_session_is_said_without_a_signature():
    """The server has no key any more: the request fails, and the session is forgotten."""
    peer = Peer()
    endpoint, header = asked(peer)
    body = ERROR_RESPONSE_EMPTY
    [event] = feed(
        endpoint, peer.frame(peer.message(header, body, Status.USER_SESSION_DELETED, signed=False))
    )
    assert event.status == Status.USER_SESSION_DELETED


def test_a_response_that_nobody_asked_for_ends_the_connection():
    peer = Peer()
    endpoint, header = asked(peer)
    frame = peer.frame(peer.message(header, ECHOED))
    feed(endpoint, frame)
    with pytest.raises(ProtocolViolation, match="not asked"):
        feed(endpoint, frame)


def test_a_pending_request_is_cancelled_by_its_async_id_and_still_answered():
    """[MS-SMB2] 3.2.4.24 Application Requests Canceling an Operation: same MessageId, AsyncId, no credit."""
    peer = Peer()
    endpoint, header = asked(peer)
    interim = peer.message(header, ERROR_RESPONSE_EMPTY, Status.PENDING, async_id=0x900000007, signed=False)
    assert feed(endpoint, peer.frame(interim)) == [Pending(header.message_id)]
    credits = endpoint.credits
    endpoint.cancel(header.message_id)
    [(cancel, _, _)] = peer.requests(endpoint.take_output())
    assert (cancel.command, cancel.message_id, cancel.async_id) == (
        Command.CANCEL,
        header.message_id,
        0x900000007,
    )
    assert (cancel.credit_charge, cancel.credits, endpoint.credits) == (0, 0, credits)
    final = peer.message(header, ERROR_RESPONSE_EMPTY, Status.CANCELLED, async_id=0x900000007)
    [event] = feed(endpoint, peer.frame(final))
    assert event.status == Status.CANCELLED
    endpoint.cancel(header.message_id)
    assert not endpoint.output_waiting, "what is answered cannot be cancelled"


@pytest.mark.parametrize("sealed", [False, True])
def test_related_compounds_are_padded_flagged_and_signed_one_by_one(sealed):
    """[MS-SMB2] 3.2.4.1.4 Sending Compounded Requests: 8-byte aligned; RELATED_OPERATIONS in all but the
    first."""
    peer = Peer()
    endpoint, session = established(peer)
    parts = [
        Outgoing(Command.CREATE, b"x" * 57),
        Outgoing(Command.ECHO, ECHO),
        Outgoing(Command.CLOSE, b"y" * 24),
    ]
    ids = endpoint.compound(parts, session=session, sealed=sealed, related=True)
    requests = peer.requests(endpoint.take_output())
    assert [header.message_id for header, _, _ in requests] == ids == [ids[0], ids[0] + 1, ids[0] + 2]
    assert [bool(header.flags & 4) for header, _, _ in requests] == [False, True, True]
    assert all(was_sealed == sealed for _, _, was_sealed in requests)
    answers = [peer.message(header, b"answer" * number) for number, (header, _, _) in enumerate(requests, 1)]
    events = feed(endpoint, peer.frame(*answers, sealed=sealed))
    assert [event.message_id for event in events] == ids
    assert bytes(events[2].message[64:82]) == b"answer" * 3


def test_credits_grow_to_the_target_and_large_requests_take_several():
    peer = Peer()
    endpoint, session = established(peer, credits_target=100)
    endpoint.request(Command.ECHO, ECHO, session=session)
    [(header, _, _)] = peer.requests(endpoint.take_output())
    feed(endpoint, peer.frame(peer.message(header, ECHOED)))
    assert endpoint.credits == 100
    endpoint.request(Command.WRITE, b"w" * 48, b"d" * 300_000, session=session, charge=5)
    assert endpoint.credits == 95
    [(header, message, _)] = peer.requests(endpoint.take_output())
    assert (header.credit_charge, len(message)) == (5, 64 + 48 + 300_000)


def test_breaks_and_closed_sessions_are_told_without_being_asked():
    """[MS-SMB2] 3.2.5.19 Receiving an SMB2 OPLOCK_BREAK Notification; 3.2.5.22 for the session's end."""
    peer = Peer()
    endpoint, session = established(peer)
    notice = LeaseBreakNotification(
        new_epoch=2, flags=1, lease_key=b"k" * 16, current_lease_state=7, new_lease_state=1
    )
    unsolicited = OutMessage(Command.OPLOCK_BREAK, 0, RESPONSE, 2**64 - 1, 0, 0, 0, notice.encode())
    assert feed(endpoint, peer.frame(unsolicited)) == [BreakNotice(notice)]
    closed = ServerToClientNotification().encode()
    message = OutMessage(
        Command.SERVER_TO_CLIENT_NOTIFICATION, 0, RESPONSE, 2**64 - 1, 0, 0, SESSION_ID, closed
    )
    assert feed(endpoint, peer.frame(message)) == [SessionClosed(SESSION_ID)]
    with pytest.raises(ProtocolViolation):
        feed(endpoint, peer.frame(OutMessage(Command.READ, 0, RESPONSE, 2**64 - 1, 0, 0, 0, b"r" * 17)))
    assert session.session_id == SESSION_ID


def test_signing_that_nobody_requires_is_left_out_but_for_tree_connects():
    """[MS-SMB2] 3.2.4.1.1: in 3.1.1 a TREE_CONNECT that is not encrypted is signed all the same."""
    peer = Peer()
    endpoint, session = established(peer, require_signing=False)
    for command, signed in ((Command.ECHO, False), (Command.TREE_CONNECT, True)):
        endpoint.request(command, ECHO, session=session)
        [(header, _, _)] = peer.requests(endpoint.take_output())
        assert bool(header.flags & 8) == signed
        feed(endpoint, peer.frame(peer.message(header, ECHOED)))


@settings(max_examples=60)
@given(
    sizes=st.lists(st.sampled_from([0, 2, 700, 20_000, 200_000]), max_size=4),
    cuts=st.lists(st.sampled_from([1, 3, 4, 5, 1000, 16_384, 65_536]), min_size=1, max_size=6),
)
def test_frames_come_out_whole_however_they_are_cut(sizes, cuts):
    """Small frames, such as are received into memory of their own, and keep-alives."""
    reader, sent = FrameReader(1 << 20), [bytes([65 + index]) * size for index, size in enumerate(sizes)]
    stream, received, turn = b"".join(len(frame).to_bytes(4, "big") + frame for frame in sent), [], 0
    while stream:
        buffer = reader.buffer()
        count = min(len(buffer), len(stream), cuts[turn % len(cuts)] if turn < 200 else 65_536)
        buffer[:count] = stream[:count]
        stream, turn = stream[count:], turn + 1
        for memory, end in reader.received(count):
            assert len(memory) == end + 16, "slack for a tag"
            received.append(bytes(memory[:end]))
    assert received == [frame for frame in sent if frame]


def test_a_frame_over_the_limit_ends_the_connection():
    endpoint = ClientEndpoint(config(), lambda n: b"\5" * n)
    endpoint.start()
    with pytest.raises(ProtocolViolation):
        feed(endpoint, b"\0\xff\xff\xff" + b"\xfeSMB")


@settings(max_examples=150)
@given(at=st.integers(0, 2000), value=st.integers(1, 255), cut=st.integers(0, 2000), stage=st.integers(0, 2))
def test_a_server_that_sends_rubbish_is_answered_with_a_typed_error(at, value, cut, stage):
    """A good message of each stage with any byte changed, or cut short with its length put right."""
    peer = Peer()
    endpoint = ClientEndpoint(config(), lambda n: b"\5" * n)
    endpoint.start()
    _, frame = peer.negotiate(endpoint.take_output())
    if stage:
        feed(endpoint, frame)
        ntlm = NtlmInitiator("ana", PASSWORD, entropy=lambda n: b"\6" * n, filetime=1)
        endpoint.begin_session(SpnegoInitiator(ntlm))
        frame = peer.setup(endpoint.take_output())
        if stage == 2:
            feed(endpoint, frame)
            frame = peer.setup(endpoint.take_output())
    bad = bytearray(frame[: len(frame) - cut % len(frame)])
    if len(bad) > 4:
        bad[4 + at % (len(bad) - 4)] ^= value
        bad[:4] = (len(bad) - 4).to_bytes(4, "big")
    try:
        feed(endpoint, bytes(bad))
    except ProtocolViolation:
        pass
