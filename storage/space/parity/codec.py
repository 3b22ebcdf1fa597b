"""P and Q of a stripe: Reed-Solomon with two parities over GF(2^8), 0x11d, generator 2, in numpy.

    P = D0 + D1 + ... + Dk-1                     + is XOR
    Q = D0 + g D1 + g^2 D2 + ... + g^(k-1) Dk-1  by Horner: Q = ((Dk-1 g + Dk-2) g + ...) g + D0

    missing            from
    data a             P                                   Da = P + the other data
    data a and P       Q                                   Da = (Q + what the others give) g^-a
    data a and b       P and Q                             Da = (Q' + g^b P') / (g^a + g^b);  Db = P' + Da
    P, Q               the data                            encoded again

Roles are numbers: 0..k-1 data, k is P, k+1 is Q. A block here is an array of u64 words, any number of them,
all blocks of a call as long as each other; the result is in new arrays. Multiplying by g eight bytes at a
time: the top bit of each byte, spread by an arithmetic shift, selects 0x1d; the rest is doubled. Sources: H.
P. Anvin, "The mathematics of RAID-6"; docs/design-spaces.md. No I/O, no state.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]

CHUNK_WORDS: Final = 16384
"""Worked on at a time: with its helpers it stays in the cache of a core."""
DATA_MAX: Final = 128
_POLY: Final = np.uint64(0x1D1D1D1D1D1D1D1D)
_SEVEN: Final = np.int8(7)


def _tables() -> tuple[list[int], list[int]]:
    exp, log = [0] * 510, [0] * 256
    x = 1
    for power in range(255):
        exp[power] = exp[power + 255] = x
        log[x] = power
        x = x << 1 ^ (0x11D if x & 0x80 else 0)
    return exp, log


_EXP, _LOG = _tables()


def multiply(a: int, b: int) -> int:
    return _EXP[_LOG[a] + _LOG[b]] if a and b else 0


def inverse(a: int) -> int:
    return _EXP[255 - _LOG[a]]


def power(exponent: int) -> int:
    """g to that power; it may be negative."""
    return _EXP[exponent % 255]


def words(block: bytes | bytearray | memoryview) -> Words:
    """The block's bytes, not copied."""
    return np.frombuffer(block, dtype=np.uint64)


def octets(block: Words) -> memoryview:
    """The block as bytes, not copied."""
    return block.view(np.uint8).data


def scaled(constant: int, block: Words) -> Words:
    """constant x block, byte by byte."""
    if constant == 1:
        return block.copy()
    if not constant:
        return np.zeros_like(block)
    table = bytes(multiply(constant, value) for value in range(256))
    return np.frombuffer(block.tobytes().translate(table), dtype=np.uint64).copy()


def _double(block: Words, scratch: Words) -> None:
    """block = g x block, in place."""
    tops = scratch[: block.size]
    np.right_shift(block.view(np.int8), _SEVEN, out=tops.view(np.int8))
    np.bitwise_and(tops, _POLY, out=tops)
    single = block.view(np.uint8)
    np.add(single, single, out=single)
    np.bitwise_xor(block, tops, out=block)


class Codec:
    """`data` data columns and one or two parity columns."""

    __slots__ = ("data", "parities")

    def __init__(self, data: int, parities: int) -> None:
        if not 1 <= data <= DATA_MAX or parities not in (1, 2):
            raise ValueError(f"no code with {data} data and {parities} parity columns")
        self.data = data
        self.parities = parities

    def encode(self, blocks: Sequence[Words]) -> list[Words]:
        """[P] or [P, Q] of all data blocks, in order."""
        assert len(blocks) == self.data
        return self.partial(dict(enumerate(blocks)))

    def partial(self, blocks: Mapping[int, Words]) -> list[Words]:
        """What these data blocks give to [P] or [P, Q]; the ones left out count as zeros. At least one."""
        size = next(iter(blocks.values())).size
        found = [np.empty(size, np.uint64) for _ in range(self.parities)]
        top = max(blocks)
        order = [(role, blocks.get(role)) for role in range(top, -1, -1)]
        scratch = np.empty(min(size, CHUNK_WORDS), np.uint64)
        for begin in range(0, size, CHUNK_WORDS):
            part = slice(begin, begin + CHUNK_WORDS)
            pieces = [None if block is None else block[part] for _, block in order]
            _xor_all(pieces, found[0][part])
            if self.parities == 2:
                _horner(pieces, found[1][part], scratch)
        return found

    def recover(self, present: Mapping[int, Words], missing: Collection[int]) -> dict[int, Words]:
        """The missing blocks, at most as many as there are parities. All other roles must be present, but for
        parities that aren't needed. Raises ValueError if that doesn't determine them."""
        lost = sorted(role for role in missing if role < self.data)
        if not lost:
            return self._parities({role: present[role] for role in range(self.data)}, missing)
        p = present.get(self.data) if self.data not in missing else None
        q = present.get(self.data + 1) if self.parities == 2 and self.data + 1 not in missing else None
        rest = {role: present[role] for role in range(self.data) if role not in lost}
        found: dict[int, Words] = {}
        if len(lost) == 1 and p is not None:
            found[lost[0]] = _plus(p, rest, Codec(self.data, 1), 0)
        elif len(lost) == 1 and q is not None:
            found[lost[0]] = scaled(power(-lost[0]), _plus(q, rest, self, 1))
        elif len(lost) == 2 and p is not None and q is not None:
            a, b = lost
            p_rest, q_rest = _plus(p, rest, self, 0), _plus(q, rest, self, 1)
            factor = inverse(power(a) ^ power(b))
            first = scaled(factor, q_rest)
            np.bitwise_xor(first, scaled(multiply(factor, power(b)), p_rest), out=first)
            found[a] = first
            found[b] = np.bitwise_xor(p_rest, first)
        else:
            raise ValueError(f"roles {lost} cannot be had from {sorted(present)}")
        wanted = [role for role in missing if role >= self.data]
        if wanted:
            found.update(self._parities({**rest, **found}, wanted))
        return found

    def _parities(self, blocks: Mapping[int, Words], wanted: Collection[int]) -> dict[int, Words]:
        every = self.partial(blocks)
        return {role: every[role - self.data] for role in wanted}


def _xor_all(pieces: Sequence[Words | None], into: Words) -> None:
    there = [piece for piece in pieces if piece is not None]
    if len(there) == 1:
        into[:] = there[0]
        return
    np.bitwise_xor(there[0], there[1], out=into)
    for piece in there[2:]:
        np.bitwise_xor(into, piece, out=into)


def _horner(pieces: Sequence[Words | None], into: Words, scratch: Words) -> None:
    """Highest power first; the first piece is there."""
    first = pieces[0]
    assert first is not None
    into[:] = first
    for piece in pieces[1:]:
        _double(into, scratch)
        if piece is not None:
            np.bitwise_xor(into, piece, out=into)


def _plus(parity: Words, rest: Mapping[int, Words], codec: Codec, which: int) -> Words:
    """The parity with the share of `rest` taken out."""
    if not rest:
        return parity.copy()
    share = codec.partial(rest)[which]
    np.bitwise_xor(share, parity, out=share)
    return share
