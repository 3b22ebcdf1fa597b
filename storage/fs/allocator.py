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

Units: clusters. Owner: the file system. Raises: VolumeFull, with nothing changed.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable

import numpy

from storage.errors import VolumeFull
from storage.fs.limits import GROUP_CLUSTERS

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


class Allocator:
    """The free clusters of one data space."""

    def __init__(
        self, clusters: int, groups: Iterable[tuple[int, int]], load: Callable[[int], bytes | None]
    ) -> None:
        """`groups`: (group, used clusters) of each group that is not wholly free. `load` gives a group's
        bitmap."""
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
        self._cursor = 0
        self._freed: list[tuple[int, int]] = []
        self._dirty: set[int] = set()

    # counts ---------------------------------------------------------------------------------------
    def unused(self) -> int:
        """Clusters no file has: free now, or as soon as what is pending is durable."""
        return self.clusters - self.used

    def free(self) -> int:
        """Clusters that can be had at once."""
        return self.clusters - self.used - self.pending - self.reserved

    # taking ---------------------------------------------------------------------------------------
    def allocate(self, count: int, hint: int = -1) -> list[tuple[int, int]]:
        """`count` clusters as few (first, count) runs, from `hint` on if that is free."""
        if count > self.free():
            raise VolumeFull(f"{count} clusters wanted, {self.free()} of {self.clusters} free")
        runs: list[tuple[int, int]] = []
        left = count
        if 0 <= hint < self.clusters:
            got = self._take_at(hint, left, USED)
            if got:
                runs.append((hint, got))
                left -= got
        while left:
            first, got = self._take_anywhere(left)
            if runs and runs[-1][0] + runs[-1][1] == first:
                runs[-1] = (runs[-1][0], runs[-1][1] + got)
            else:
                runs.append((first, got))
            left -= got
        self.used += count
        return runs

    def reserve(self, first: int, count: int) -> int:
        """Keep up to `count` free clusters from `first` on back; how many it got."""
        if first >= self.clusters:
            return 0
        got = self._take_at(first, count, RESERVED)
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

    def widen(self, first: int, count: int) -> tuple[int, int]:
        """The longest run of FREE clusters round a PENDING one becomes PENDING with it (so that a trim may
        cover it)."""
        low, high = first, first + count
        while low > 0:
            group, at = divmod(low - 1, GROUP_CLUSTERS)
            if self._room[group] == 0:
                break
            head = self._map(group)[: at + 1]
            run = len(head) - len(head.rstrip(b"\0"))
            low -= run
            if run <= at:
                break
        while high < self.clusters:
            group, at = divmod(high, GROUP_CLUSTERS)
            if self._room[group] == 0:
                break
            tail = self._map(group)[at:]
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

    def _take_at(self, first: int, count: int, state: int) -> int:
        """Take up to `count` FREE clusters that follow each other from `first` on."""
        taken = 0
        while taken < count and first + taken < self.clusters:
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
        return taken

    def _take_anywhere(self, count: int) -> tuple[int, int]:
        """One run of up to `count`: the first that is long enough from the cursor on, else the first there
        is."""
        want = min(count, GROUP_CLUSTERS)
        best = -1
        groups = len(self._room)
        start, offset = divmod(self._cursor, GROUP_CLUSTERS)
        for step in range(groups + 1):
            group = (start + step) % groups
            room = self._room[group]
            if room == 0:
                continue
            if best < 0:
                best = group
            if room >= want:
                states = self._map(group)
                at = states.find(_ZERO[:want], offset if step == 0 else 0)
                if at >= 0:
                    return self._claim(group * GROUP_CLUSTERS + at, count)
        # No run is long enough: the longest of the first group that has any.
        states = self._map(best)
        low, high = 1, min(want, len(states))
        while low < high:
            middle = (low + high + 1) // 2
            if states.find(_ZERO[:middle]) >= 0:
                low = middle
            else:
                high = middle - 1
        return self._claim(best * GROUP_CLUSTERS + states.find(_ZERO[:low]), low)

    def _claim(self, first: int, count: int) -> tuple[int, int]:
        got = self._take_at(first, count, USED)
        self._cursor = (first + got) % self.clusters
        return first, got

    def _mark(self, first: int, count: int, old: int, new: int) -> None:
        """Change the state of a range; the old one must be what is said."""
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
