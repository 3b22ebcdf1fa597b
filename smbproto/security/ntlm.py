"""NTLMv2, both ends: three messages, a session key, and a signature over what negotiated them.

    NEW --challenge()--> CHALLENGED --authenticate()--> DONE        (acceptor; the initiator mirrors it)

An acceptor serves one attempt: its challenge is never used again, so a response cannot be replayed. NTLMv1
and LM are refused. A MIC is demanded of every client that says it sends one; clients that know no MIC (the
Linux kernel) pass without. Whether an anonymous identity may do anything is for the caller to decide.

Source: [MS-NLMP] 3.2.5.1 Connection-Oriented (server); 3.1.5.1 Connection-Oriented (client); 3.3.2 NTLM v2
Authentication; 3.4.4.2 With Extended Session Security (message signature); 3.4.5.2 SIGNKEY; 3.4.5.3 SEALKEY.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from enum import Enum, auto
from hashlib import md5
from typing import TypeAlias

from smbproto.errors import WireError
from smbproto.security.authentication import Authenticated, AuthenticationFailed, HashLookup, NotYet
from smbproto.security.legacy import Rc4, nt_hash, rc4
from smbproto.security.ntlm_messages import (
    MIC_END,
    MIC_START,
    AuthenticateMessage,
    AvId,
    ChallengeMessage,
    Flags,
    av_pairs_untrusted,
    encode_av_pairs,
    encode_negotiate,
    flags_untrusted,
    message_type_untrusted,
)
from smbproto.status import Status

__all__ = ["NtlmAcceptor", "NtlmInitiator", "NtlmSigner", "ntowf_v2"]

Entropy: TypeAlias = Callable[[int], bytes]

REQUIRED = Flags.UNICODE | Flags.NTLM | Flags.EXTENDED_SESSIONSECURITY
OFFERED = (
    REQUIRED
    | Flags.REQUEST_TARGET
    | Flags.SIGN
    | Flags.SEAL
    | Flags.ALWAYS_SIGN
    | Flags.TARGET_INFO
    | Flags.VERSION
    | Flags.KEY_128
    | Flags.KEY_EXCH
    | Flags.KEY_56
)
AV_FLAG_MIC = 0x00000002
NT_PROOF_BYTES = 16
CLIENT_CHALLENGE_BYTES = 28  # NTLMv2_CLIENT_CHALLENGE before its AV pairs
LM_RESPONSE_BYTES = 24
_UNKNOWN_USER_HASH = bytes(16)  # computed with, so that unknown users take as long as known ones


def _hmac_md5(key: bytes, *parts: bytes) -> bytes:
    return hmac.digest(key, b"".join(parts), "md5")


def _upper(text: str) -> str:
    """One character for one, as Windows does it: sharp s stays."""
    return "".join(up if len(up := char.upper()) == 1 else char for char in text)


def ntowf_v2(hash_nt: bytes, user: str, domain: str) -> bytes:
    """NTOWFv2, the response key. Source: [MS-NLMP] 3.3.2 NTLM v2 Authentication."""
    return _hmac_md5(hash_nt, (_upper(user) + domain).encode("utf-16-le", "surrogatepass"))


class NtlmSigner:
    """MACs of GSS messages under an NTLM session key, for the mechListMIC of SPNEGO."""

    __slots__ = ("_own_key", "_own_rc4", "_own_sequence", "_peer_key", "_peer_rc4", "_peer_sequence")

    def __init__(self, session_key: bytes, flags: Flags, *, is_server: bool) -> None:
        client = self._keys(session_key, flags, "client-to-server")
        server = self._keys(session_key, flags, "server-to-client")
        own, peer = (server, client) if is_server else (client, server)
        self._own_key, own_seal = own
        self._peer_key, peer_seal = peer
        exchanged = bool(flags & Flags.KEY_EXCH)
        self._own_rc4 = Rc4(own_seal) if exchanged else None
        self._peer_rc4 = Rc4(peer_seal) if exchanged else None
        self._own_sequence = self._peer_sequence = 0

    @staticmethod
    def _keys(session_key: bytes, flags: Flags, direction: str) -> tuple[bytes, bytes]:
        """SIGNKEY and SEALKEY of one direction."""
        magic = f"session key to {direction} %s key magic constant\0"
        strength = 16 if flags & Flags.KEY_128 else 7 if flags & Flags.KEY_56 else 5
        sign = md5(session_key + (magic % "signing").encode()).digest()
        return sign, md5(session_key[:strength] + (magic % "sealing").encode()).digest()

    def sign(self, message: bytes) -> bytes:
        mac = self._mac(self._own_key, self._own_rc4, self._own_sequence, message)
        self._own_sequence += 1
        return mac

    def verify(self, message: bytes, signature: bytes) -> bool:
        mac = self._mac(self._peer_key, self._peer_rc4, self._peer_sequence, message)
        self._peer_sequence += 1
        return hmac.compare_digest(mac, signature)

    @staticmethod
    def _mac(key: bytes, seal: Rc4 | None, sequence: int, message: bytes) -> bytes:
        number = sequence.to_bytes(4, "little")
        checksum = _hmac_md5(key, number, message)[:8]
        return b"\1\0\0\0" + (seal.apply(checksum) if seal else checksum) + number


class _State(Enum):
    NEW = auto()
    CHALLENGED = auto()
    DONE = auto()


def _client_pairs(temp: bytes) -> dict[int, bytes]:
    """The target information as the client returned it, and perhaps more. Raises: WireError."""
    if len(temp) < CLIENT_CHALLENGE_BYTES or temp[:2] != b"\1\1":
        raise WireError("no NTLMv2_CLIENT_CHALLENGE")
    return av_pairs_untrusted(temp[CLIENT_CHALLENGE_BYTES:])


class NtlmAcceptor:
    """The server's side of one authentication. `filetime` is now, in 100 ns since 1601."""

    def __init__(self, server_name: str, domain: str, entropy: Entropy, filetime: int) -> None:
        self._server_name, self._domain = server_name, domain
        self._filetime = filetime.to_bytes(8, "little")
        self._server_challenge = entropy(8)
        self._state = _State.NEW
        self._negotiate = self._challenge = b""
        self._flags = Flags(0)
        self._signer: NtlmSigner | None = None

    @property
    def signer(self) -> NtlmSigner:
        """Signs and verifies with the session key; only after `authenticate`."""
        assert self._signer is not None, "nobody is authenticated"
        return self._signer

    def challenge(self, negotiate: bytes) -> bytes:
        """The CHALLENGE_MESSAGE for this NEGOTIATE_MESSAGE. Raises: WireError, AuthenticationFailed."""
        if self._state is not _State.NEW:
            raise AuthenticationFailed("NTLM NEGOTIATE out of turn", Status.INVALID_PARAMETER)
        if message_type_untrusted(negotiate) != 1:
            raise WireError("no NEGOTIATE_MESSAGE")
        wanted = flags_untrusted(negotiate, 12)
        if wanted & REQUIRED != REQUIRED:
            raise AuthenticationFailed(f"the client's NTLM flags {wanted:#x} lack what NTLMv2 needs")
        self._flags = (wanted & OFFERED) | Flags.TARGET_INFO
        target = ""
        if wanted & Flags.REQUEST_TARGET:
            self._flags |= Flags.TARGET_TYPE_SERVER
            target = self._server_name
        names = {
            AvId.NB_DOMAIN_NAME: self._domain,
            AvId.NB_COMPUTER_NAME: self._server_name,
            AvId.DNS_DOMAIN_NAME: self._domain.lower(),
            AvId.DNS_COMPUTER_NAME: self._server_name.lower(),
        }
        pairs: dict[int, bytes] = {av_id: name.encode("utf-16-le") for av_id, name in names.items()}
        pairs[AvId.TIMESTAMP] = self._filetime
        message = ChallengeMessage(target, self._flags, self._server_challenge, encode_av_pairs(pairs))
        self._negotiate, self._challenge = bytes(negotiate), message.encode()
        self._state = _State.CHALLENGED
        return self._challenge

    def authenticate(self, message: bytes, lookup: HashLookup) -> Authenticated:
        """Who sent this AUTHENTICATE_MESSAGE. Raises: WireError, AuthenticationFailed; NotYet if `lookup`
        does, and then the message may come again."""
        if self._state is not _State.CHALLENGED:
            raise AuthenticationFailed("NTLM AUTHENTICATE out of turn", Status.INVALID_PARAMETER)
        self._state = _State.DONE
        answer = AuthenticateMessage.decode_untrusted(bytes(message))
        if not answer.user and not answer.nt_response and answer.lm_response in (b"", b"\0"):
            return self._anonymous(answer)
        if len(answer.nt_response) <= LM_RESPONSE_BYTES:
            raise AuthenticationFailed(f"{answer.domain}\\{answer.user} sent an NTLMv1 response")
        proof, temp = answer.nt_response[:NT_PROOF_BYTES], answer.nt_response[NT_PROOF_BYTES:]
        pairs = _client_pairs(temp)  # malformed is malformed, whoever sent it
        try:
            known = lookup(answer.user, answer.domain)
        except NotYet:
            self._state = _State.CHALLENGED
            raise
        key = ntowf_v2(_UNKNOWN_USER_HASH if known is None else known, answer.user, answer.domain)
        expected = _hmac_md5(key, self._server_challenge, temp)
        proven = hmac.compare_digest(proof, expected)
        if known is None or not proven:
            why = "is unknown" if known is None else "gave a wrong password"
            raise AuthenticationFailed(f"{answer.domain}\\{answer.user} {why}")
        if pairs.get(AvId.TIMESTAMP, self._filetime) != self._filetime:
            raise AuthenticationFailed("the response is for the challenge of another time")
        session_key = self._exported_key(answer, _hmac_md5(key, proof))
        av_flags = int.from_bytes(pairs.get(AvId.FLAGS, b""), "little")
        if av_flags & AV_FLAG_MIC:
            self._check_mic(bytes(message), session_key)
        return self._done(answer, session_key, has_mic=bool(av_flags & AV_FLAG_MIC))

    def _exported_key(self, answer: AuthenticateMessage, base_key: bytes) -> bytes:
        if not self._flags & answer.flags & Flags.KEY_EXCH:
            self._flags &= ~Flags.KEY_EXCH
            return base_key
        if len(answer.encrypted_session_key) != 16:
            raise WireError(f"an encrypted session key of {len(answer.encrypted_session_key)} bytes")
        return rc4(base_key, answer.encrypted_session_key)

    def _check_mic(self, message: bytes, session_key: bytes) -> None:
        blank = message[:MIC_START] + bytes(16) + message[MIC_END:]
        mic = _hmac_md5(session_key, self._negotiate, self._challenge, blank)
        if not hmac.compare_digest(mic, message[MIC_START:MIC_END]):
            raise AuthenticationFailed("the NTLM messages were changed on their way: wrong MIC")

    def _anonymous(self, answer: AuthenticateMessage) -> Authenticated:
        return self._done(answer, self._exported_key(answer, bytes(16)), is_anonymous=True)

    def _done(
        self,
        answer: AuthenticateMessage,
        session_key: bytes,
        *,
        has_mic: bool = False,
        is_anonymous: bool = False,
    ) -> Authenticated:
        self._signer = NtlmSigner(session_key, self._flags & answer.flags, is_server=True)
        return Authenticated(
            answer.user, answer.domain, answer.workstation, session_key, is_anonymous, has_mic
        )


