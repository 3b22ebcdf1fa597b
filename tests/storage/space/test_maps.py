"""Pure parts of spaces: the stripe map, checksum pages, cutting at blocks."""

from __future__ import annotations

import random
from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.space import checksums
from storage.space.blocks import edges, verify_mixed
from storage.space.stripemap import PAGE_SPAN_BYTES, StripeMap
from storage.units import BLOCK_BYTES, SpaceOffset

maps = st.builds(
    lambda columns, slab, interleave: StripeMap(columns, 1 << min(slab, interleave), 1 << slab),
    st.integers(1, 8),
    st.integers(16, 28),
    st.integers(12, 20),
)


@settings(max_examples=200)
@given(maps, st.integers(0, 1 << 50))
def test_unmap_is_the_inverse_of_map(stripes: StripeMap, offset: int) -> None:
    row, column, at, length = stripes.map(SpaceOffset(offset))
    assert stripes.unmap(row, column, at) == offset
    assert 0 <= column < stripes.columns and 0 <= at < stripes.slab_bytes
    assert 0 < length <= stripes.unit_bytes and at + length <= stripes.slab_bytes
    assert stripes.unmap(row, column, at + length - 1) == offset + length - 1
    assert at // PAGE_SPAN_BYTES == (at + length - 1) // PAGE_SPAN_BYTES, "a run crosses a checksum page"


@settings(max_examples=100)
@given(maps, st.integers(0, 1 << 40), st.integers(1, 1 << 21))
def test_runs_cover_a_range_once_and_in_order(stripes: StripeMap, offset: int, length: int) -> None:
    position = offset
    for run in stripes.runs(SpaceOffset(offset), length):
        assert stripes.unmap(run.row, run.column, run.slab_offset) == position
        position += run.length
    assert position == offset + length


def test_every_byte_of_a_row_has_a_place_of_its_own() -> None:
    stripes = StripeMap(3, 4096, 65536)
    places = [stripes.map(SpaceOffset(block * 4096))[:3] for block in range(2 * 48)]
    assert len(set(places)) == 96
    assert {row for row, _, _ in places} == {0, 1} and {column for _, column, _ in places} == {0, 1, 2}


@pytest.mark.parametrize(
    ("columns", "interleave", "slab"), [(0, 4096, 65536), (1, 6000, 65536), (2, 131072, 65536)]
)
def test_geometry_that_makes_no_sense_is_refused(columns: int, interleave: int, slab: int) -> None:
    with pytest.raises(ValueError):
        StripeMap(columns, interleave, slab)


@settings(max_examples=200)
@given(st.integers(0, 1 << 40), st.integers(0, 1 << 16))
def test_edges_cut_only_at_partial_blocks(offset: int, length: int) -> None:
    position = 0
    parts = edges(offset, length)
    assert len(parts) <= 3
    for block, skip, begin, finish in parts:
        assert begin == position and block + skip == offset + begin and block % BLOCK_BYTES == 0
        whole = not skip and (finish - begin) % BLOCK_BYTES == 0
        assert whole or skip + finish - begin <= BLOCK_BYTES
        position = finish
    assert position == length


@settings(max_examples=40)
@given(st.integers(0, 500), st.integers(1, 12), st.integers(0, 1 << 30), st.integers(0, 1 << 30))
def test_a_stamped_range_verifies_and_any_flipped_bit_address_or_generation_does_not(
    index: int, count: int, seed: int, chance: int
) -> None:
    rng = random.Random(chance)
    page = checksums.new_page()
    view = memoryview(bytearray(rng.randbytes(count * BLOCK_BYTES)))
    assert not checksums.verify(page, seed, index, view), "blocks that were never written"
    for _ in range(rng.randrange(1, 4)):
        checksums.put(page, index, checksums.stamp(page, seed, index, view))
    assert checksums.verify(page, seed, index, view)
    assert not checksums.verify(page, seed + 1, index, view)
    position = rng.randrange(len(view))
    view[position] ^= 1 << rng.randrange(8)
    assert not checksums.verify(page, seed, index, view)
    assert not verify_mixed(page, seed, index, view)
    crc, generation = checksums.entry(page, index)
    view[:BLOCK_BYTES] = rng.randbytes(BLOCK_BYTES)
    crc = checksums.block_crc(view[:BLOCK_BYTES], seed, index, generation)
    for other in (generation + 1, generation + 1000):
        assert checksums.block_crc(view[:BLOCK_BYTES], seed, index, other) != crc
    assert checksums.block_crc(view[:BLOCK_BYTES], seed, index + 1, generation) != crc


def test_ranges_and_single_blocks_have_the_same_checksums() -> None:
    """The vectorised seeds of long ranges are those of the formula."""
    rng = random.Random(5)
    view = memoryview(rng.randbytes(40 * BLOCK_BYTES))
    generations = array("I", [rng.randrange(1, 1 << 32) for _ in range(40)])
    together = checksums.range_crcs(view, 0xFFFFFFF0, 17, generations)
    for i in range(40):
        block = view[i * BLOCK_BYTES : (i + 1) * BLOCK_BYTES]
        assert together[i] == checksums.block_crc(block, 0xFFFFFFF0, 17 + i, generations[i])


def test_blocks_never_written_become_zeros_among_written_ones() -> None:
    page = checksums.new_page()
    view = memoryview(bytearray(b"q" * 3 * BLOCK_BYTES))
    checksums.put(page, 1, checksums.stamp(page, 9, 1, view[BLOCK_BYTES : 2 * BLOCK_BYTES]))
    assert verify_mixed(page, 9, 0, view)
    assert view == bytes(BLOCK_BYTES) + b"q" * BLOCK_BYTES + bytes(BLOCK_BYTES)


def test_generations_wrap_past_zero_and_compare_as_serial_numbers() -> None:
    assert checksums.next_generation(0xFFFFFFFF) == 1
    assert checksums.is_newer(1, 0xFFFFFFFF) and not checksums.is_newer(0xFFFFFFFF, 1)
    assert checksums.is_newer(5, 4) and not checksums.is_newer(4, 4)
    assert checksums.is_newer(1, 0) and not checksums.is_newer(0, 1)
    page = checksums.new_page()
    view = memoryview(bytes(BLOCK_BYTES))
    checksums.put(page, 0, array("I", (0, 0xFFFFFFFF)))
    assert checksums.stamp(page, 1, 0, view)[1] == 1


def slow_crc32c(data: bytes, crc: int) -> int:
    """RFC 3720 B.4, bit by bit."""
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def test_the_checksum_formula_is_the_one_on_paper() -> None:
    """docs/formats/slab.md, with a crc32c of its own, so that old pools stay readable."""
    assert slow_crc32c(b"123456789", 0) == 0xE3069283
    space_seed = 0x12345678
    place = space_seed.to_bytes(4, "little") + (7).to_bytes(8, "little") + (2).to_bytes(4, "little")
    slab_seed = slow_crc32c(place, 0)
    assert checksums.slab_seed(space_seed, 7, 2) == slab_seed
    block = bytes(range(256)) * 16
    expected = slow_crc32c(block, (slab_seed + 511 + 3 * 0x9E3779B1) % (1 << 32))
    assert checksums.block_crc(block, slab_seed, 511, 3) == expected
