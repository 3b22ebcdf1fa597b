"""The chain of SHA-512 over all messages that lead to a session, which keys of SMB 3.1.1 are bound to.

    value(0) = 64 zero bytes;  value(n) = SHA-512(value(n-1) || message(n))

A connection hashes its NEGOTIATE request and response; each session setup goes on from a copy of that, over
every SESSION_SETUP request and response up to the request that completes it (the last response is not).

Source: [MS-SMB2] 3.1.4.2 Generating Cryptographic Keys; 3.3.5.4 Receiving an SMB2 NEGOTIATE Request.
"""

from __future__ import annotations

from hashlib import sha512

__all__ = ["PREAUTH_HASH_BYTES", "PreauthIntegrity"]

PREAUTH_HASH_BYTES = 64


class PreauthIntegrity:
    """PreauthIntegrityHashValue of a connection or of one session setup. Messages begin at their header."""

    __slots__ = ("value",)

    def __init__(self, value: bytes = bytes(PREAUTH_HASH_BYTES)) -> None:
        assert len(value) == PREAUTH_HASH_BYTES
        self.value = value

    def update(self, message: bytes | bytearray | memoryview) -> None:
        digest = sha512(self.value)
        digest.update(message)
        self.value = digest.digest()

    def copy(self) -> PreauthIntegrity:
        return PreauthIntegrity(self.value)
