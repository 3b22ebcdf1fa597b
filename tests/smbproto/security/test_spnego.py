"""SPNEGO between both ends of ours, raw NTLM, Windows' tokens, the mechListMIC, and bad tokens."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from impacket import spnego as peer

from smbproto.errors import WireError
from smbproto.security import spnego
from smbproto.security.authentication import AuthenticationFailed
from smbproto.security.der import Reader, tlv
from smbproto.security.legacy import nt_hash
from smbproto.security.ntlm import NtlmAcceptor, NtlmInitiator
from smbproto.security.spnego import OID_NTLM, NegInit, NegResp, SpnegoAcceptor, SpnegoInitiator

OID_KRB5 = bytes.fromhex("2a864886f712010202")
WINDOWS_INIT = bytes.fromhex(
    "604806062B0601050502A03E303CA00E300C060A2B06010401823702020AA22A"
    "04284E544C4D5353500001000000978208E200000000000000000000000000000000060380250000000F"
)


def lookup(user, domain):
    return nt_hash("secret") if user == "ana" else None


def ntlm_initiator(user="ana", password="secret"):
    return NtlmInitiator(user, password, entropy=lambda n: b"\x22" * n, filetime=1)


def acceptor():
    return SpnegoAcceptor(NtlmAcceptor("SRV", "DOM", lambda n: b"\x11" * n, 0x01D0AECBADF5A1A1))


def with_mechanisms(*mechanisms, token=None):
    fields = [tlv(0xA2, tlv(0x04, token))] if token is not None else []
    return spnego._encode_init(mechanisms, *fields)


def test_both_ends_agree_and_check_each_others_mech_list_mic():
    client, server = SpnegoInitiator(ntlm_initiator()), acceptor()
    first = server.step(client.begin(), lookup)
    assert first.identity is None
    second = server.step(client.step(first.token), lookup)
    assert second.identity.user == "ana"
    assert second.identity.session_key == client.session_key
    assert NegResp.decode_untrusted(second.token).state == spnego.ACCEPT_COMPLETED
    assert NegResp.decode_untrusted(second.token).mic
    assert client.step(second.token) is None


def test_raw_ntlm_is_answered_raw():
    """The Linux kernel's client sends NTLMSSP without SPNEGO around it."""
    client, server = ntlm_initiator(), acceptor()
    first = server.step(client.negotiate(), lookup)
    assert first.token.startswith(b"NTLMSSP\0")
    second = server.step(client.authenticate(first.token), lookup)
    assert second.token == b""
    assert second.identity.session_key == client.session_key


def test_the_token_of_windows_is_understood():
    """From "SMB 3.1.1 Pre-authentication integrity in Windows 10", Microsoft's blog."""
    init = NegInit.decode_untrusted(WINDOWS_INIT)
    assert init.mechanisms == (OID_NTLM,)
    answer = NegResp.decode_untrusted(acceptor().step(WINDOWS_INIT, lookup).token)
    assert (answer.state, answer.mechanism) == (spnego.ACCEPT_INCOMPLETE, OID_NTLM)
    assert answer.token.startswith(b"NTLMSSP\0\2\0\0\0")


def test_a_client_that_prefers_kerberos_is_asked_for_ntlm_and_a_mic():
    """RFC 4178 4.2.2: request-mic where the acceptor does not take the first mechanism."""
    ntlm, server = ntlm_initiator(), acceptor()
    init = with_mechanisms(OID_KRB5, OID_NTLM, token=b"a kerberos ticket")
    answer = NegResp.decode_untrusted(server.step(init, lookup).token)
    assert (answer.state, answer.mechanism, answer.token) == (spnego.REQUEST_MIC, OID_NTLM, None)
    challenge = server.step(NegResp(token=ntlm.negotiate()).encode(), lookup).token
    message = ntlm.authenticate(NegResp.decode_untrusted(challenge).token)
    waiting = server.step(NegResp(token=message).encode(), lookup)
    assert waiting.identity is None, "without a mechListMIC nobody is let in"
    mech_list = spnego.encode_mechanisms((OID_KRB5, OID_NTLM))
    assert ntlm.signer.verify(mech_list, NegResp.decode_untrusted(waiting.token).mic)
    assert server.step(NegResp(mic=ntlm.signer.sign(mech_list)).encode(), lookup).identity.user == "ana"


