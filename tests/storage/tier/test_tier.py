"""The parts of tiering that are pure: the composed space, heat, the plan."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import CatalogCorrupt
from storage.tier import heat as heat_module
from storage.tier.heat import KEY_SHIFT, RANGE_BYTES, Heat, pack
from storage.tier.plan import Policy, RangeUse, place_new, plan_moves
from storage.tier.space import GRANULE_BYTES, Segment, Tier, TieredSpace, cut_buffers
from tests.sim.runtime import InlineRuntime
from tests.suites.memoryspace import MemorySpace

MIB = 1 << 20
UNIT = GRANULE_BYTES

# the space ------------------------------------------------------------------------------------------


@given(st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_a_tiered_space_reads_what_was_written_across_its_segments(seed):
    """storage/space/port.py: any byte range may be read or written, now, awaiting or blocking."""
    rng = random.Random(seed)
    runtime = InlineRuntime(rng=rng)

    async def body():
        parts = {Tier.SLOW: MemorySpace(4 * UNIT, runtime), Tier.FAST: MemorySpace(3 * UNIT, runtime)}
        if seed % 2:
            parts[Tier.FAST].slow(rng)
        segments = [Segment(Tier.FAST, 0, UNIT), Segment(Tier.SLOW, 0, 2 * UNIT),
                    Segment(Tier.FAST, UNIT, 2 * UNIT), Segment(Tier.SLOW, 2 * UNIT, 2 * UNIT)]  # fmt: skip
        space = TieredSpace(parts, segments)
        model = bytearray(space.size_bytes)
        for _ in range(25):
            at, length = rng.randrange(len(model)), rng.choice((1, 4096, UNIT, 3 * UNIT))
            length = min(length, len(model) - at)
            data = rng.randbytes(length)
            cut = rng.randrange(length + 1)
            buffers = [memoryview(data)[:cut], data[cut:]]
            if not space.write_now(at, buffers):
                await space.write(at, buffers)
            model[at : at + length] = data
            at, length = rng.randrange(len(model)), rng.choice((1, 5000, 2 * UNIT))
            length = min(length, len(model) - at)
            into = memoryview(bytearray(length))
            if not space.read_now(at, into):
                await space.read(at, into)
            assert into == model[at : at + length]
            space.read_blocking(at, into)
            assert into == model[at : at + length]
        await space.flush()
        assert [part.flushes for part in parts.values()] == [1, 1]

    runtime.run(body())


def test_a_tiered_space_trims_and_counts_in_its_parts():
    """storage/tier/space.py: a range is cut at the borders of segments."""
    runtime = InlineRuntime()

    async def body():
        fast, slow = MemorySpace(2 * UNIT, runtime), MemorySpace(4 * UNIT, runtime)
        space = TieredSpace({Tier.FAST: fast, Tier.SLOW: slow})
        assert space.segments == (Segment(Tier.FAST, 0, 2 * UNIT), Segment(Tier.SLOW, 0, 4 * UNIT))
        await space.trim(UNIT, 3 * UNIT)
        assert fast.trimmed == [(UNIT, UNIT)] and slow.trimmed == [(0, 2 * UNIT)]
        assert space.usage().size_bytes == 6 * UNIT

    runtime.run(body())


def test_growth_appends_and_never_moves_what_is_there():
    """docs/design-spaces.md: the volume's clusters are split in segments; growth appends one."""
    fast, slow = MemorySpace(2 * UNIT), MemorySpace(4 * UNIT)
    old = TieredSpace({Tier.FAST: fast, Tier.SLOW: slow})
    bigger = TieredSpace({Tier.FAST: MemorySpace(5 * UNIT), Tier.SLOW: MemorySpace(6 * UNIT)}, old.segments)
    assert bigger.segments == old.segments
    assert bigger.grown(old.segments) == (
        Segment(Tier.FAST, 0, 2 * UNIT), Segment(Tier.SLOW, 0, 4 * UNIT),
        Segment(Tier.FAST, 2 * UNIT, 3 * UNIT), Segment(Tier.SLOW, 4 * UNIT, 2 * UNIT),
    )  # fmt: skip
    longer = TieredSpace({Tier.FAST: fast, Tier.SLOW: MemorySpace(6 * UNIT)}, old.segments)
    assert longer.grown(old.segments)[-1] == Segment(Tier.SLOW, 0, 6 * UNIT)


