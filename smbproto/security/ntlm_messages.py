"""The three NTLM messages and the target information in them, read with bounds and written.

Source: [MS-NLMP] 2.2.1.1 NEGOTIATE_MESSAGE; 2.2.1.2 CHALLENGE_MESSAGE; 2.2.1.3 AUTHENTICATE_MESSAGE; 2.2.2.1
AV_PAIR; 2.2.2.5 NEGOTIATE; 2.2.2.7 NTLM v2: NTLMv2_CLIENT_CHALLENGE.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag

from smbproto.errors import WireError

__all__ = [
    "SIGNATURE",
    "AuthenticateMessage",
    "AvId",
    "ChallengeMessage",
    "Flags",
    "av_pairs_untrusted",
    "encode_av_pairs",
]

SIGNATURE = b"NTLMSSP\0"
MESSAGE_BYTES_MAX = 65536
AV_PAIRS_MAX = 32
VERSION = bytes((10, 0, 0, 0, 0, 0, 0, 15))  # 10.0, NTLMSSP_REVISION_W2K3
MIC_START, MIC_END = 72, 88  # of an AUTHENTICATE_MESSAGE

_FIELD = struct.Struct("<HHI")
_AV = struct.Struct("<HH")
_U32 = struct.Struct("<I")


class Flags(IntFlag):
    """[MS-NLMP] 2.2.2.5 NEGOTIATE."""

    UNICODE = 0x00000001
    OEM = 0x00000002
    REQUEST_TARGET = 0x00000004
    SIGN = 0x00000010
    SEAL = 0x00000020
    LM_KEY = 0x00000080
    NTLM = 0x00000200
    ANONYMOUS = 0x00000800
    ALWAYS_SIGN = 0x00008000
    TARGET_TYPE_DOMAIN = 0x00010000
    TARGET_TYPE_SERVER = 0x00020000
    EXTENDED_SESSIONSECURITY = 0x00080000
    TARGET_INFO = 0x00800000
    VERSION = 0x02000000
    KEY_128 = 0x20000000
    KEY_EXCH = 0x40000000
    KEY_56 = 0x80000000


class AvId(IntEnum):
    """[MS-NLMP] 2.2.2.1 AV_PAIR, AvId."""

    EOL = 0
    NB_COMPUTER_NAME = 1
    NB_DOMAIN_NAME = 2
    DNS_COMPUTER_NAME = 3
    DNS_DOMAIN_NAME = 4
    DNS_TREE_NAME = 5
    FLAGS = 6
    TIMESTAMP = 7
    SINGLE_HOST = 8
    TARGET_NAME = 9
    CHANNEL_BINDINGS = 10


def message_type_untrusted(message: bytes) -> int:
    """MessageType of an NTLM message. Raises: WireError."""
    if len(message) < 12 or message[:8] != SIGNATURE:
        raise WireError("no NTLM message")
    if len(message) > MESSAGE_BYTES_MAX:
        raise WireError(f"an NTLM message of {len(message)} bytes")
    return int(_U32.unpack_from(message, 8)[0])


def flags_untrusted(message: bytes, at: int) -> Flags:
    if len(message) < at + 4:
        raise WireError(f"an NTLM message of {len(message)} bytes has no flags")
    return Flags(_U32.unpack_from(message, at)[0])


def _field_untrusted(message: bytes, at: int) -> bytes:
    """What a Len/MaxLen/BufferOffset triple at `at` points to. Raises: WireError."""
    if len(message) < at + _FIELD.size:
        raise WireError(f"an NTLM message of {len(message)} bytes is too short")
    length, _, offset = _FIELD.unpack_from(message, at)
    if length == 0:
        return b""
    if offset + length > len(message):
        raise WireError(f"NTLM field of {length} bytes at {offset} in a message of {len(message)}")
    return message[offset : offset + length]


def _text_untrusted(message: bytes, at: int, flags: Flags) -> str:
    data = _field_untrusted(message, at)
    try:
        return data.decode("utf-16-le" if flags & Flags.UNICODE else "latin-1")
    except UnicodeDecodeError as error:
        raise WireError(f"NTLM name is no UTF-16 text: {error.reason}") from None


def av_pairs_untrusted(data: bytes) -> dict[int, bytes]:
    """The AV pairs up to MsvAvEOL. Raises: WireError."""
    pairs: dict[int, bytes] = {}
    at = 0
    for _ in range(AV_PAIRS_MAX):
        if at + _AV.size > len(data):
            raise WireError("NTLM target information has no end")
        av_id, length = _AV.unpack_from(data, at)
        at += _AV.size
        if av_id == AvId.EOL:
            return pairs
        if at + length > len(data):
            raise WireError(f"AV pair {av_id} of {length} bytes runs over its end")
        if av_id in pairs:
            raise WireError(f"AV pair {av_id} comes twice")
        pairs[av_id] = data[at : at + length]
        at += length
    raise WireError(f"more than {AV_PAIRS_MAX} AV pairs")


def encode_av_pairs(pairs: dict[int, bytes]) -> bytes:
    parts = [_AV.pack(av_id, len(value)) + value for av_id, value in pairs.items()]
    return b"".join(parts) + _AV.pack(AvId.EOL, 0)


def encode_negotiate(flags: Flags) -> bytes:
    """A NEGOTIATE_MESSAGE without names, which nobody needs."""
    return SIGNATURE + struct.pack("<II", 1, flags) + bytes(16) + VERSION


@dataclass(frozen=True, slots=True)
class ChallengeMessage:
    """[MS-NLMP] 2.2.1.2 CHALLENGE_MESSAGE."""

    target_name: str
    flags: Flags
    server_challenge: bytes
    target_info: bytes

    def encode(self) -> bytes:
        target, start = self.target_name.encode("utf-16-le"), 56
        head = SIGNATURE + _U32.pack(2) + _FIELD.pack(len(target), len(target), start)
        head += _U32.pack(self.flags) + self.server_challenge + bytes(8)
        info = _FIELD.pack(len(self.target_info), len(self.target_info), start + len(target))
        return head + info + VERSION + target + self.target_info

    @staticmethod
    def decode_untrusted(message: bytes) -> ChallengeMessage:
        if message_type_untrusted(message) != 2 or len(message) < 32:
            raise WireError("no CHALLENGE_MESSAGE")
        flags = flags_untrusted(message, 20)
        info = _field_untrusted(message, 40) if flags & Flags.TARGET_INFO else b""
        return ChallengeMessage(_text_untrusted(message, 12, flags), flags, message[24:32], info)


@dataclass(frozen=True, slots=True)
class AuthenticateMessage:
    """[MS-NLMP] 2.2.1.3 AUTHENTICATE_MESSAGE."""

    lm_response: bytes
    nt_response: bytes
    domain: str
    user: str
    workstation: str
    encrypted_session_key: bytes
    flags: Flags
    mic: bytes = b""  # 16 bytes; what stands at its place, whether it is a MIC or not

    def encode(self) -> bytes:
        """With 16 bytes at the place of the MIC."""
        names = [text.encode("utf-16-le") for text in (self.domain, self.user, self.workstation)]
        payload = [self.lm_response, self.nt_response, *names, self.encrypted_session_key]
        out, at = [SIGNATURE + _U32.pack(3)], MIC_END
        for part in payload:
            out.append(_FIELD.pack(len(part), len(part), at))
            at += len(part)
        out.append(_U32.pack(self.flags) + VERSION + self.mic.ljust(16, b"\0"))
        return b"".join(out + payload)

    @staticmethod
    def decode_untrusted(message: bytes) -> AuthenticateMessage:
        if message_type_untrusted(message) != 3:
            raise WireError("no AUTHENTICATE_MESSAGE")
        flags = flags_untrusted(message, 60)
        return AuthenticateMessage(
            lm_response=_field_untrusted(message, 12),
            nt_response=_field_untrusted(message, 20),
            domain=_text_untrusted(message, 28, flags),
            user=_text_untrusted(message, 36, flags),
            workstation=_text_untrusted(message, 44, flags),
            encrypted_session_key=_field_untrusted(message, 52),
            flags=flags,
            mic=message[MIC_START:MIC_END],
        )
