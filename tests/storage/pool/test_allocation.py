"""Which slabs a row gets: never twice, never two of a set in one fault domain, and to the last row that
fits."""

from __future__ import annotations

import random
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import PoolFull
from storage.pool import allocation
from storage.pool.allocation import FreeSlabs, domain_of
from storage.pool.metadata import Awareness, CopyRecord, DiskRecord, DiskState


def alone(disks: dict[int, FreeSlabs]) -> dict[int, str]:
    return {number: str(number) for number in disks}


@settings(max_examples=40)
@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=8),
    st.integers(1, 3),
    st.integers(1, 3),
    st.randoms(use_true_random=False),
)
def test_no_slab_is_leaked_or_allotted_twice_and_copies_never_share_a_disk(
    sizes: list[int], columns: int, copies: int, rng: random.Random
) -> None:
    disks = {number: FreeSlabs(size, []) for number, size in enumerate(sizes)}
    rows: dict[int, list[list[CopyRecord]]] = {}
    taken: set[tuple[int, int]] = set()
    for step in range(80):
        if rows and rng.random() < 0.3:
            for copy in (copy for ones in rows.pop(rng.choice(sorted(rows))) for copy in ones):
                disks[copy.disk].give(copy.slab)
                taken.remove((copy.disk, copy.slab))
            continue
        before = {number: one.free for number, one in disks.items()}
        try:
            chosen = allocation.choose_row(disks, alone(disks), columns, copies, step)
        except PoolFull:
            assert before == {number: one.free for number, one in disks.items()}
            continue
        rows[step] = chosen
        assert [len(ones) for ones in chosen] == [copies] * columns
        for ones in chosen:
            assert len({copy.disk for copy in ones}) == copies
            for copy in ones:
                assert (copy.disk, copy.slab) not in taken and copy.slab < sizes[copy.disk]
                taken.add((copy.disk, copy.slab))
        for number, one in disks.items():
            assert one.free == sizes[number] - sum(1 for disk, _ in taken if disk == number)


def fill(disks: dict[int, FreeSlabs], domains: dict[int, str], sets: int, apart: int, preferred=()) -> int:
    rows = 0
    try:
        while True:
            allocation.choose_row(disks, domains, sets, apart, rows, preferred)
            rows += 1
    except PoolFull:
        return rows


@settings(max_examples=100)
@given(st.lists(st.integers(0, 25), min_size=2, max_size=7))
def test_uneven_disks_are_filled_to_the_last_possible_mirror(sizes: list[int]) -> None:
    disks = {number: FreeSlabs(size, []) for number, size in enumerate(sizes)}
    expected = allocation.rows_available(disks, alone(disks), 1, 2)
    assert fill(disks, alone(disks), 1, 2) == min(sum(sizes) // 2, sum(sizes) - max(sizes)) == expected


@cache
def most_sets(free: tuple[int, ...], apart: int) -> int:
    """The dumb model: try every choice."""
    free = tuple(sorted((one for one in free if one), reverse=True))
    if len(free) < apart:
        return 0

    def subsets(at: int, left: int) -> list[tuple[int, ...]]:
        if not left:
            return [()]
        return [(i, *rest) for i in range(at, len(free)) for rest in subsets(i + 1, left - 1)]

    return 1 + max(
        most_sets(tuple(sorted(one - (i in chosen) for i, one in enumerate(free))), apart)
        for chosen in subsets(0, apart)
    )


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=5), st.integers(1, 4), st.integers(1, 3))
def test_no_choice_of_slabs_would_give_more_rows(sizes: list[int], apart: int, sets: int) -> None:
    """Of any resiliency: `apart` 1 simple, 2 and 3 mirrors, 3 and more parity (one set a row)."""
    disks = {number: FreeSlabs(size, []) for number, size in enumerate(sizes)}
    best = most_sets(tuple(sorted(sizes)), apart) // sets
    assert allocation.rows_available(disks, alone(disks), sets, apart) == best
    assert fill(disks, alone(disks), sets, apart) == best


