"""P and Q against GF(2^8) done by hand, one byte at a time; every one or two erasures."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.space.parity import codec
from storage.space.parity.codec import Codec, words

shapes = st.tuples(st.integers(1, 7), st.integers(1, 2))


def dumb_multiply(a: int, b: int) -> int:
    """Shift and add, modulo x^8 + x^4 + x^3 + x^2 + 1."""
    total = 0
    while b:
        if b & 1:
            total ^= a
        a <<= 1
        if a & 0x100:
            a ^= 0x11D
        b >>= 1
    return total


def dumb_parities(blocks: list[bytes]) -> list[bytes]:
    p, q = bytearray(len(blocks[0])), bytearray(len(blocks[0]))
    factor = 1
    for block in blocks:
        for at, value in enumerate(block):
            p[at] ^= value
            q[at] ^= dumb_multiply(factor, value)
        factor = dumb_multiply(factor, 2)
    return [bytes(p), bytes(q)]


@st.composite
def stripes(draw: st.DrawFn) -> tuple[Codec, list[bytes]]:
    data, parities = draw(shapes)
    size = 8 * draw(st.integers(1, 5))
    return Codec(data, parities), [draw(st.binary(min_size=size, max_size=size)) for _ in range(data)]


def every_role(code: Codec, blocks: list[bytes]) -> dict[int, bytes]:
    return dict(enumerate(blocks + dumb_parities(blocks)[: code.parities]))


def test_the_tables_multiply_as_the_polynomial_says() -> None:
    for a in range(256):
        for b in range(0, 256, 7):
            assert codec.multiply(a, b) == dumb_multiply(a, b)
        if a:
            assert dumb_multiply(a, codec.inverse(a)) == 1


@settings(max_examples=80)
@given(stripes())
def test_encoding_is_what_the_field_says(stripe: tuple[Codec, list[bytes]]) -> None:
    code, blocks = stripe
    found = code.encode([words(block) for block in blocks])
    assert [bytes(one.tobytes()) for one in found] == dumb_parities(blocks)[: code.parities]


@settings(max_examples=60)
@given(stripes())
def test_every_loss_of_as_many_blocks_as_there_are_parities_is_recovered(
    stripe: tuple[Codec, list[bytes]],
) -> None:
    code, blocks = stripe
    every = every_role(code, blocks)
    for count in range(1, code.parities + 1):
        for missing in itertools.combinations(every, count):
            present = {role: words(block) for role, block in every.items() if role not in missing}
            found = code.recover(present, missing)
            assert {role: block.tobytes() for role, block in found.items()} == {
                role: every[role] for role in missing
            }


@settings(max_examples=60)
@given(stripes(), st.data())
def test_parity_changed_by_deltas_is_the_parity_of_the_new_data(
    stripe: tuple[Codec, list[bytes]], data: st.DataObject
) -> None:
    code, blocks = stripe
    changed = data.draw(st.sets(st.integers(0, code.data - 1), min_size=1))
    new = [
        data.draw(st.binary(min_size=len(b), max_size=len(b))) if i in changed else b
        for i, b in enumerate(blocks)
    ]
    deltas = {i: words(blocks[i]) ^ words(new[i]) for i in changed}
    shares = code.partial(deltas)
    for parity, share, wanted in zip(dumb_parities(blocks), shares, dumb_parities(new), strict=False):
        assert (words(parity) ^ share).tobytes() == wanted


def test_blocks_longer_than_a_chunk_are_encoded_and_recovered_whole() -> None:
    code = Codec(6, 2)
    rng = np.random.default_rng(1)
    size = codec.CHUNK_WORDS + 512
    blocks = [rng.integers(0, 1 << 63, size, dtype=np.uint64) for _ in range(6)]
    p, q = code.encode(blocks)
    wanted = dumb_parities([block[-8:].tobytes() for block in blocks])
    assert [p[-8:].tobytes(), q[-8:].tobytes()] == wanted
    every = dict(enumerate([*blocks, p, q]))
    found = code.recover({role: every[role] for role in every if role not in (1, 4)}, (1, 4))
    assert (found[1] == blocks[1]).all() and (found[4] == blocks[4]).all()


def test_more_missing_than_parities_is_refused() -> None:
    blocks = {0: words(bytes(8)), 3: words(bytes(8))}
    with pytest.raises(ValueError, match="cannot be had"):
        Codec(3, 1).recover(blocks, (1, 2))
    with pytest.raises(ValueError, match="no code"):
        Codec(0, 1)
    with pytest.raises(ValueError, match="no code"):
        Codec(4, 3)
