"""Signing and verifying messages: HMAC-SHA256, AES-128-CMAC, AES-128-GMAC.

A `Signer` holds the prepared key; one serves both directions, and all channels that share the key. A message
is the bytes from its SMB2 header to the end of its padding in a compound. Nothing is copied: the signature
field is zeroed where it is.

Source: [MS-SMB2] 3.1.4.1 Signing An Outgoing Message; 3.1.5.1 Verifying an Incoming Message;
2.2.3.1.7 SMB2_SIGNING_CAPABILITIES; RFC 4493 The AES-CMAC Algorithm.
"""

from __future__ import annotations

from enum import IntEnum
from hmac import compare_digest
from struct import Struct
from typing import Protocol

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES128
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

__all__ = ["Signer", "SigningAlgorithm", "make_signer"]

SIGNATURE_START = 48  # of the SMB2 header
SIGNATURE_END = 64
SIGNATURE_BYTES = 16
_ZERO = bytes(SIGNATURE_BYTES)
_GMAC_NONCE = Struct("<QI").pack
_GMAC_SERVER = 1  # low bits of the nonce's last four bytes
_GMAC_CANCEL = 2


class SigningAlgorithm(IntEnum):
    """[MS-SMB2] 2.2.3.1.7 SMB2_SIGNING_CAPABILITIES, SigningAlgorithms."""

    HMAC_SHA256 = 0
    AES_CMAC = 1
    AES_GMAC = 2


class Signer(Protocol):
    """One key. Messages need writable memory for `verify` and a zeroed signature field for `sign`."""

    def sign(self, message: memoryview, message_id: int, is_server: bool, is_cancel: bool = False) -> bytes:
        """The 16 bytes for the signature field of `message`, whose signature field is zero.

        `is_server`: the sender is the server. Only GMAC's nonce uses the last three arguments.
        """
        ...

    def verify(self, message: memoryview, message_id: int, is_server: bool, is_cancel: bool = False) -> bool:
        """Whether the signature in `message` is right. If so its field is left zero; otherwise as it came."""
        ...


class _Verifying:
    """`verify` for anything that can sign."""

    __slots__ = ()

    def sign(self, message: memoryview, message_id: int, is_server: bool, is_cancel: bool = False) -> bytes:
        raise TypeError(f"{type(self).__name__} signs nothing")

    def verify(self, message: memoryview, message_id: int, is_server: bool, is_cancel: bool = False) -> bool:
        if len(message) < SIGNATURE_END:
            return False
        received = bytes(message[SIGNATURE_START:SIGNATURE_END])
        message[SIGNATURE_START:SIGNATURE_END] = _ZERO
        if compare_digest(self.sign(message, message_id, is_server, is_cancel), received):
            return True
        message[SIGNATURE_START:SIGNATURE_END] = received
        return False


class HmacSha256Signer(_Verifying):
    """SMB 2.0.2 and 2.1."""

    __slots__ = ("_base",)

    def __init__(self, key: bytes) -> None:
        self._base = HMAC(key, SHA256())

    def sign(self, message: memoryview, message_id: int, is_server: bool, is_cancel: bool = False) -> bytes:
        mac = self._base.copy()
        mac.update(message)
        return mac.finalize()[:SIGNATURE_BYTES]


class CmacSigner(_Verifying):
    """SMB 3.0 and 3.0.2; 3.1.1 unless GMAC was negotiated."""

    __slots__ = ("_base",)

    def __init__(self, key: bytes) -> None:
        self._base = CMAC(AES128(key))

    def sign(self, message: memoryview, message_id: int, is_server: bool, is_cancel: bool = False) -> bytes:
        mac = self._base.copy()
        mac.update(message)  # type: ignore[arg-type]  # any buffer will do; its stub says bytes
        return mac.finalize()


class GmacSigner(_Verifying):
    """SMB 3.1.1 with SMB2_SIGNING_CAPABILITIES. The nonce is the message id and who sent it."""

    __slots__ = ("_encrypt",)

    def __init__(self, key: bytes) -> None:
        assert len(key) == 16
        self._encrypt = AESGCM(key).encrypt

    def sign(self, message: memoryview, message_id: int, is_server: bool, is_cancel: bool = False) -> bytes:
        who = (_GMAC_SERVER if is_server else 0) | (_GMAC_CANCEL if is_cancel else 0)
        return self._encrypt(_GMAC_NONCE(message_id, who), b"", message)


def make_signer(algorithm: SigningAlgorithm, key: bytes) -> Signer:
    """The signer of a session's or channel's signing key (16 bytes)."""
    if algorithm == SigningAlgorithm.AES_GMAC:
        return GmacSigner(key)
    if algorithm == SigningAlgorithm.AES_CMAC:
        return CmacSigner(key)
    return HmacSha256Signer(key)