class NtlmInitiator:
    """The client's side of one authentication. An empty user is anonymous."""

    def __init__(
        self,
        user: str,
        password: str | None,
        domain: str = "",
        *,
        entropy: Entropy,
        filetime: int,
        hash_nt: bytes | None = None,
        workstation: str = "",
        target_name: str = "",
    ) -> None:
        """`hash_nt` in place of a password; `target_name` is the service, such as cifs/host."""
        self._user, self._domain, self._workstation = user, domain, workstation
        self._hash = hash_nt if hash_nt is not None else nt_hash(password or "")
        self._target_name = target_name
        self._filetime = filetime.to_bytes(8, "little")
        self._entropy = entropy
        self._negotiate = b""
        self._signer: NtlmSigner | None = None
        self.session_key = b""

    @property
    def signer(self) -> NtlmSigner:
        """Signs and verifies with the session key; only after `authenticate`."""
        assert self._signer is not None, "nobody is authenticated"
        return self._signer

    @property
    def is_anonymous(self) -> bool:
        return not self._user

    def negotiate(self) -> bytes:
        """The NEGOTIATE_MESSAGE."""
        self._negotiate = encode_negotiate(OFFERED & ~Flags.TARGET_INFO)
        return self._negotiate

    def authenticate(self, challenge: bytes) -> bytes:
        """The AUTHENTICATE_MESSAGE for this CHALLENGE_MESSAGE. Raises: WireError, AuthenticationFailed."""
        offer = ChallengeMessage.decode_untrusted(challenge)
        flags = offer.flags & OFFERED
        if flags & REQUIRED != REQUIRED or not flags & Flags.KEY_128:
            raise AuthenticationFailed(f"the server's NTLM flags {offer.flags:#x} are too weak")
        pairs = av_pairs_untrusted(offer.target_info) if offer.target_info else {}
        if self._user:
            nt, lm, base_key = self._responses(offer, pairs)
        else:
            nt, lm, base_key = b"", b"\0", bytes(16)
            flags |= Flags.ANONYMOUS
        encrypted, self.session_key = b"", base_key
        if flags & Flags.KEY_EXCH:
            self.session_key = self._entropy(16)
            encrypted = rc4(base_key, self.session_key)
        message = AuthenticateMessage(
            lm, nt, self._domain, self._user, self._workstation, encrypted, flags
        ).encode()
        self._signer = NtlmSigner(self.session_key, flags, is_server=False)
        if not self._user:
            return message
        mic = _hmac_md5(self.session_key, self._negotiate, challenge, message)
        return message[:MIC_START] + mic + message[MIC_END:]

    def _responses(self, offer: ChallengeMessage, pairs: dict[int, bytes]) -> tuple[bytes, bytes, bytes]:
        """Nt and Lm ChallengeResponse, SessionBaseKey; [MS-NLMP] 3.3.2 NTLM v2 Authentication."""
        client_challenge = self._entropy(8)
        time = pairs.get(AvId.TIMESTAMP, b"")
        if len(time) not in (0, 8):
            raise WireError(f"an NTLM timestamp of {len(time)} bytes")
        sent = dict(pairs)
        av_flags = int.from_bytes(pairs.get(AvId.FLAGS, b"")[:4], "little") | AV_FLAG_MIC
        sent[AvId.FLAGS] = av_flags.to_bytes(4, "little")
        sent[AvId.CHANNEL_BINDINGS] = bytes(16)
        if self._target_name:
            sent[AvId.TARGET_NAME] = self._target_name.encode("utf-16-le")
        temp = b"\1\1" + bytes(6) + (time or self._filetime) + client_challenge + bytes(4)
        temp += encode_av_pairs(sent) + bytes(4)
        key = ntowf_v2(self._hash, self._user, self._domain)
        proof = _hmac_md5(key, offer.server_challenge, temp)
        lm = bytes(LM_RESPONSE_BYTES)
        if not time:
            lm = _hmac_md5(key, offer.server_challenge, client_challenge) + client_challenge
        return proof + temp, lm, _hmac_md5(key, proof)
