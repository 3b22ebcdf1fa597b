"""The allocator with zones (tiers), growth, and what movers ask of it, against a dict of states."""

import random

import pytest

from storage.errors import VolumeFull
from storage.fs.allocator import FREE, PENDING, RESERVED, USED, Allocator, Zone
from storage.fs.limits import GROUP_CLUSTERS

FAST, SLOW = 0, 1


class Checked:
    """An allocator and the dict it must agree with."""

    def __init__(self, zones):
        self.stored = {}
        self.allocator = Allocator(zones[-1].end, (), self.load, zones)
        self.model = dict.fromkeys(range(zones[-1].end), FREE)

    def load(self, group):
        return self.stored[group][1]

    def mark(self, first, count, old, new):
        for cluster in range(first, first + count):
            assert self.model[cluster] == old
            self.model[cluster] = new

    def store(self):
        for group, used, bitmap in self.allocator.take_dirty():
            self.stored[group] = used, bitmap

    def reopened(self):
        self.store()
        groups = [(group, used) for group, (used, _) in self.stored.items()]
        return Allocator(self.allocator.clusters, groups, self.load, self.allocator.zones)

    def check(self):
        allocator, model = self.allocator, self.model
        assert allocator.free() == sum(state == FREE for state in model.values())
        for tier in (FAST, SLOW):
            clusters = [c for zone in allocator.zones if zone.tier == tier for c in range(*zone[:2])]
            assert allocator.size_of(tier) == len(clusters)
            assert allocator.taken_of(tier) == sum(model[c] != FREE for c in clusters)


def random_zones(rng, count, start=0):
    zones, at = [], start
    for index in range(count):
        length = rng.choice((30, 500, GROUP_CLUSTERS, GROUP_CLUSTERS + 77))
        zones.append(Zone(at, at + length, (index + start) % 2))
        at += length
    return zones


@pytest.mark.parametrize("seed", range(16))
def test_zones_count_what_is_taken_and_meet_wishes_for_a_tier(seed):
    """storage/fs/allocator.py: a wish for a tier is met from its zones as far as they have room, the rest
    comes from the others; a run never leaves its zone."""
    rng = random.Random(seed)
    checked = Checked(random_zones(rng, rng.randrange(1, 5)))
    owned, pending = [], []
    for _ in range(50):
        allocator, size = checked.allocator, checked.allocator.clusters
        step = rng.random()
        if step < 0.45:
            want, tier = rng.choice((1, 7, rng.randrange(1, size))), rng.choice((None, FAST, SLOW))
            if want > allocator.free():
                with pytest.raises(VolumeFull):
                    allocator.allocate(want, tier=tier)
                continue
            free = None if tier is None else allocator.size_of(tier) - allocator.taken_of(tier)
            runs = allocator.allocate(want, rng.randrange(-1, size + 1), tier)
            for first, count in runs:
                checked.mark(first, count, FREE, USED)
            if tier is not None:
                got = sum(
                    min(first + count, zone.end) - max(first, zone.first)
                    for first, count in runs for zone in allocator.zones
                    if zone.tier == tier and first < zone.end and zone.first < first + count
                )
                assert got == min(want, free)
            owned += runs
        elif step < 0.6 and owned:
            first, count = owned.pop(rng.randrange(len(owned)))
            allocator.free_later(first, count)
            checked.mark(first, count, USED, PENDING)
            pending.append((first, count))
        elif step < 0.7 and pending:
            first, count = pending.pop()
            allocator.release(first, count)
            checked.mark(first, count, PENDING, FREE)
        elif step < 0.8:
            first = rng.randrange(size)
            got = allocator.reserve(first, rng.randrange(1, 40))
            checked.mark(first, got, FREE, RESERVED)
            assert not got or allocator.zone_of(max(first - 1, 0)) == allocator.zone_of(first + got - 1)
            allocator.unreserve(first, got)
            checked.mark(first, got, RESERVED, FREE)
        elif step < 0.87:
            more = random_zones(rng, rng.randrange(1, 3), size)
            allocator.grow(more[-1].end, [*allocator.zones, *more])
            checked.model.update(dict.fromkeys(range(size, more[-1].end), FREE))
        else:
            checked.store()
        checked.check()
    again = checked.reopened()
    for tier in (FAST, SLOW):
        clusters = [c for zone in again.zones if zone.tier == tier for c in range(*zone[:2])]
        assert again.taken_of(tier) == sum(checked.model[c] == USED for c in clusters)


@pytest.mark.parametrize("seed", range(8))
def test_what_movers_ask_is_what_the_map_holds(seed):
    """free_runs, used_in, allocate_within and withdraw agree with the states one by one."""
    rng = random.Random(seed)
    checked = Checked(random_zones(rng, 2))
    allocator, model = checked.allocator, checked.model
    for _ in range(30):
        for first, count in allocator.allocate(min(rng.randrange(1, 400), allocator.free())):
            checked.mark(first, count, FREE, USED)
        low = rng.randrange(allocator.clusters)
        high = rng.randrange(low, allocator.clusters + 1)
        assert allocator.used_in(low, high) == sum(model[c] == USED for c in range(low, high))
        runs = allocator.free_runs(low, high)
        assert [c for first, count in runs for c in range(first, first + count)] == [
            c for c in range(low, high) if model[c] == FREE
        ]
        assert all(a + n < b for (a, n), (b, _) in zip(runs, runs[1:], strict=False))
        want, free = rng.randrange(1, 60), sum(count for _, count in runs)
        if want > free:
            with pytest.raises(VolumeFull):
                allocator.allocate_within(want, [(low, high)])
        else:
            for first, count in allocator.allocate_within(want, [(low, high)]):
                assert low <= first and first + count <= high
                checked.mark(first, count, FREE, USED)
        used = [c for c, state in model.items() if state == USED]
        for cluster in rng.sample(used, len(used) // 2):
            allocator.give_back(cluster, 1)
            checked.mark(cluster, 1, USED, FREE)
        if allocator.free():
            first = next(c for c, state in model.items() if state == FREE)
            allocator.withdraw(first, 1)
            checked.mark(first, 1, FREE, PENDING)
            checked.check()
            allocator.release(first, 1)
            checked.mark(first, 1, PENDING, FREE)
        checked.check()


@pytest.mark.parametrize("used", [0, 5, 40])
def test_a_last_group_that_grows_keeps_what_it_held(used):
    """storage/fs/allocator.py, grow: also if the group was wholly used, or is only in the catalog."""
    checked = Checked([Zone(0, 40, FAST)])
    for first, count in checked.allocator.allocate(used) if used else ():
        checked.mark(first, count, FREE, USED)
    checked.allocator = checked.reopened()
    checked.allocator.grow(GROUP_CLUSTERS + 3)
    checked.model.update(dict.fromkeys(range(40, GROUP_CLUSTERS + 3), FREE))
    checked.check()
    again = checked.reopened()
    assert [again.state(cluster) for cluster in range(GROUP_CLUSTERS + 3)] == list(checked.model.values())
