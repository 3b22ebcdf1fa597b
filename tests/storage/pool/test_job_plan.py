"""Which slab is repaired how, and which ones move to fill disks evenly."""

from hypothesis import given, settings
from hypothesis import strategies as st

from storage.pool.jobs.plan import Action, Held, Load, imbalance, next_step, plan_moves, steps_left
from storage.pool.jobs.port import Key
from storage.pool.metadata import CopyRecord

A, B, C = CopyRecord(0, 5), CopyRecord(1, 6), CopyRecord(2, 7)


def stale(copy: CopyRecord) -> CopyRecord:
    return copy._replace(stale=True)


def joining(copy: CopyRecord) -> CopyRecord:
    return copy._replace(stale=True, joining=True)


def test_a_whole_column_needs_nothing():
    assert next_step([A, B], {0, 1}, set()) is None


def test_a_stale_copy_on_a_disk_that_is_there_is_refilled_in_place():
    step = next_step([A, stale(B)], {0, 1}, set())
    assert step is not None
    assert (step.action, step.copy) == (Action.REFILL, stale(B))


def test_a_copy_on_a_disk_that_is_away_waits_for_it():
    assert next_step([A, stale(B)], {0}, set()) is None
    assert next_step([A, B], {0}, set()) is None


def test_a_copy_on_a_retired_disk_is_replaced_there_or_not():
    for there in ({0, 1}, {0}):
        step = next_step([A, B], there, {1})
        assert step is not None
        assert (step.action, step.copy, step.onto) == (Action.REPLACE, B, None)


def test_a_copy_that_is_gone_is_replaced_before_one_that_is_there():
    step = next_step([A, B, C], {0, 2}, {1, 2})
    assert step is not None
    assert step.copy == B


def test_a_joining_copy_goes_on_where_it_was_begun():
    step = next_step([A, B, joining(C)], {0, 1, 2}, {1})
    assert step is not None
    assert (step.action, step.copy, step.onto) == (Action.REPLACE, B, joining(C))


def test_a_joining_copy_that_nobody_needs_is_dropped():
    step = next_step([A, B, joining(C)], {0, 1, 2}, set())
    assert step is not None
    assert (step.action, step.copy) == (Action.DROP, joining(C))


def test_a_joining_copy_on_a_disk_that_left_is_dropped():
    step = next_step([A, B, joining(C)], {0, 1}, {1})
    assert step is not None
    assert step.action is Action.DROP


def test_steps_left_counts_slabs_to_write():
    assert steps_left([stale(A), B, C], {0, 1, 2}, {2}) == 2
    assert steps_left([A, B], {0}, set()) == 0


# -- balance -----------------------------------------------------------------------------------------------


def pool_of(used: list[int], count: int) -> tuple[dict[int, Load], list[Held]]:
    loads = {number: Load(one, count) for number, one in enumerate(used)}
    held = [
        Held(Key(1, 1000 * number + slab, 0), CopyRecord(number, slab), frozenset({number}))
        for number, one in enumerate(used)
        for slab in range(one)
    ]
    return loads, held


def test_an_even_pool_stays_as_it_is():
    loads, held = pool_of([50, 52, 49], 100)
    assert imbalance(loads) <= 1
    assert plan_moves(loads, held, lambda one, onto: True) == []


def test_an_empty_disk_takes_its_share_and_no_more():
    loads, held = pool_of([40, 40, 40, 0], 100)
    moves = plan_moves(loads, held, lambda one, onto: True)
    assert len(moves) == 30
    assert {move.onto for move in moves} == {3}


def test_disks_are_filled_in_proportion_to_their_size():
    loads = {0: Load(90, 100), 1: Load(0, 200)}
    _, held = pool_of([90], 100)
    moves = plan_moves(loads, held, lambda one, onto: True)
    assert len(moves) == 60


def test_nothing_moves_beside_its_other_copy():
    loads = {0: Load(50, 100), 1: Load(50, 100), 2: Load(0, 100)}
    held = []
    for slab in range(50):
        beside = frozenset({0, 1, 2}) if slab < 45 else frozenset({0, 1})
        held.append(Held(Key(1, slab, 0), CopyRecord(0, slab), beside))
    moves = plan_moves(loads, held, lambda one, onto: True)
    assert sorted(move.copy.slab for move in moves) == [45, 46, 47, 48, 49]


def test_rules_of_allocation_are_asked():
    loads, held = pool_of([40, 0], 100)
    assert plan_moves(loads, held, lambda one, onto: False) == []


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(5, 80), st.floats(0, 1)), min_size=2, max_size=7))
def test_moves_even_out_and_move_each_slab_once(disks):
    """Least moves: nobody gives and takes; afterwards no disk could give one to another and be the better for
    it."""
    loads = {n: Load(int(count * share), count) for n, (count, share) in enumerate(disks)}
    held = [
        Held(Key(n, slab, 0), CopyRecord(n, slab), frozenset({n}))
        for n, load in loads.items()
        for slab in range(load.used)
    ]
    moves = plan_moves(loads, held, lambda one, onto: True)
    assert len({move.key for move in moves}) == len(moves)
    assert not {move.copy.disk for move in moves} & {move.onto for move in moves}
    used = {n: load.used for n, load in loads.items()}
    for move in moves:
        used[move.copy.disk] -= 1
        used[move.onto] += 1
    assert all(0 <= used[n] <= loads[n].count for n in loads)
    if moves:
        after = {n: Load(used[n], loads[n].count) for n in loads}
        assert imbalance(after) <= 1
