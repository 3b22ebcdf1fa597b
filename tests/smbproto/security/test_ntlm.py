"""NTLMv2 on the values of [MS-NLMP] 4.2, on a published session setup, with impacket, with bad messages."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from impacket import ntlm as peer

from smbproto.errors import WireError
from smbproto.security.authentication import AuthenticationFailed
from smbproto.security.legacy import Rc4, md4, nt_hash, rc4
from smbproto.security.ntlm import NtlmAcceptor, NtlmInitiator, NtlmSigner, ntowf_v2
from smbproto.security.ntlm_messages import (
    AuthenticateMessage,
    AvId,
    ChallengeMessage,
    Flags,
    av_pairs_untrusted,
    encode_av_pairs,
)

FILETIME = 0x01D0AECBADF5A1A1
HASH = nt_hash("Password")
MECH_LIST = bytes.fromhex("300C060A2B06010401823702020A")


def entropy(length):
    return b"\x55" * length


def accept(negotiate, filetime=FILETIME):
    acceptor = NtlmAcceptor("SERVER", "DOMAIN", entropy, filetime)
    return acceptor, acceptor.challenge(negotiate)


def known(user, domain):
    return HASH if user.lower() == "user" else None


def initiator(user="User", password="Password", **more):
    return NtlmInitiator(user, password, "Domain", entropy=lambda n: b"\xaa" * n, filetime=1, **more)


@pytest.mark.parametrize(("text", "digest"), [
    (b"", "31d6cfe0d16ae931b73c59d7e0c089c0"),
    (b"abc", "a448017aaf21d8525fc10ae87aa6729d"),
    (b"12345678901234567890123456789012345678901234567890123456789012345678901234567890",
     "e33b4ddc9c38f2199c3e7b164fcc0536"),
])  # fmt: skip
def test_md4_of_rfc_1320(text, digest):
    """RFC 1320 A.5 Test suite."""
    assert md4(text).hex() == digest


def test_rc4_of_rfc_6229():
    """RFC 6229 2 Test Vectors: 128-bit key, offset 0 and 16."""
    stream = Rc4(bytes(range(1, 17)))
    assert stream.apply(bytes(16)).hex() == "9ac7cc9a609d1ef7b2932899cde41b97"
    assert stream.apply(bytes(16)).hex() == "5248c4959014126a6e8a84f11d1a9e1c"


def test_response_keys_of_the_specification():
    """[MS-NLMP] 4.2.2.1.2 NTOWFv1(); 4.2.4.1.1 NTOWFv2() and LMOWFv2()."""
    assert HASH.hex() == "a4f49c406510bdcab6824ee7c30fd852"
    assert ntowf_v2(HASH, "User", "Domain").hex() == "0c868a403bfd7a93a3001ef22ef02e3f"


def test_initiator_gives_the_responses_of_the_specification():
    """[MS-NLMP] 4.2.4.2.2 NTLMv2 Response; 4.2.4.1.2 Session Base Key; 4.2.4.2.1 LMv2 Response."""
    pairs = {
        AvId.NB_DOMAIN_NAME: "Domain".encode("utf-16-le"),
        AvId.NB_COMPUTER_NAME: "Server".encode("utf-16-le"),
    }
    temp = (
        bytes.fromhex("0101000000000000" + "00" * 8 + "aa" * 8 + "00" * 4) + encode_av_pairs(pairs) + bytes(4)
    )
    challenge = bytes.fromhex("0123456789abcdef")
    flags = Flags(0xE28A8233)
    acceptor = NtlmAcceptor("Server", "Domain", lambda n: challenge[:n], 0)
    acceptor.challenge(b"NTLMSSP\0\1\0\0\0" + flags.to_bytes(4, "little"))
    proof = bytes.fromhex("68cd0ab851e51c96aabc927bebef6a1c")
    encrypted = bytes.fromhex("c5dad2544fc9799094ce1ce90bc9d03e")
    message = AuthenticateMessage(bytes(24), proof + temp, "Domain", "User", "COMPUTER", encrypted, flags)
    identity = acceptor.authenticate(message.encode(), lambda *_: HASH)
    assert identity.session_key == b"\x55" * 16, "RandomSessionKey, encrypted with the session base key"
    assert (identity.user, identity.domain, identity.workstation) == ("User", "Domain", "COMPUTER")
    assert not identity.has_mic
    assert rc4(bytes.fromhex("8de40ccadbc14a82f15cb0ad0de95ca3"), encrypted) == b"\x55" * 16
    offer = ChallengeMessage("Server", flags, challenge, encode_av_pairs(pairs)).encode()
    client = initiator()
    client.negotiate()
    sent = AuthenticateMessage.decode_untrusted(client.authenticate(offer))
    assert sent.lm_response.hex() == "86c35097ac9cec102554764a57cccc19" + "aa" * 8


def test_sign_and_seal_keys_of_the_specification():
    """[MS-NLMP] 4.2.4.4 GSS_WrapEx Examples."""
    key = b"\x55" * 16
    sign, seal = NtlmSigner._keys(key, Flags(0xE28A8233), "client-to-server")
    assert sign.hex() == "4788dc861b4782f35d43fd98fe1a2d39"
    assert seal.hex() == "59f600973cc4960a25480a7c196e4c58"
    stream, text = Rc4(seal), "Plaintext".encode("utf-16-le")
    assert stream.apply(text).hex() == "54e50165bf1936dc996020c1811b0f06fb5f"
    assert NtlmSigner._mac(sign, stream, 0, text).hex() == "010000007fb38ec5c55d497600000000"


def test_mech_list_mics_of_a_published_session_setup():
    """Both mechListMICs of "SMB 3.1.1 Pre-authentication integrity in Windows 10", Microsoft's blog."""
    key, flags = bytes.fromhex("270E1BA896585EEB7AF3472D3B4C75A7"), Flags(0xE2888215)
    client, server = (NtlmSigner(key, flags, is_server=side) for side in (False, True))
    assert client.sign(MECH_LIST).hex() == "0100000063775a9a5fd97f0600000000"
    assert server.sign(MECH_LIST).hex() == "010000003b453cdc3524164200000000"
    fresh = NtlmSigner(key, flags, is_server=False)
    assert fresh.verify(MECH_LIST, bytes.fromhex("010000003b453cdc3524164200000000"))


