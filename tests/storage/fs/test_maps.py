"""The maps under the file system, each against a dumb model: runs of a stream, shared clusters, the
allocator."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import VolumeFull
from storage.fs import allocator as allocator_module
from storage.fs.allocator import FREE, PENDING, RESERVED, USED, Allocator, pack, unpack
from storage.fs.extents import DATA, HOLE, UNWRITTEN, ExtentMap, Run
from storage.fs.limits import GROUP_CLUSTERS
from storage.fs.shared import SharedClusters

CLUSTERS = 40

range_steps = st.lists(
    st.tuples(st.sampled_from(("put", "put", "remove")), st.integers(0, CLUSTERS - 1), st.integers(1, 9),
              st.integers(0, 30), st.sampled_from((DATA, UNWRITTEN))),
    max_size=25,
)  # fmt: skip


def as_model(runs: ExtentMap) -> dict[int, tuple[int, int]]:
    return {run.first + i: (run.space + i, run.state) for run in runs for i in range(run.length)}


@given(range_steps)
@settings(max_examples=300)
def test_runs_hold_what_a_dict_of_clusters_holds(steps):
    """put and remove give back exactly what lay there; neighbours that continue each other are one run;
    rows of untouched starts stay."""
    extents = ExtentMap()
    model: dict[int, tuple[int, int]] = {}
    rows: dict[int, Run] = {}
    for kind, first, length, space, state in steps:
        before = {i: model.pop(i) for i in range(first, first + length) if i in model}
        if kind == "put":
            gone = extents.put(first, length, space, state)
            model.update({first + i: (space + i, state) for i in range(length)})
        else:
            gone = extents.remove(first, first + length)
        assert {
            run.first + i: (run.space + i, run.state) for run in gone for i in range(run.length)
        } == before
        assert as_model(extents) == model
        assert extents.allocated == len(model)
        runs = list(extents)
        for left, right in zip(runs, runs[1:], strict=False):
            assert left.first + left.length <= right.first
        for start in extents.touched:
            run = extents.starting_at(start)
            if run is None:
                rows.pop(start, None)
            else:
                rows[start] = run
        extents.touched.clear()
        assert sorted(rows.values()) == runs
    pieces = extents.pieces(0, CLUSTERS + 10)
    assert [p.first for p in pieces[1:]] == [p.first + p.length for p in pieces[:-1]]
    assert sum(p.length for p in pieces) == CLUSTERS + 10
    for piece in pieces:
        for i in range(piece.length):
            expected = model.get(piece.first + i)
            assert (piece.state == HOLE) == (expected is None)
            assert expected is None or expected == (piece.space + i, piece.state)
    for cluster in range(CLUSTERS + 10):
        run = extents.find(cluster)
        assert (run is None) == (cluster not in model)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30), st.integers(1, 8)), max_size=30))
@settings(max_examples=300)
def test_shared_clusters_count_like_a_dict(steps):
    """A cluster is given back by the drop that takes its last reference, never before and never twice."""
    shared = SharedClusters()
    model = dict.fromkeys(range(40), 1)
    rows: dict[int, tuple[int, int, int]] = {}
    for is_add, first, count in steps:
        if is_add:
            shared.add(first, count)
            for i in range(first, first + count):
                model[i] += 1
        else:
            freed = {f + i for f, n in shared.drop(first, count) for i in range(n)}
            assert freed == {i for i in range(first, first + count) if model[i] == 1}
            for i in range(first, first + count):
                model[i] = max(model[i] - 1, 1)
        assert {f + i: r for f, n, r in shared.runs() for i in range(n)} == {
            i: r for i, r in model.items() if r > 1
        }
        for start in shared.touched:
            run = shared.starting_at(start)
            if run is None:
                rows.pop(start, None)
            else:
                rows[start] = run
        shared.touched.clear()
        assert sorted(rows.values()) == shared.runs()


def counts(states: dict[int, int], state: int) -> int:
    return sum(value == state for value in states.values())


@pytest.mark.parametrize("seed", range(20))
def test_the_allocator_agrees_with_a_dict_of_states(seed):
    """No cluster is given twice; a freed one only after its release; what is stored is what is used."""
    rng = random.Random(seed)
    size = rng.choice((50, GROUP_CLUSTERS + 37, 2 * GROUP_CLUSTERS))
    stored: dict[int, tuple[int, bytes | None]] = {}
    allocator = Allocator(size, (), lambda group: None)
    model = dict.fromkeys(range(size), FREE)
    owned: list[tuple[int, int]] = []
    pending: list[tuple[int, int]] = []

    def mark(first, count, old, new):
        for i in range(first, first + count):
            assert model[i] == old
            model[i] = new

    for _ in range(120):
        step = rng.random()
        if step < 0.45:
            want = rng.choice((1, 2, 5, rng.randrange(1, size)))
            hint = rng.randrange(-1, size + 1)
            if want > allocator.free():
                with pytest.raises(VolumeFull):
                    allocator.allocate(want, hint)
                continue
            runs = allocator.allocate(want, hint)
            assert sum(count for _, count in runs) == want
            for first, count in runs:
                mark(first, count, FREE, USED)
            owned += runs
        elif step < 0.6 and owned:
            first, count = owned.pop(rng.randrange(len(owned)))
            cut = rng.randrange(1, count + 1)
            allocator.free_later(first, cut)
            mark(first, cut, USED, PENDING)
            if cut < count:
                owned.append((first + cut, count - cut))
        elif step < 0.7:
            pending += allocator.take_freed()
        elif step < 0.8 and pending:
            first, count = pending.pop(rng.randrange(len(pending)))
            if allocator.state(first) == PENDING:
                low, length = allocator.widen(first, count)
                assert low <= first and low + length >= first + count
                for i in (low - 1, low + length):
                    assert not 0 <= i < size or model[i] != FREE
                for i in range(low, low + length):
                    assert model[i] == (PENDING if first <= i < first + count else FREE)
                    model[i] = FREE
                allocator.release(low, length)
        elif step < 0.9:
            first = rng.randrange(size)
            got = allocator.reserve(first, rng.randrange(1, 40))
            mark(first, got, FREE, RESERVED)
            if got and rng.random() < 0.5:
                allocator.unreserve(first, got)
                mark(first, got, RESERVED, FREE)
            elif got:
                allocator.use_reserved(first, got)
                mark(first, got, RESERVED, USED)
                owned.append((first, got))
        else:
            for group, used, bitmap in allocator.take_dirty():
                stored[group] = (used, bitmap)
        assert allocator.used == counts(model, USED)
        assert allocator.pending == counts(model, PENDING)
        assert allocator.free() == counts(model, FREE)
    same_after_loading(allocator, stored, model)


def same_after_loading(allocator, stored, model):
    """What was stored says of each cluster whether it is used."""
    for group, used, bitmap in allocator.take_dirty():
        stored[group] = (used, bitmap)
    again = Allocator(
        len(model), [(group, used) for group, (used, _) in stored.items()], lambda group: stored[group][1]
    )
    for i, state in model.items():
        assert (again.state(i) == USED) == (state == USED)
    assert again.used == allocator.used


def test_a_run_that_fits_nowhere_whole_is_given_in_pieces():
    """Free clusters are had to the last one, however they lie."""
    allocator = Allocator(64, (), lambda group: None)
    allocator.allocate(64)
    for i in range(0, 64, 2):
        allocator.free_later(i, 1)
    for first, count in allocator.take_freed():
        allocator.release(first, count)
    runs = allocator.allocate(32)
    assert sorted(runs) == [(i, 1) for i in range(0, 64, 2)]
    with pytest.raises(VolumeFull):
        allocator.allocate(1)


def test_bitmaps_keep_used_clusters_alone():
    """What is pending or kept back is free after a crash."""
    states = bytearray(GROUP_CLUSTERS)
    states[1], states[9], states[17] = USED, PENDING, RESERVED
    assert [i for i, state in enumerate(unpack(pack(states))) if state] == [1]
    assert allocator_module.GROUP_CLUSTERS % 8 == 0
