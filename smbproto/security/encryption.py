"""Encrypting and decrypting messages in place: AES-128 and AES-256 in CCM and GCM, under a TRANSFORM_HEADER.

    start                start+52                  start+52+length
    | TRANSFORM_HEADER   | message -> ciphertext   | 16 bytes of slack |

The cipher writes its tag behind the ciphertext; SMB keeps it in the header. So `Sealer.seal_in_place`
borrows the slack and moves the tag; `Opener.open_in_place` puts the tag there, decrypts, and restores the 16
bytes, which may be the next frame's.

A nonce never repeats under a key: a Sealer counts, and it is the only sealer of its key. Encryption keys
belong to the session, not to a channel, so all channels of a session share one Sealer.

Source: [MS-SMB2] 2.2.41 SMB2 TRANSFORM_HEADER; 3.1.4.3 Encrypting the Message;
3.3.5.2.1.1 Decrypting the Message.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import TypeAlias

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM

from smbproto.errors import ProtocolViolation

__all__ = [
    "TAG_BYTES",
    "TRANSFORM_HEADER_BYTES",
    "CipherId",
    "Opener",
    "Sealer",
    "key_bytes",
    "session_id_of",
]

TRANSFORM_HEADER_BYTES = 52
TAG_BYTES = 16
NONCES_MAX = 1 << 64
_PROTOCOL_ID = b"\xfdSMB"
_ENCRYPTED = 0x0001  # Flags in 3.1.1; EncryptionAlgorithm AES128-CCM in 3.0 and 3.0.2
_HEADER = Struct("<4s16s16sIHHQ")
_AAD_START = 20  # the header from its nonce on is authenticated

Aead: TypeAlias = AESGCM | AESCCM


class CipherId(IntEnum):
    """[MS-SMB2] 2.2.3.1.2 SMB2_ENCRYPTION_CAPABILITIES, Ciphers."""

    AES_128_CCM = 1
    AES_128_GCM = 2
    AES_256_CCM = 3
    AES_256_GCM = 4


def key_bytes(cipher: CipherId) -> int:
    """Length of this cipher's key."""
    return 32 if cipher in (CipherId.AES_256_CCM, CipherId.AES_256_GCM) else 16


def nonce_bytes(cipher: CipherId) -> int:
    """How much of the header's 16-byte Nonce field the cipher uses; the rest is zero."""
    return 11 if cipher in (CipherId.AES_128_CCM, CipherId.AES_256_CCM) else 12


def make_aead(cipher: CipherId, key: bytes) -> Aead:
    assert len(key) == key_bytes(cipher), f"{cipher.name} takes a key of {key_bytes(cipher)}, not {len(key)}"
    return AESCCM(key, TAG_BYTES) if nonce_bytes(cipher) == 11 else AESGCM(key)


def _works_in_place(cipher: CipherId) -> bool:
    """Whether this build of the cipher gives right results when input and output are the same memory."""
    aead, nonce = make_aead(cipher, bytes(key_bytes(cipher))), bytes(nonce_bytes(cipher))
    plain = bytes(range(251)) * 33
    memory = bytearray(plain + bytes(TAG_BYTES))
    view, length = memoryview(memory), len(plain)
    try:
        aead.encrypt_into(nonce, view[:length], b"aad", view)
        if bytes(memory) != aead.encrypt(nonce, plain, b"aad"):
            return False
        aead.decrypt_into(nonce, view, b"aad", view[:length])
    except (ValueError, BufferError, InvalidTag):
        return False
    return bytes(memory[:length]) == plain


IN_PLACE = {cipher: _works_in_place(cipher) for cipher in CipherId}


def session_id_of(header: memoryview) -> int:
    """SessionId of a TRANSFORM_HEADER. Raises: ProtocolViolation."""
    if len(header) < TRANSFORM_HEADER_BYTES or header[:4] != _PROTOCOL_ID:
        raise ProtocolViolation(f"{len(header)} bytes are no TRANSFORM_HEADER")
    return int.from_bytes(header[44:52], "little")


class Sealer:
    """Encrypts the messages of one direction of a session."""

    __slots__ = ("_aead", "_count", "_in_place", "_nonce_bytes", "session_id")

    def __init__(
        self, cipher: CipherId, key: bytes, session_id: int, *, in_place: bool | None = None
    ) -> None:
        self._aead = make_aead(cipher, key)
        self._nonce_bytes = nonce_bytes(cipher)
        self._in_place = IN_PLACE[cipher] if in_place is None else in_place
        self._count = 0
        self.session_id = session_id

    def seal_in_place(self, buffer: memoryview, start: int, length: int) -> int:
        """Encrypt the message at `start + 52` and write its header at `start`. Returns the end of the whole.

        `length` is the message's; 16 bytes behind it are overwritten with rubbish. Units: bytes.
        """
        self._count += 1
        assert self._count < NONCES_MAX, "this session has no nonce left"
        nonce = self._count.to_bytes(16, "little")
        used = nonce[: self._nonce_bytes]
        body = start + TRANSFORM_HEADER_BYTES
        end = body + length
        _HEADER.pack_into(buffer, start, _PROTOCOL_ID, b"", nonce, length, 0, _ENCRYPTED, self.session_id)
        aad = buffer[start + _AAD_START : body]
        if self._in_place:
            self._aead.encrypt_into(used, buffer[body:end], aad, buffer[body : end + TAG_BYTES])
        else:
            buffer[body : end + TAG_BYTES] = self._aead.encrypt(used, buffer[body:end], aad)
        buffer[start + 4 : start + 20] = buffer[end : end + TAG_BYTES]
        return end


class Opener:
    """Decrypts the messages of one direction of a session."""

    __slots__ = ("_aead", "_in_place", "_nonce_bytes")

    def __init__(self, cipher: CipherId, key: bytes, *, in_place: bool | None = None) -> None:
        self._aead = make_aead(cipher, key)
        self._nonce_bytes = nonce_bytes(cipher)
        self._in_place = IN_PLACE[cipher] if in_place is None else in_place

    def open_in_place(self, buffer: memoryview, start: int, end: int) -> memoryview:
        """Decrypt the frame `buffer[start:end]`, header included; the plain message, inside `buffer`.

        Memory behind `end` is untouched when this returns; 16 bytes of it, if there, spare a copy.
        Raises: ProtocolViolation; the frame is then destroyed.
        """
        body = start + TRANSFORM_HEADER_BYTES
        if end < body or end > len(buffer):
            raise ProtocolViolation(f"{end - start} bytes are too short for a TRANSFORM_HEADER")
        protocol, tag, nonce, size, _, flags, _ = _HEADER.unpack_from(buffer, start)
        if protocol != _PROTOCOL_ID or flags != _ENCRYPTED or size != end - body:
            raise ProtocolViolation(f"TRANSFORM_HEADER: flags {flags:#x}, {size} bytes, {end - body} there")
        used, aad = nonce[: self._nonce_bytes], buffer[start + _AAD_START : body]
        slack = end + TAG_BYTES
        try:
            if self._in_place and slack <= len(buffer):
                saved = bytes(buffer[end:slack])
                buffer[end:slack] = tag
                try:
                    self._aead.decrypt_into(used, buffer[body:slack], aad, buffer[body:end])
                finally:
                    buffer[end:slack] = saved
            else:
                buffer[body:end] = self._aead.decrypt(used, b"".join((buffer[body:end], tag)), aad)
        except (InvalidTag, ValueError):
            raise ProtocolViolation("a message could not be decrypted") from None
        return buffer[body:end]
