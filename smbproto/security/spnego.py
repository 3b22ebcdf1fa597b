"""SPNEGO around NTLM, both ends; an acceptor also takes NTLM without any wrapping.

    START --NTLMSSP--> RAW ---------------------------------------------------------------> DONE
      |
      +--NegTokenInit, optimistic NTLM token--> WRAPPED --NegTokenResp, AUTHENTICATE--------> DONE
      |                                           ^   |
      +--NegTokenInit, other mechanism first------+   +--no mechListMIC though needed--> AWAIT_MIC --> DONE

The list of mechanisms is a parameter of the tokens, so that Kerberos can join it; only NTLM is advertised.

Source: [MS-SPNG] 2.2.1 NegTokenInit2; RFC 4178 4.2 Syntax and Semantics; 5 Processing of mechListMIC; RFC
2743 3.1 Mechanism-Independent Token Format.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from smbproto.errors import WireError
from smbproto.security.authentication import Authenticated, AuthenticationFailed, HashLookup, NotYet
from smbproto.security.der import Reader, tlv
from smbproto.security.ntlm import NtlmAcceptor, NtlmInitiator
from smbproto.security.ntlm_messages import SIGNATURE as NTLMSSP
from smbproto.status import Status

__all__ = [
    "ADVERTISED",
    "Accepted",
    "SpnegoAcceptor",
    "SpnegoInitiator",
    "mechanisms_of_hint",
    "negotiate_hint",
]

TOKEN_BYTES_MAX = 65536
MECHANISMS_MAX = 32

OID_SPNEGO = bytes.fromhex("2b0601050502")  # 1.3.6.1.5.5.2
OID_NTLM = bytes.fromhex("2b06010401823702020a")  # 1.3.6.1.4.1.311.2.2.10
ADVERTISED = (OID_NTLM,)
HINT_NAME = b"not_defined_in_RFC4178@please_ignore"

ACCEPT_COMPLETED, ACCEPT_INCOMPLETE, REJECT, REQUEST_MIC = range(4)

_GSS_INIT, _NEG_INIT, _NEG_RESP = 0x60, 0xA0, 0xA1
_OID, _SEQUENCE, _OCTETS, _ENUMERATED, _GENERAL_STRING = 0x06, 0x30, 0x04, 0x0A, 0x1B


def _encode_init(mechanisms: tuple[bytes, ...], *fields: bytes) -> bytes:
    mech_types = tlv(0xA0, encode_mechanisms(mechanisms))
    return tlv(_GSS_INIT, tlv(_OID, OID_SPNEGO), tlv(_NEG_INIT, tlv(_SEQUENCE, mech_types, *fields)))


def encode_mechanisms(mechanisms: tuple[bytes, ...]) -> bytes:
    """MechTypeList: also what a mechListMIC signs."""
    return tlv(_SEQUENCE, *(tlv(_OID, oid) for oid in mechanisms))


def negotiate_hint(mechanisms: tuple[bytes, ...] = ADVERTISED) -> bytes:
    """The NegTokenInit2 in the security buffer of a NEGOTIATE response."""
    return _encode_init(mechanisms, tlv(0xA3, tlv(_SEQUENCE, tlv(0xA0, tlv(_GENERAL_STRING, HINT_NAME)))))


def mechanisms_of_hint(token: bytes) -> tuple[bytes, ...]:
    """The mechanisms of a server's hint; none if there is no hint. Raises: WireError."""
    return NegInit.decode_untrusted(token).mechanisms if token else ()


def _limited(token: bytes) -> bytes:
    if len(token) > TOKEN_BYTES_MAX:
        raise WireError(f"a security token of {len(token)} bytes")
    return bytes(token)