@pytest.mark.parametrize("segments", [
    [Segment(Tier.FAST, 0, 3 * UNIT)],
    [Segment(Tier.FAST, 0, UNIT), Segment(Tier.SLOW, 0, UNIT)],
    [Segment(Tier.FAST, 0, 100)],
    [Segment(Tier.FAST, -UNIT, UNIT)],
])  # fmt: skip
def test_segments_that_are_not_there_are_refused(segments):
    """storage/tier/space.py, arrange: CatalogCorrupt if the parts do not have them."""
    space = TieredSpace({Tier.FAST: MemorySpace(2 * UNIT)})
    with pytest.raises(CatalogCorrupt):
        space.arrange(segments)


@given(st.lists(st.binary(max_size=6), max_size=5), st.integers(0, 30), st.integers(0, 30))
@settings(max_examples=60)
def test_cut_buffers_is_a_slice(buffers, low, high):
    """The bytes [low, high) of what the buffers hold together."""
    assert b"".join(bytes(part) for part in cut_buffers(buffers, low, high)) == b"".join(buffers)[low:high]


# heat -----------------------------------------------------------------------------------------------

touches = st.lists(
    st.tuples(st.floats(0, 5000), st.integers(1, 5), st.integers(0, 3 * MIB), st.integers(1, 2 * MIB)),
    max_size=20,
)


