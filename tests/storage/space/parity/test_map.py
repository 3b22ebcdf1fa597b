"""The map of a parity space, and where its truth lies."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.space.checksums import ENTRY_BYTES
from storage.space.parity.map import TRUTH_PAGE_BYTES, ParityMap
from storage.units import BLOCK_BYTES


@st.composite
def maps(draw: st.DrawFn) -> ParityMap:
    parities = draw(st.integers(1, 2))
    columns = draw(st.integers(3, 8)) if parities == 1 else draw(st.sampled_from((4, 6, 8)))
    slab = draw(st.integers(14, 28))
    return ParityMap(columns, parities, 1 << draw(st.integers(12, min(slab, 20))), 1 << slab)


@settings(max_examples=200)
@given(maps(), st.integers(0, 1 << 50))
def test_unmap_is_the_inverse_of_map(stripes: ParityMap, offset: int) -> None:
    row, stripe, role, at, length = stripes.map(offset)
    assert stripes.unmap(row, role, at) == offset
    assert 0 <= role < stripes.data_columns and 0 <= at < stripes.slab_bytes
    assert stripe == at // stripes.interleave_bytes < stripes.row_stripes
    assert 0 < length and stripes.unmap(row, role, at + length - 1) == offset + length - 1


@settings(max_examples=100)
@given(maps(), st.integers(0, 1000))
def test_the_roles_of_a_stripe_lie_on_columns_of_their_own(stripes: ParityMap, stripe: int) -> None:
    columns = [stripes.column_of(stripe, role) for role in range(stripes.columns)]
    assert sorted(columns) == list(range(stripes.columns))
    assert [stripes.role_of(stripe, column) for column in columns] == list(range(stripes.columns))


@settings(max_examples=50)
@given(maps())
def test_each_column_has_each_role_equally_often(stripes: ParityMap) -> None:
    for role in range(stripes.columns):
        seen = [stripes.column_of(stripe, role) for stripe in range(stripes.columns)]
        assert sorted(seen) == list(range(stripes.columns))


def test_bytes_of_a_row_fill_each_slab_once() -> None:
    stripes = ParityMap(5, 2, 8192, 32768)
    seen = set()
    for offset in range(0, stripes.row_bytes, BLOCK_BYTES):
        place = stripes.map(offset)
        seen.add((stripes.column_of(place.stripe, place.role), place.slab_offset))
    assert len(seen) == stripes.row_bytes // BLOCK_BYTES


@settings(max_examples=100)
@given(maps(), st.integers(0, 1 << 16))
def test_the_entries_of_a_slice_share_a_sector(stripes: ParityMap, number: int) -> None:
    """They change together, whatever a power cut does; so nothing torn is seen between them."""
    size = stripes.group * ENTRY_BYTES
    at = number % stripes.page_slices * size
    assert stripes.columns <= stripes.group
    assert at // 512 == (at + size - 1) // 512 and at + size <= TRUTH_PAGE_BYTES


def test_the_truth_holds_an_entry_for_each_block_of_each_column() -> None:
    stripes = ParityMap(6, 2, 256 << 10, 256 << 20)
    size = 10 * stripes.row_bytes - 5 * BLOCK_BYTES
    last = stripes.page_of(9, stripes.slab_blocks - 1)
    assert stripes.truth_bytes(size) == (last + 1) * TRUTH_PAGE_BYTES
    assert stripes.page_of(1, 0) == stripes.row_pages


@pytest.mark.parametrize("columns,parities", [(2, 1), (9, 1), (3, 2), (4, 3), (4, 0)])
def test_columns_that_make_no_parity_space_are_refused(columns: int, parities: int) -> None:
    with pytest.raises(ValueError, match="no parity space"):
        ParityMap(columns, parities, 4096, 65536)


@pytest.mark.parametrize("interleave,slab", [(5000, 65536), (4096, 65000), (2048, 65536), (131072, 65536)])
def test_sizes_that_do_not_fit_are_refused(interleave: int, slab: int) -> None:
    with pytest.raises(ValueError, match=r"must be powers of two|does not fit"):
        ParityMap(4, 1, interleave, slab)