@dataclass(frozen=True, slots=True)
class NegInit:
    """NegTokenInit and NegTokenInit2; the hints of the latter are ignored."""

    mechanisms: tuple[bytes, ...]
    mech_list: bytes  # as it came: what the mechListMIC signs
    mech_token: bytes | None

    @staticmethod
    def decode_untrusted(token: bytes) -> NegInit:
        outer = Reader(Reader(_limited(token)).expect(_GSS_INIT))
        if outer.expect(_OID) != OID_SPNEGO:
            raise WireError("a GSS token that is not SPNEGO")
        fields = Reader(Reader(outer.expect(_NEG_INIT)).expect(_SEQUENCE))
        mechanisms: list[bytes] = []
        mech_list, mech_token = b"", None
        while fields:
            tag, value = fields.next()
            if tag == 0xA0:
                mech_list = value
                listed = Reader(Reader(value).expect(_SEQUENCE))
                while listed and len(mechanisms) < MECHANISMS_MAX:
                    mechanisms.append(listed.expect(_OID))
                if listed:
                    raise WireError(f"more than {MECHANISMS_MAX} mechanisms")
            elif tag == 0xA2:
                mech_token = Reader(value).expect(_OCTETS)
        if not mechanisms:
            raise WireError("a NegTokenInit without mechanisms")
        return NegInit(tuple(mechanisms), mech_list, mech_token)


@dataclass(frozen=True, slots=True)
class NegResp:
    """NegTokenResp."""

    state: int | None = None
    mechanism: bytes | None = None
    token: bytes | None = None
    mic: bytes | None = None

    @staticmethod
    def decode_untrusted(token: bytes) -> NegResp:
        fields = Reader(Reader(Reader(_limited(token)).expect(_NEG_RESP)).expect(_SEQUENCE))
        found: dict[int, bytes] = {}
        tags = {0xA0: _ENUMERATED, 0xA1: _OID, 0xA2: _OCTETS, 0xA3: _OCTETS}
        while fields:
            tag, value = fields.next()
            if tag in tags:
                found[tag] = Reader(value).expect(tags[tag])
        state = found.get(0xA0)
        if state is not None and (len(state) != 1 or state[0] > REQUEST_MIC):
            raise WireError("an unknown negState")
        return NegResp(None if state is None else state[0], found.get(0xA1), found.get(0xA2), found.get(0xA3))

    def encode(self) -> bytes:
        fields = []
        if self.state is not None:
            fields.append(tlv(0xA0, tlv(_ENUMERATED, bytes((self.state,)))))
        if self.mechanism is not None:
            fields.append(tlv(0xA1, tlv(_OID, self.mechanism)))
        if self.token is not None:
            fields.append(tlv(0xA2, tlv(_OCTETS, self.token)))
        if self.mic is not None:
            fields.append(tlv(0xA3, tlv(_OCTETS, self.mic)))
        return tlv(_NEG_RESP, tlv(_SEQUENCE, *fields))


class _State(Enum):
    START = auto()
    RAW = auto()
    WRAPPED = auto()
    AWAIT_MIC = auto()
    DONE = auto()


@dataclass(frozen=True, slots=True)
class Accepted:
    """`token` goes to the client; `identity` is set when the exchange is over (then `token` may be empty)."""

    token: bytes
    identity: Authenticated | None = None