def test_a_changed_list_of_mechanisms_is_found():
    """RFC 4178 5 Processing of mechListMIC: the server must have seen the list that was sent."""
    client, server = SpnegoInitiator(ntlm_initiator()), acceptor()
    token = client._ntlm.negotiate()
    first = server.step(with_mechanisms(OID_NTLM, OID_KRB5, token=token), lookup)
    with pytest.raises(AuthenticationFailed, match="mechListMIC"):
        server.step(client.step(first.token), lookup)


def test_the_initiator_refuses_a_wrong_mic_a_rejection_and_a_foreign_mechanism():
    client, server = SpnegoInitiator(ntlm_initiator()), acceptor()
    first = server.step(client.begin(), lookup)
    second = server.step(client.step(first.token), lookup)
    forged = NegResp(spnego.ACCEPT_COMPLETED, mic=b"\1\0\0\0" + bytes(12)).encode()
    with pytest.raises(AuthenticationFailed):
        client.step(forged)
    assert second.identity
    for bad in (NegResp(spnego.REJECT), NegResp(spnego.ACCEPT_INCOMPLETE, OID_KRB5, b"x")):
        with pytest.raises(AuthenticationFailed):
            SpnegoInitiator(ntlm_initiator()).step(bad.encode())


def test_a_client_without_ntlm_is_refused():
    with pytest.raises(AuthenticationFailed):
        acceptor().step(with_mechanisms(OID_KRB5, token=b"ticket"), lookup)


def test_an_acceptor_is_over_after_success_and_after_failure():
    for password in ("secret", "wrong"):
        client, server = SpnegoInitiator(ntlm_initiator(password=password)), acceptor()
        answer = client.step(server.step(client.begin(), lookup).token)
        if password == "secret":
            server.step(answer, lookup)
        else:
            with pytest.raises(AuthenticationFailed):
                server.step(answer, lookup)
        with pytest.raises(AuthenticationFailed):
            server.step(answer, lookup)


def test_the_hint_advertises_ntlm_alone_and_impacket_reads_it():
    """[MS-SPNG] 2.2.1 NegTokenInit2, in the security buffer of the NEGOTIATE response."""
    hint = spnego.negotiate_hint()
    assert spnego.mechanisms_of_hint(hint) == (OID_NTLM,)
    assert spnego.mechanisms_of_hint(b"") == ()
    assert peer.SPNEGO_NegTokenInit(hint)["MechTypes"] == [
        peer.TypesMech["NTLMSSP - Microsoft NTLM Security Support Provider"]
    ]


@pytest.mark.parametrize("size", [0, 1, 127, 128, 255, 256, 65535, 65536])
def test_der_lengths(size):
    """X.690 8.1.3 Length octets: short form below 128, long form from there on."""
    element = tlv(0x04, bytes(size))
    assert Reader(element).expect(0x04) == bytes(size)
    assert len(element) == size + (2 if size < 128 else 3 if size < 256 else 4 if size < 65536 else 5)


@pytest.mark.parametrize(
    "data", ["", "04", "0401", "0480", "0485000000000100", "1f0100", "048400000005", "04820101"]
)
def test_bad_der_is_a_wire_error(data):
    with pytest.raises(WireError):
        Reader(bytes.fromhex(data)).next()


@settings(max_examples=200)
@given(
    cut=st.integers(0, 400), tail=st.binary(max_size=20), at=st.integers(0, 400), value=st.integers(1, 255)
)
def test_bad_tokens_give_typed_errors_only(cut, tail, at, value):
    client, server = SpnegoInitiator(ntlm_initiator()), acceptor()
    begin = client.begin()
    challenge = server.step(begin, lookup).token

    def answered(token):
        fresh = acceptor()
        fresh.step(begin, lookup)
        return fresh.step(token, lookup)

    for good, use in (
        (begin, lambda t: acceptor().step(t, lookup)),
        (challenge, lambda t: SpnegoInitiator(ntlm_initiator()).step(t)),
        (client.step(challenge), answered),
        (spnego.negotiate_hint(), spnego.mechanisms_of_hint),
    ):
        bad = bytearray(good[: len(good) - cut % len(good)] + tail)
        bad[at % len(bad)] ^= value
        try:
            use(bytes(bad))
        except (WireError, AuthenticationFailed):
            pass