@given(touches)
@settings(max_examples=60)
def test_heat_is_the_sum_of_what_was_used_halved_each_half_life(steps):
    """storage/tier/heat.py: what was counted halves each half-life."""
    heat, now, model = Heat(0.0), 0.0, {}
    for wait, stream, offset, length in steps:
        now += wait
        heat.touch_range(stream, offset, length)
        heat.fold(now)
        model = {key: value * 0.5 ** (wait / 3600) for key, value in model.items()}
        for at in range(offset // MIB, (offset + length - 1) // MIB + 1):
            part = min(offset + length, (at + 1) * MIB) - max(offset, at * MIB)
            model[stream, at] = model.get((stream, at), 0) + part
    for (stream, at), value in model.items():
        assert heat.of(stream, at, now) == pytest.approx(value, rel=1e-6)
    again = Heat(50.0)
    again.load(pack(heat.snapshot(now), 1000), age_s=3600)
    for (stream, at), value in model.items():
        expected = value / 2 if value >= 1 else 0
        assert again.of(stream, at, 50.0) == pytest.approx(expected, rel=1e-6)


def test_another_half_life_counts_from_now_on():
    """storage/tier/heat.py, set_half_life."""
    heat = Heat(0.0)
    heat.touch_range(1, 0, 8000)
    heat.fold(0.0)
    heat.set_half_life(3600.0, 60.0)
    assert heat.of(1, 0, 3600.0) == pytest.approx(4000)
    assert heat.of(1, 0, 3720.0) == pytest.approx(1000)


def test_heat_survives_a_month_of_idleness_without_overflow():
    """storage/tier/heat.py: `_origin` moves before the numbers grow too large."""
    heat = Heat(0.0)
    heat.touch_range(1, 0, 1000)
    heat.fold(0.0)
    for day in range(1, 60):
        heat.touch_range(2, 0, 1000)
        heat.fold(day * 86400.0)
    assert heat.of(1, 0, 59 * 86400.0) == 0
    assert heat.of(2, 0, 59 * 86400.0) == pytest.approx(1000, rel=1e-3)
    assert [found.stream for found in heat.ranges(59 * 86400.0)] == [2]


def test_heat_is_bounded_and_forgets_the_coldest_first(monkeypatch):
    """storage/tier/heat.py: RECENT_MAX keys since the last fold, RANGES_MAX in all."""
    monkeypatch.setattr(heat_module, "RECENT_MAX", 10)
    heat = Heat(0.0, ranges_max=100)
    for stream in range(1, 1000):
        heat.touch_range(stream, 0, stream)
        assert len(heat.recent) <= 11 and len(heat) <= 111
    heat.fold(0.0)
    assert len(heat) <= 100 and heat.of(999, 0, 0.0) == 999 and heat.of(1, 0, 0.0) == 0
    heat.forget([999])
    assert heat.of(999, 0, 0.0) == 0 and heat.of(998, 0, 0.0) == 998


def test_many_equally_hot_ranges_are_bounded_too():
    """The limit holds when no range is colder than another."""
    heat = Heat(0.0, ranges_max=40)
    heat.touch_range(1, 0, 41 * RANGE_BYTES)
    heat.fold(0.0)
    assert len(heat) == 30


@pytest.mark.parametrize("piece", [b"x", b"\0" * 23, b"\xff" * 24, b"\0" * 16 + b"\0\0\0\0\0\0\xf0\x7f"])
def test_saved_heat_that_makes_no_sense_is_refused(piece):
    """storage/tier/heat.py, load: CatalogCorrupt."""
    with pytest.raises(CatalogCorrupt):
        Heat(0.0).load([piece], 0.0)


def test_only_the_hottest_are_saved():
    """storage/tier/heat.py, pack: the hottest ranges, in pieces."""
    heat = Heat(0.0)
    for stream in range(1, 2001):
        heat.touch(stream << KEY_SHIFT, 10 * stream)
    pieces = pack(heat.snapshot(0.0), 1500)
    assert len(pieces) == 3
    again = Heat(0.0)
    again.load(pieces, 0.0)
    assert len(again) == 1500 and again.of(500, 0, 0.0) == 0 and again.of(501, 0, 0.0) == 5010


# the plan -------------------------------------------------------------------------------------------

uses = st.lists(
    st.builds(
        RangeUse, st.integers(1, 40), st.integers(0, 3), st.floats(0, 8 * MIB),
        st.sampled_from((0, 0, MIB // 2, MIB)), st.sampled_from((0, 0, MIB // 2, MIB)),
        st.sampled_from((None, None, None, Tier.FAST, Tier.SLOW)),
    ),
    max_size=40, unique_by=lambda item: (item.stream, item.number),
)  # fmt: skip


@given(uses, st.integers(1, 40), st.integers(0, 60 * MIB))
@settings(max_examples=150)
def test_a_plan_keeps_its_promises(ranges, capacity_mib, budget):
    """storage/tier/plan.py: never over the budget or the target, nothing moved twice, pins obeyed, no hot
    range goes down for a colder one."""
    policy = Policy()
    capacity = capacity_mib * MIB
    taken = sum(item.fast_bytes for item in ranges)
    moves = plan_moves(ranges, capacity, taken, budget, policy)
    by_key = {(item.stream, item.number): item for item in ranges}
    assert len({move[:2] for move in moves}) == len(moves)
    assert sum(move.length for move in moves) <= budget
    level, risen = taken, []
    for move in moves:
        item = by_key[move.stream, move.number]
        assert move.length == (item.slow_bytes if move.tier is Tier.FAST else item.fast_bytes) > 0
        assert item.pin in (None, move.tier)
        if move.tier is Tier.SLOW:
            level -= move.length
            continue
        level += move.length
        risen.append(item)
        assert level <= capacity * (policy.target if item.pin is None else 1.0)
        assert item.pin is Tier.FAST or item.density >= policy.promote
    gone = [by_key[move[:2]] for move in moves if move.tier is Tier.SLOW]
    if taken <= capacity * policy.high and all(item.pin is None for item in [*risen, *gone]):
        for item in gone:
            assert item.density < policy.demote or any(
                up.density > item.density * policy.hysteresis for up in risen
            )


def test_a_hot_range_displaces_a_cold_one_but_not_one_nearly_as_hot():
    """storage/tier/plan.py, 3: only if these are colder by a factor of `hysteresis`."""
    def moved(density):
        ranges = [RangeUse(1, 0, density * MIB, MIB, 0), RangeUse(2, 0, 10 * MIB, 0, MIB)]
        return [(move.stream, move.tier) for move in plan_moves(ranges, 4 * MIB, 3 * MIB, 10 * MIB)]

    assert moved(7) == []
    assert moved(6) == [(1, Tier.SLOW), (2, Tier.FAST)]


def test_what_cooled_goes_back_while_the_fast_tier_is_over_half_full():
    """storage/tier/plan.py, 4."""
    cold = [RangeUse(number, 0, 0.0, MIB, 0) for number in range(1, 8)]
    assert len(plan_moves(cold, 10 * MIB, 7 * MIB, 100 * MIB)) == 2
    assert plan_moves(cold[:5], 10 * MIB, 5 * MIB, 100 * MIB) == []


def test_new_data_goes_to_the_fast_tier_above_its_reserve_and_bulk_to_the_slow_one():
    """docs/design-spaces.md, Tiers: reserve 15 %; > 4 MiB at once to the slow one when over half full."""
    policy = Policy()
    assert place_new(16, 100, 65536, False, policy) is Tier.FAST
    assert place_new(15, 100, 65536, False, policy) is Tier.SLOW
    assert place_new(50, 100, 5 * MIB, False, policy) is Tier.FAST
    assert place_new(49, 100, 5 * MIB, False, policy) is Tier.SLOW
    assert place_new(49, 100, 4 * MIB, False, policy) is Tier.FAST
    assert place_new(99, 100, 65536, True, policy) is Tier.SLOW


@pytest.mark.parametrize("wrong", [{"reserve": 1.0}, {"target": 0.9}, {"demote": 0.5}, {"hysteresis": 0.9}])
def test_a_policy_that_contradicts_itself_is_refused(wrong):
    """storage/tier/plan.py, Policy."""
    with pytest.raises(ValueError, match="out of order"):
        Policy(**wrong)