class SpnegoAcceptor:
    """The server's side of one authentication."""

    def __init__(self, ntlm: NtlmAcceptor) -> None:
        self._ntlm = ntlm
        self._state = _State.START
        self._mech_list = b""
        self._needs_mic = False
        self._identity: Authenticated | None = None

    def step(self, token: bytes, lookup: HashLookup) -> Accepted:
        """Take the client's next token. Raises: WireError, AuthenticationFailed; it is then over. NotYet if
        `lookup` does: the same token may come again."""
        state, self._state = self._state, _State.DONE
        try:
            return self._step(state, token, lookup)
        except NotYet:
            self._state = state
            raise

    def _step(self, state: _State, token: bytes, lookup: HashLookup) -> Accepted:
        if state is _State.DONE:
            raise AuthenticationFailed("a security token after the end", Status.INVALID_PARAMETER)
        token = _limited(token)
        if state is _State.RAW:
            return Accepted(b"", self._ntlm.authenticate(token, lookup))
        if state is _State.START:
            if token.startswith(NTLMSSP):
                self._state = _State.RAW
                return Accepted(self._ntlm.challenge(token))
            return self._begin(NegInit.decode_untrusted(token))
        answer = NegResp.decode_untrusted(token)
        if state is _State.AWAIT_MIC:
            assert self._identity is not None
            self._check_mic(answer.mic)
            return Accepted(NegResp(ACCEPT_COMPLETED).encode(), self._identity)
        if answer.token is None:
            raise WireError("a NegTokenResp without a token")
        return self._go_on(answer.token, answer.mic, lookup)

    def _begin(self, init: NegInit) -> Accepted:
        if OID_NTLM not in init.mechanisms:
            raise AuthenticationFailed("the client offers no mechanism that we have")
        self._mech_list = init.mech_list
        self._state = _State.WRAPPED
        if init.mechanisms[0] != OID_NTLM or init.mech_token is None:
            self._needs_mic = init.mechanisms[0] != OID_NTLM
            state = REQUEST_MIC if self._needs_mic else ACCEPT_INCOMPLETE
            return Accepted(NegResp(state, OID_NTLM).encode())
        challenge = self._ntlm.challenge(init.mech_token)
        return Accepted(NegResp(ACCEPT_INCOMPLETE, OID_NTLM, challenge).encode())

    def _go_on(self, token: bytes, mic: bytes | None, lookup: HashLookup) -> Accepted:
        if token.startswith(NTLMSSP + b"\1\0\0\0"):
            self._state = _State.WRAPPED
            challenge = self._ntlm.challenge(token)
            return Accepted(NegResp(ACCEPT_INCOMPLETE, None, challenge).encode())
        identity = self._ntlm.authenticate(token, lookup)
        if mic is not None:
            self._check_mic(mic)
            return Accepted(NegResp(ACCEPT_COMPLETED, mic=self._own_mic()).encode(), identity)
        if self._needs_mic and not identity.is_anonymous:
            self._state, self._identity = _State.AWAIT_MIC, identity
            return Accepted(NegResp(ACCEPT_INCOMPLETE, mic=self._own_mic()).encode())
        return Accepted(NegResp(ACCEPT_COMPLETED).encode(), identity)

    def _own_mic(self) -> bytes:
        return self._ntlm.signer.sign(self._mech_list)

    def _check_mic(self, mic: bytes | None) -> None:
        if mic is None or not self._ntlm.signer.verify(self._mech_list, mic):
            raise AuthenticationFailed("the list of mechanisms was changed on its way: wrong mechListMIC")


class SpnegoInitiator:
    """The client's side of one authentication, with NTLM as its only mechanism."""

    def __init__(self, ntlm: NtlmInitiator) -> None:
        self._ntlm = ntlm
        self._mech_list = encode_mechanisms(ADVERTISED)
        self._answered = False

    @property
    def is_anonymous(self) -> bool:
        return self._ntlm.is_anonymous

    @property
    def session_key(self) -> bytes:
        """The full key of the mechanism, after the answer to the challenge was made."""
        return self._ntlm.session_key

    def begin(self) -> bytes:
        """The first token."""
        return _encode_init(ADVERTISED, tlv(0xA2, tlv(_OCTETS, self._ntlm.negotiate())))

    def step(self, token: bytes) -> bytes | None:
        """The answer to the server's token; None if none is due. Raises: WireError, AuthenticationFailed."""
        answer = NegResp.decode_untrusted(token)
        if answer.state == REJECT:
            raise AuthenticationFailed("the server rejected the authentication")
        if answer.mechanism not in (None, OID_NTLM):
            raise AuthenticationFailed("the server chose a mechanism that was not offered")
        if not self._answered:
            if answer.token is None:
                raise WireError("the server sent no NTLM challenge")
            self._answered = True
            message = self._ntlm.authenticate(answer.token)
            return NegResp(ACCEPT_INCOMPLETE, None, message, self._ntlm.signer.sign(self._mech_list)).encode()
        if answer.mic is not None and not self._ntlm.signer.verify(self._mech_list, answer.mic):
            raise AuthenticationFailed("the server's mechListMIC is wrong")
        return None