@settings(max_examples=80)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.sampled_from("abcd")), min_size=1, max_size=8),
    st.integers(1, 3),
    st.integers(1, 3),
)
def test_domains_of_several_disks_are_filled_to_the_last_row_that_fits(
    some: list[tuple[int, str]], sets: int, apart: int
) -> None:
    disks = {number: FreeSlabs(size, []) for number, (size, _) in enumerate(some)}
    domains = {number: domain for number, (_, domain) in enumerate(some)}
    expected = allocation.rows_available(disks, domains, sets, apart)
    rows = 0
    try:
        while True:
            for ones in allocation.choose_row(disks, domains, sets, apart, rows):
                assert len({domains[copy.disk] for copy in ones}) == apart
            rows += 1
    except PoolFull:
        assert rows == expected


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=1, max_size=8),
    st.integers(1, 3),
    st.integers(1, 2),
)
def test_with_preferred_disks_at_least_the_rows_promised_fit(
    some: list[tuple[int, bool]], apart: int, sets: int
) -> None:
    disks = {number: FreeSlabs(size, []) for number, (size, _) in enumerate(some)}
    preferred = [number for number, (_, is_preferred) in enumerate(some) if is_preferred]
    promised = allocation.rows_available(disks, alone(disks), sets, apart, preferred)
    assert fill(disks, alone(disks), sets, apart, preferred) >= promised


def test_preferred_disks_are_used_up_first() -> None:
    disks = {n: FreeSlabs(4, []) for n in range(4)}
    for row in range(4):
        ones = allocation.choose_row(disks, alone(disks), 1, 2, row, [1, 3])[0]
        assert {copy.disk for copy in ones} == {1, 3}
    ones = allocation.choose_row(disks, alone(disks), 1, 2, 9, [1, 3])[0]
    assert {copy.disk for copy in ones} == {0, 2}


def test_uneven_disks_fill_in_proportion_to_their_size() -> None:
    sizes = {0: 100, 1: 100, 2: 200, 3: 200, 4: 300}
    disks = {number: FreeSlabs(size, []) for number, size in sizes.items()}
    for row in range(225):
        allocation.choose_row(disks, alone(disks), 1, 2, row)
    for number, one in disks.items():
        assert abs((one.count - one.free) / sizes[number] - 0.5) < 0.02, number


def test_copies_respect_fault_domains_above_the_disk() -> None:
    disks = {n: FreeSlabs(10, []) for n in range(6)}
    domains = {n: "rack A" if n < 3 else "rack B" for n in range(6)}
    for row in range(20):
        (copies,) = allocation.choose_row(disks, domains, 1, 2, row)
        assert {copy.disk < 3 for copy in copies} == {True, False}


def test_columns_of_a_row_lie_on_disks_of_their_own_while_there_are_enough() -> None:
    disks = {n: FreeSlabs(10, []) for n in range(6)}
    for row in range(10):
        chosen = allocation.choose_row(disks, alone(disks), 3, 2, row)
        assert len({copy.disk for ones in chosen for copy in ones}) == 6


def test_one_more_slab_avoids_the_domains_of_the_row() -> None:
    disks = {n: FreeSlabs(2, []) for n in range(4)}
    domains = {0: "a", 1: "a", 2: "b", 3: "c"}
    assert allocation.choose_one(disks, domains, {"a", "b"}, 0).disk == 3
    assert allocation.choose_one(disks, domains, {"a", "b"}, 0).disk == 3
    with pytest.raises(PoolFull, match="outside of the 2"):
        allocation.choose_one(disks, domains, {"a", "b"}, 0)


def test_fault_domains_by_level() -> None:
    def disk(number: int, path: str) -> DiskRecord:
        return DiskRecord(number, bytes(16), 1 << 30, 10, DiskState.OK, f"d{number}", path)

    one, other, elsewhere = disk(1, "r1/c1/n1"), disk(2, "r1/c1/n2"), disk(3, "r1/c2/n1")
    apart = {level: domain_of(one, level) != domain_of(other, level) for level in Awareness}
    assert apart == {
        Awareness.DISK: True,
        Awareness.NODE: True,
        Awareness.CHASSIS: False,
        Awareness.RACK: False,
    }
    assert domain_of(one, Awareness.NODE) != domain_of(elsewhere, Awareness.NODE)
    assert domain_of(one, Awareness.CHASSIS) != domain_of(elsewhere, Awareness.CHASSIS)
    assert domain_of(disk(4, ""), Awareness.NODE) == domain_of(disk(5, ""), Awareness.NODE)
    assert domain_of(disk(4, ""), Awareness.DISK) != domain_of(disk(5, ""), Awareness.DISK)
