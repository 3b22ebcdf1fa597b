"""MD4 and RC4, which NTLM needs and current OpenSSL no longer offers. For tokens only: both are slow here.

Source: RFC 1320 The MD4 Message-Digest Algorithm; RFC 6229 Test Vectors for the Stream Cipher RC4.
"""

from __future__ import annotations

from struct import pack, unpack

__all__ = ["Rc4", "md4", "nt_hash", "rc4"]

_MASK = 0xFFFFFFFF
_ROUNDS = (  # added constant, order of the words, shifts
    (0x00000000, tuple(range(16)), (3, 7, 11, 19)),
    (0x5A827999, (0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), (3, 5, 9, 13)),
    (0x6ED9EBA1, (0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15), (3, 9, 11, 15)),
)


def _mix(round_index: int, x: int, y: int, z: int) -> int:
    """F, G and H of RFC 1320 3.4 Step 4. Process Message in 16-Word Blocks."""
    if round_index == 0:
        return (x & y) | (~x & z)
    if round_index == 1:
        return (x & y) | (x & z) | (y & z)
    return x ^ y ^ z


def md4(data: bytes) -> bytes:
    """The MD4 digest, 16 bytes."""
    padded = data + b"\x80" + bytes(-(len(data) + 9) % 64) + pack("<Q", len(data) * 8)
    state = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476)
    for start in range(0, len(padded), 64):
        words = unpack("<16I", padded[start : start + 64])
        a, b, c, d = state
        for index, (constant, order, shifts) in enumerate(_ROUNDS):
            for step, word in enumerate(order):
                total = (a + _mix(index, b, c, d) + words[word] + constant) & _MASK
                shift = shifts[step % 4]
                a, b, c, d = d, (total << shift | total >> (32 - shift)) & _MASK, b, c
        a0, b0, c0, d0 = state
        state = (a0 + a) & _MASK, (b0 + b) & _MASK, (c0 + c) & _MASK, (d0 + d) & _MASK
    return pack("<4I", *state)


def nt_hash(password: str) -> bytes:
    """NTOWFv1: what a server keeps of a password. Source: [MS-NLMP] 3.3.1 NTLM v1 Authentication."""
    return md4(password.encode("utf-16-le", "surrogatepass"))


class Rc4:
    """A key stream that goes on from call to call."""

    __slots__ = ("_i", "_j", "_s")

    def __init__(self, key: bytes) -> None:
        assert key, "RC4 needs a key"
        s = list(range(256))
        j = 0
        for i, byte in enumerate((key * (256 // len(key) + 1))[:256]):
            here = s[i]
            j = (j + here + byte) & 255
            s[i] = s[j]
            s[j] = here
        self._s, self._i, self._j = s, 0, 0

    def apply(self, data: bytes) -> bytes:
        s, i, j = self._s, self._i, self._j
        out = bytearray(len(data))
        for k, byte in enumerate(data):
            i = (i + 1) & 255
            j = (j + s[i]) & 255
            s[i], s[j] = s[j], s[i]
            out[k] = byte ^ s[(s[i] + s[j]) & 255]
        self._i, self._j = i, j
        return bytes(out)


def rc4(key: bytes, data: bytes) -> bytes:
    """RC4 of `data` with a fresh key stream."""
    return Rc4(key).apply(data)