@pytest.mark.parametrize("user", ["User", "USER", "user"])
def test_both_ends_agree_on_the_key(user):
    """[MS-NLMP] 3.3.2: the user's name counts in upper case."""
    client = initiator(user, workstation="WS", target_name="cifs/server")
    acceptor, challenge = accept(client.negotiate())
    identity = acceptor.authenticate(client.authenticate(challenge), known)
    assert identity.session_key == client.session_key
    assert identity.has_mic
    assert not identity.is_anonymous
    assert acceptor.signer.verify(b"text", client.signer.sign(b"text"))
    assert client.signer.verify(b"other", acceptor.signer.sign(b"other"))
    assert identity.session_key.hex() not in repr(identity)


def test_a_hash_serves_in_place_of_a_password():
    client = initiator(password=None, hash_nt=HASH)
    acceptor, challenge = accept(client.negotiate())
    assert acceptor.authenticate(client.authenticate(challenge), known).user == "User"


def test_anonymous_is_told_apart():
    """[MS-NLMP] 3.2.5.1.2: no user name, empty NtChallengeResponse, LmChallengeResponse of one zero byte."""
    client = NtlmInitiator("", "", entropy=entropy, filetime=1)
    acceptor, challenge = accept(client.negotiate())
    identity = acceptor.authenticate(
        client.authenticate(challenge), lambda *_: pytest.fail("nobody to look up")
    )
    assert identity.is_anonymous
    assert identity.session_key == client.session_key


@pytest.mark.parametrize("who", [("User", "password"), ("Nobody", "Password"), ("User", "")])
def test_a_wrong_password_and_an_unknown_user_fail_alike(who):
    client = initiator(*who)
    acceptor, challenge = accept(client.negotiate())
    with pytest.raises(AuthenticationFailed):
        acceptor.authenticate(client.authenticate(challenge), known)


def test_an_acceptor_serves_one_attempt():
    """A response cannot be replayed: not to the same acceptor, not to one with another challenge."""
    client = initiator()
    acceptor, challenge = accept(client.negotiate())
    message = client.authenticate(challenge)
    acceptor.authenticate(message, known)
    with pytest.raises(AuthenticationFailed):
        acceptor.authenticate(message, known)
    with pytest.raises(AuthenticationFailed):
        acceptor.challenge(client.negotiate())
    other = NtlmAcceptor("SERVER", "DOMAIN", lambda n: b"\x66" * n, FILETIME)
    other.challenge(client.negotiate())
    with pytest.raises(AuthenticationFailed):
        other.authenticate(message, known)


