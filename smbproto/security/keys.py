"""Session keys: the SP800-108 key derivation and what SMB 3 derives with it.

Source: [MS-SMB2] 3.1.4.2 Generating Cryptographic Keys; 3.3.5.5.3 Handling GSS-API Authentication;
NIST SP800-108 5.1 KDF in Counter Mode (PRF HMAC-SHA256, 32-bit counter before the label).
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from smbproto.security.encryption import CipherId, key_bytes
from smbproto.security.signing import SigningAlgorithm

__all__ = ["SessionKeys", "derive_key", "derive_session_keys", "session_key_of", "signing_algorithm_of"]

SESSION_KEY_BYTES = 16
_SHA256_BYTES = 32


def derive_key(key: bytes, label: bytes, context: bytes, length_bytes: int) -> bytes:
    """SP800-108 KDF in counter mode: `length_bytes` of key material."""
    assert 0 < length_bytes <= 255 * _SHA256_BYTES
    tail = label + b"\0" + context + (length_bytes * 8).to_bytes(4, "big")
    blocks = [
        hmac.digest(key, counter.to_bytes(4, "big") + tail, "sha256")
        for counter in range(1, -(-length_bytes // _SHA256_BYTES) + 1)
    ]
    return b"".join(blocks)[:length_bytes]


def session_key_of(full_session_key: bytes) -> bytes:
    """Session.SessionKey: the first 16 bytes of the mechanism's key, or the key padded with zeros to 16."""
    return full_session_key[:SESSION_KEY_BYTES].ljust(SESSION_KEY_BYTES, b"\0")


@dataclass(frozen=True, slots=True)
class SessionKeys:
    """Keys of a session or channel. Named by direction, so that both roles use them alike."""

    signing: bytes
    application: bytes
    client_to_server: bytes  # cipher key; empty below SMB 3.0
    server_to_client: bytes

    def __repr__(self) -> str:
        return "SessionKeys(...)"


def derive_session_keys(
    dialect: int, full_session_key: bytes, cipher: CipherId | None, preauth_hash: bytes
) -> SessionKeys:
    """All keys of a session. `preauth_hash` is the session's PreauthIntegrityHashValue; used by 3.1.1 only.

    Below 3.0 the session key signs, and there is no cipher. A 256-bit cipher takes the mechanism's whole key.
    """
    session_key = session_key_of(full_session_key)
    if dialect < 0x0300:
        return SessionKeys(session_key, session_key, b"", b"")
    if dialect < 0x0311:
        return SessionKeys(
            signing=derive_key(session_key, b"SMB2AESCMAC\0", b"SmbSign\0", 16),
            application=derive_key(session_key, b"SMB2APP\0", b"SmbRpc\0", 16),
            client_to_server=derive_key(session_key, b"SMB2AESCCM\0", b"ServerIn \0", 16),
            server_to_client=derive_key(session_key, b"SMB2AESCCM\0", b"ServerOut\0", 16),
        )
    length = 16 if cipher is None else key_bytes(cipher)
    base = full_session_key if length > 16 else session_key
    return SessionKeys(
        signing=derive_key(session_key, b"SMBSigningKey\0", preauth_hash, 16),
        application=derive_key(session_key, b"SMBAppKey\0", preauth_hash, 16),
        client_to_server=derive_key(base, b"SMBC2SCipherKey\0", preauth_hash, length),
        server_to_client=derive_key(base, b"SMBS2CCipherKey\0", preauth_hash, length),
    )


def signing_algorithm_of(dialect: int, negotiated: SigningAlgorithm | None) -> SigningAlgorithm:
    """What signs in this dialect. Source: [MS-SMB2] 3.1.4.1 Signing An Outgoing Message."""
    if dialect < 0x0300:
        return SigningAlgorithm.HMAC_SHA256
    if dialect < 0x0311 or negotiated is None:
        return SigningAlgorithm.AES_CMAC
    return negotiated
