"""Which clusters of the data space are free. Pure, but for a `load` that reads a group's bitmap from the
catalog.

Each cluster is one byte of its group's map:

    FREE --allocate--> USED --free--> PENDING --release--> FREE
      \\--reserve--> RESERVED --allocate / unreserve--> USED / FREE

PENDING: freed, but the commit that freed it is not durable yet, or a trim of it is under way; it must not
be used again (a crash would bring back the file that had it). RESERVED: kept behind a growing stream, in
memory alone. On disk a cluster is free or used: PENDING and RESERVED are stored as free, which is what they
are after a crash.

Groups are loaded when first needed; a group that is wholly free or wholly used holds no map. The search is
next-fit over groups: at the hint first, then the first run that is long enough, then the pieces there are.

Zones: stretches of the data space, one behind the other, each of one tier. A search stays inside a zone; a
wish for a tier is met from its zones as far as they have room, the rest comes from the others. With one zone
nothing of this costs anything.

Units: clusters. Owner: the file system. Raises: VolumeFull, with nothing changed.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy

from storage.errors import VolumeFull
from storage.fs.limits import GROUP_CLUSTERS, WIDEN_CLUSTERS_MAX

FREE = 0
USED = 1
PENDING = 2
RESERVED = 3
_ZERO = b"\0" * GROUP_CLUSTERS
_ANY_USED = bytes((0, 1, 0, 0)) + bytes(252)


def pack(states: bytes | bytearray) -> bytes:
    """One bit a cluster, set if USED; lowest bit first."""
    used = numpy.frombuffer(states.translate(_ANY_USED), dtype=numpy.uint8)
    return numpy.packbits(used, bitorder="little").tobytes().ljust(GROUP_CLUSTERS // 8, b"\0")


def unpack(bitmap: bytes) -> bytearray:
    return bytearray(
        numpy.unpackbits(numpy.frombuffer(bitmap, dtype=numpy.uint8), bitorder="little").tobytes()
    )


def _runs_of(states: bytearray, state: int, first: int, end: int) -> list[tuple[int, int]]:
    """(low, high) of the stretches of [first, end) that are in this state."""
    marks = numpy.frombuffer(states, dtype=numpy.uint8)[first:end] == state
    edges = numpy.flatnonzero(numpy.diff(marks.astype(numpy.int8), prepend=0, append=0))
    return [(first + int(edges[i]), first + int(edges[i + 1])) for i in range(0, len(edges), 2)]


class Zone(NamedTuple):
    """Clusters from `first` up to `end` (not in it) lie on this tier."""

    first: int
    end: int
    tier: int


class Allocator:
    """The free clusters of one data space."""

    def __init__(
        self,
        clusters: int,
        groups: Iterable[tuple[int, int]],
        load: Callable[[int], bytes | None],
        zones: Sequence[Zone] = (),
    ) -> None:
        """`groups`: (group, used clusters) of each group that is not wholly free. `load` gives a group's
        bitmap. Without `zones` all is one."""
        self.clusters = clusters
        count = -(-clusters // GROUP_CLUSTERS)
        self._load = load
        self._maps: dict[int, bytearray] = {}
        self._room = array("i", [GROUP_CLUSTERS]) * count
        """Clusters in state FREE, by group."""
        if clusters % GROUP_CLUSTERS:
            self._room[-1] = clusters % GROUP_CLUSTERS
        self._used = array("i", bytes(4 * count))
        for group, used in groups:
            self._used[group] = used
            self._room[group] -= used
        self.used = sum(self._used)
        self.pending = 0
        self.reserved = 0
        self._cursors: dict[int, int] = {}
        """Where the next search begins, by the first cluster of what is searched."""
        self.is_packing = False
        """Fill the first holes of a zone, however short, rather than look for a long one: a pool without
        slabs has none but where clusters were before."""
        self._freed: list[tuple[int, int]] = []
        self._dirty: set[int] = set()
        self.zones: tuple[Zone, ...] = (Zone(0, clusters, 0),)
        self._zone_first = [0]
        self._taken: list[int] = [0]
        """Clusters not FREE, by zone; only kept if there is more than one."""
        if zones:
            self._set_zones(zones)

    # counts ---------------------------------------------------------------------------------------
    def unused(self) -> int:
        """Clusters no file has: free now, or as soon as what is pending is durable."""
        return self.clusters - self.used

    def free(self) -> int:
        """Clusters that can be had at once."""
        return self.clusters - self.used - self.pending - self.reserved

    # zones ----------------------------------------------------------------------------------------
    def _set_zones(self, zones: Sequence[Zone]) -> None:
        assert zones[0].first == 0 and zones[-1].end == self.clusters
        assert all(left.end == right.first for left, right in zip(zones, zones[1:], strict=False))
        self.zones = tuple(zones)
        self._zone_first = [zone.first for zone in zones]
        self._taken = [0] * len(zones)
        if len(zones) == 1:
            return
        for group, room in enumerate(self._room):
            first, size = group * GROUP_CLUSTERS, self._size(group)
            if room == size:
                continue
            for index, low, high in self._zone_parts(first, size):
                if high - low == size:
                    self._taken[index] += size - room
                else:
                    self._taken[index] += high - low - self._map(group).count(FREE, low - first, high - first)

    def _zone_parts(self, first: int, count: int) -> Iterator[tuple[int, int, int]]:
        """(number of the zone, low, high): the range cut at the borders of zones."""
        index = bisect_right(self._zone_first, first) - 1
        low, end = first, first + count
        while low < end:
            high = min(end, self.zones[index].end)
            yield index, low, high
            low = high
            index += 1

    def zone_of(self, cluster: int) -> Zone:
        return self.zones[bisect_right(self._zone_first, cluster) - 1]

    def size_of(self, tier: int) -> int:
        return sum(zone.end - zone.first for zone in self.zones if zone.tier == tier)

    def taken_of(self, tier: int) -> int:
        """Clusters of the tier that cannot be had at once."""
        if len(self.zones) == 1:
            return self.clusters - self.free() if self.zones[0].tier == tier else 0
        return sum(taken for zone, taken in zip(self.zones, self._taken, strict=True) if zone.tier == tier)

    def grow(self, clusters: int, zones: Sequence[Zone] = ()) -> None:
        """The data space became larger. Zones only get longer at the end, or more."""
        assert clusters >= self.clusters
        if clusters == self.clusters:
            return
        last = len(self._room) - 1
        if last >= 0 and self._size(last) < GROUP_CLUSTERS:
            states = self._map(last)  # as it was stored, while the old size tells what a missing one means
            more = min(GROUP_CLUSTERS, clusters - last * GROUP_CLUSTERS) - len(states)
            states += bytes(more)
            self._room[last] += more
            self._dirty.add(last)
        count = -(-clusters // GROUP_CLUSTERS)
        for group in range(last + 1, count):
            self._room.append(min(GROUP_CLUSTERS, clusters - group * GROUP_CLUSTERS))
            self._used.append(0)
        self.clusters = clusters
        self._set_zones(zones or (Zone(0, clusters, self.zones[0].tier),))

    # taking ---------------------------------------------------------------------------------------
    def allocate(self, count: int, hint: int = -1, tier: int | None = None) -> list[tuple[int, int]]:
        """`count` clusters as few (first, count) runs, from `hint` on if that is free; those of `tier`
        first."""
        if count > self.free():
            raise VolumeFull(f"{count} clusters wanted, {self.free()} of {self.clusters} free")
        runs: list[tuple[int, int]] = []
        left = count
        if 0 <= hint < self.clusters:
            zone = self.zone_of(hint)
            if tier is None or zone.tier == tier:
                got = self._take_at(hint, left, USED, zone.end)
                if got:
                    runs.append((hint, got))
                    left -= got
        zones = self.zones
        if tier is not None and len(zones) > 1:
            zones = (*(z for z in zones if z.tier == tier), *(z for z in zones if z.tier != tier))
        left -= self._fill(runs, left, zones)
        assert not left
        self.used += count
        return runs

    def allocate_within(self, count: int, ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        """`count` clusters inside the (first, end) ranges, the earlier ranges first. Raises: VolumeFull."""
        runs: list[tuple[int, int]] = []
        got = self._fill(runs, count, ranges)
        self.used += got
        if got < count:
            for first, length in runs:
                self.give_back(first, length)
            raise VolumeFull(f"{count} clusters wanted of some ranges, {got} free there")
        return runs

    def _fill(self, runs: list[tuple[int, int]], count: int, ranges: Iterable[Sequence[int]]) -> int:
        """Take up to `count` clusters out of the ranges; how many it got."""
        left = count
        for low, high, *_ in ranges:
            while left:
                found = self._take_anywhere(left, low, high)
                if found is None:
                    break
                first, got = found
                if runs and runs[-1][0] + runs[-1][1] == first:
                    runs[-1] = (runs[-1][0], runs[-1][1] + got)
                else:
                    runs.append(found)
                left -= got
            if not left:
                break
        return count - left

    def reserve(self, first: int, count: int) -> int:
        """Keep up to `count` free clusters from `first` on back, in the zone of the cluster before; how many
        it got."""
        if first >= self.clusters:
            return 0
        end = self.zone_of(max(first - 1, 0)).end
        got = self._take_at(first, count, RESERVED, end) if first < end else 0
        self.reserved += got
        return got

    def unreserve(self, first: int, count: int) -> None:
        self._mark(first, count, RESERVED, FREE)
        self.reserved -= count

    def use_reserved(self, first: int, count: int) -> None:
        self._mark(first, count, RESERVED, USED)
        self.reserved -= count
        self.used += count

    def hide(self, first: int, count: int) -> None:
        """Clusters taken for a write that will wait: no commit may store them as used before
        `use_reserved`."""
        self._mark(first, count, USED, RESERVED)
        self.used -= count
        self.reserved += count

    # giving back ----------------------------------------------------------------------------------
    def give_back(self, first: int, count: int) -> None:
        """Undo an `allocate` that nothing durable and no reader has seen."""
        self._mark(first, count, USED, FREE)
        self.used -= count

    def free_later(self, first: int, count: int) -> None:
        """The clusters belong to no file; they may be used again once `release` is called."""
        self._mark(first, count, USED, PENDING)
        self.used -= count
        self.pending += count
        self._freed.append((first, count))

    def take_freed(self) -> list[tuple[int, int]]:
        """The runs freed since the last call, sorted and joined."""
        freed, self._freed = sorted(self._freed), []
        joined: list[tuple[int, int]] = []
        for first, count in freed:
            if joined and joined[-1][0] + joined[-1][1] == first:
                joined[-1] = (joined[-1][0], joined[-1][1] + count)
            else:
                joined.append((first, count))
        return joined

    def release(self, first: int, count: int) -> None:
        self._mark(first, count, PENDING, FREE)
        self.pending -= count

    # looking, for those who move and trim -----------------------------------------------------------
    def free_runs(self, first: int, end: int) -> list[tuple[int, int]]:
        """(first, count) of what is FREE in the range, in order."""
        out: list[tuple[int, int]] = []
        while first < end:
            group, at = divmod(first, GROUP_CLUSTERS)
            stop = min(end - group * GROUP_CLUSTERS, self._size(group))
            room = self._room[group]
            if room == self._size(group):
                found = [(at, stop)]
            elif room:
                states = self._map(group)
                found = _runs_of(states, FREE, at, stop)
            else:
                found = []
            for low, high in found:
                low, high = low + group * GROUP_CLUSTERS, high + group * GROUP_CLUSTERS
                if out and out[-1][0] + out[-1][1] == low:
                    out[-1] = (out[-1][0], out[-1][1] + high - low)
                else:
                    out.append((low, high - low))
            first = (group + 1) * GROUP_CLUSTERS
        return out

    def used_in(self, first: int, end: int) -> int:
        """How many clusters of the range are in use."""
        count = 0
        while first < end:
            group, at = divmod(first, GROUP_CLUSTERS)
            stop = min(end - group * GROUP_CLUSTERS, self._size(group))
            if self._used[group]:
                count += self._map(group).count(USED, at, stop)
            first = (group + 1) * GROUP_CLUSTERS
        return count

    def withdraw(self, first: int, count: int) -> None:
        """FREE clusters become PENDING: nobody gets them until `release`."""
        self._mark(first, count, FREE, PENDING)
        self.pending += count

    def widen(self, first: int, count: int) -> tuple[int, int]:
        """The longest run of FREE clusters round a PENDING one becomes PENDING with it (so that a trim may
        cover it), as far as WIDEN_CLUSTERS_MAX to each side."""
        low, high = first, first + count
        lowest, highest = max(first - WIDEN_CLUSTERS_MAX, 0), min(high + WIDEN_CLUSTERS_MAX, self.clusters)
        while low > lowest:
            group, at = divmod(low - 1, GROUP_CLUSTERS)
            if self._room[group] == 0:
                break
            head = self._map(group)[max(lowest - group * GROUP_CLUSTERS, 0) : at + 1]
            run = len(head) - len(head.rstrip(b"\0"))
            low -= run
            if run < len(head):
                break
        while high < highest:
            group, at = divmod(high, GROUP_CLUSTERS)
            if self._room[group] == 0:
                break
            tail = self._map(group)[at : highest - group * GROUP_CLUSTERS]
            run = len(tail) - len(tail.lstrip(b"\0"))
            high += run
            if run < len(tail):
                break
        if low < first:
            self._mark(low, first - low, FREE, PENDING)
        if high > first + count:
            self._mark(first + count, high - first - count, FREE, PENDING)
        self.pending += high - low - count
        return low, high - low

    # persistence ----------------------------------------------------------------------------------
    def take_dirty(self) -> list[tuple[int, int, bytes | None]]:
        """(group, used, bitmap) of the groups changed since the last call; no bitmap if wholly free or
        wholly used."""
        rows: list[tuple[int, int, bytes | None]] = []
        for group in sorted(self._dirty):
            used = self._used[group]
            size = self._size(group)
            bitmap = None if used in (0, GROUP_CLUSTERS) else pack(self._map(group))
            rows.append((group, used, bitmap))
            if used == size or self._room[group] == size:
                self._maps.pop(group, None)
        self._dirty.clear()
        return rows

    def state(self, cluster: int) -> int:
        group, at = divmod(cluster, GROUP_CLUSTERS)
        return self._map(group)[at]

    # within a group -------------------------------------------------------------------------------
    def _size(self, group: int) -> int:
        return min(GROUP_CLUSTERS, self.clusters - group * GROUP_CLUSTERS)

    def _map(self, group: int) -> bytearray:
        states = self._maps.get(group)
        if states is None:
            size = self._size(group)
            used = self._used[group]
            if used == 0:
                states = bytearray(size)
            elif used == size:
                states = bytearray(b"\x01" * size)
            else:
                bitmap = self._load(group)
                states = unpack(bitmap)[:size] if bitmap is not None else bytearray(size)
            self._maps[group] = states
        return states

    def _take_at(self, first: int, count: int, state: int, end: int) -> int:
        """Take up to `count` FREE clusters that follow each other from `first` on, below `end`."""
        taken = 0
        count = min(count, end - first)
        while taken < count:
            group, at = divmod(first + taken, GROUP_CLUSTERS)
            if self._room[group] == 0:
                break
            states = self._map(group)
            want = min(count - taken, len(states) - at)
            part = states[at : at + want]
            run = want - len(part.lstrip(b"\0"))
            if run == 0:
                break
            states[at : at + run] = bytes((state,)) * run
            self._room[group] -= run
            if state == USED:
                self._used[group] += run
                self._dirty.add(group)
            taken += run
            if run < want:
                break
        if taken and len(self.zones) > 1:
            self._count_zones(first, taken, 1)
        return taken

    def _count_zones(self, first: int, count: int, sign: int) -> None:
        for index, low, high in self._zone_parts(first, count):
            self._taken[index] += sign * (high - low)

    def _take_anywhere(self, count: int, low: int, high: int) -> tuple[int, int] | None:
        """One run of up to `count` inside [low, high): the first that is long enough from the cursor on, else
        the longest of the first group that has any; None if nothing is free."""
        if low >= high:
            return None
        want = 1 if self.is_packing else min(count, GROUP_CLUSTERS)
        best = -1
        lowest = low // GROUP_CLUSTERS
        groups = (high - 1) // GROUP_CLUSTERS + 1 - lowest
        cursor = low if self.is_packing else self._cursors.get(low, low)
        start, offset = divmod(cursor if low <= cursor < high else low, GROUP_CLUSTERS)
        for step in range(groups + 1):
            group = lowest + (start - lowest + step) % groups
            room = self._room[group]
            if room == 0:
                continue
            begin, end = self._bounds(group, low, high)
            if end - begin < self._size(group) and self._map(group).find(FREE, begin, end) < 0:
                continue
            if best < 0:
                best = group
            if room >= want:
                states = self._map(group)
                at = states.find(_ZERO[:want], max(begin, offset) if step == 0 else begin, end)
                if at >= 0:
                    return self._claim(group * GROUP_CLUSTERS + at, count, low, high)
        if best < 0:
            return None
        states = self._map(best)
        begin, end = self._bounds(best, low, high)
        shortest, longest = 1, min(want, end - begin)
        while shortest < longest:
            middle = (shortest + longest + 1) // 2
            if states.find(_ZERO[:middle], begin, end) >= 0:
                shortest = middle
            else:
                longest = middle - 1
        at = states.find(_ZERO[:shortest], begin, end)
        return self._claim(best * GROUP_CLUSTERS + at, shortest, low, high)

    def _bounds(self, group: int, low: int, high: int) -> tuple[int, int]:
        """Which part of the group lies inside [low, high)."""
        base = group * GROUP_CLUSTERS
        return max(low - base, 0), min(high - base, self._size(group))

    def _claim(self, first: int, count: int, low: int, high: int) -> tuple[int, int]:
        got = self._take_at(first, count, USED, high)
        self._cursors[low] = first + got
        return first, got

    def _mark(self, first: int, count: int, old: int, new: int) -> None:
        """Change the state of a range; the old one must be what is said."""
        if len(self.zones) > 1 and FREE in (old, new):
            self._count_zones(first, count, 1 if old == FREE else -1)
        while count:
            group, at = divmod(first, GROUP_CLUSTERS)
            run = min(count, GROUP_CLUSTERS - at)
            states = self._map(group)
            if run == 1:
                assert states[at] == old, (first, states[at], old, new)
                states[at] = new
            else:
                assert states.count(old, at, at + run) == run, (first, count, old, new)
                states[at : at + run] = bytes((new,)) * run
            if old == FREE:
                self._room[group] -= run
            elif new == FREE:
                self._room[group] += run
            if old == USED:
                self._used[group] -= run
                self._dirty.add(group)
            elif new == USED:
                self._used[group] += run
                self._dirty.add(group)
            first += run
            count -= run