def test_a_response_to_the_challenge_of_another_time_is_refused():
    """Even under the same server challenge the returned MsvAvTimestamp must be ours."""
    client = initiator()
    _, challenge = accept(client.negotiate())
    message = client.authenticate(challenge)
    later, _ = accept(client.negotiate(), FILETIME + 1)
    with pytest.raises(AuthenticationFailed, match="another time"):
        later.authenticate(message, known)


@pytest.mark.parametrize("who", ["User", "Nobody"])
def test_malformed_target_information_is_malformed_whoever_sends_it(who):
    """[MS-NLMP] 2.2.2.7 NTLMv2_CLIENT_CHALLENGE: AvPairs end with MsvAvEOL; told before the proof is looked
    at, as Windows does."""
    client = initiator(who, "wrong")
    acceptor, challenge = accept(client.negotiate())
    message = bytearray(client.authenticate(challenge))
    length, start = (int.from_bytes(message[at:to], "little") for at, to in ((20, 22), (24, 28)))
    pairs = start + 16 + 28
    message[pairs + 2 : pairs + 4] = (length & 0xFFFF).to_bytes(2, "little")
    with pytest.raises(WireError):
        acceptor.authenticate(bytes(message), known)


@pytest.mark.parametrize("at", [12 + 1, 60, 64, 72, 87])
def test_changed_messages_are_found_by_the_mic(at):
    """[MS-NLMP] 3.2.5.1.2: if the MIC is wrong the server MUST return SEC_E_MESSAGE_ALTERED."""
    client = initiator()
    acceptor, challenge = accept(client.negotiate())
    message = bytearray(client.authenticate(challenge))
    message[at] ^= 0x10
    with pytest.raises((AuthenticationFailed, WireError)):
        acceptor.authenticate(bytes(message), known)


def test_a_changed_negotiate_message_is_found_by_the_mic():
    client = initiator()
    negotiate = bytearray(client.negotiate())
    negotiate[-1] ^= 1
    acceptor, challenge = accept(bytes(negotiate))
    with pytest.raises(AuthenticationFailed, match="MIC"):
        acceptor.authenticate(client.authenticate(challenge), known)


def test_ntlmv1_is_refused():
    client = initiator()
    acceptor, challenge = accept(client.negotiate())
    flags = ChallengeMessage.decode_untrusted(challenge).flags
    message = AuthenticateMessage(bytes(24), bytes(24), "Domain", "User", "", bytes(16), flags)
    with pytest.raises(AuthenticationFailed, match="NTLMv1"):
        acceptor.authenticate(message.encode(), known)


def test_a_client_without_extended_security_is_refused():
    with pytest.raises(AuthenticationFailed):
        accept(b"NTLMSSP\0\1\0\0\0" + (Flags.UNICODE | Flags.NTLM).to_bytes(4, "little"))


def test_impacket_as_client():
    first = peer.getNTLMSSPType1("WS", "Domain", True, use_ntlmv2=True)
    acceptor, challenge = accept(first.getData())
    third, key = peer.getNTLMSSPType3(first, challenge, "User", "Password", "Domain", use_ntlmv2=True)
    assert acceptor.authenticate(third.getData(), known).session_key == key


@settings(max_examples=150)
@given(
    cut=st.integers(0, 600), tail=st.binary(max_size=40), flip=st.integers(0, 5000), value=st.integers(1, 255)
)
def test_bad_messages_give_typed_errors_only(cut, tail, flip, value):
    """A good message cut anywhere, plus any tail, with any byte changed."""
    client = initiator()
    negotiate = client.negotiate()
    _, challenge = accept(negotiate)
    message = client.authenticate(challenge)
    for good, use in (
        (negotiate, lambda m: accept(m)),
        (challenge, lambda m: initiator().authenticate(m)),
        (message, lambda m: accept(negotiate)[0].authenticate(m, known)),
    ):
        bad = bytearray(good[: len(good) - cut % len(good)] + tail)
        bad[flip % len(bad)] ^= value
        try:
            use(bytes(bad))
        except (WireError, AuthenticationFailed):
            pass


@settings(max_examples=60)
@given(st.binary(max_size=80))
def test_av_pairs_of_any_bytes(data):
    try:
        pairs = av_pairs_untrusted(data)
    except WireError:
        return
    assert av_pairs_untrusted(encode_av_pairs(pairs)) == pairs
