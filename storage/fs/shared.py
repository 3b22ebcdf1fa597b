"""Which clusters of the data space more than one run refers to, and how many do. Pure.

Only counts of two and more are kept: a cluster that is not here has one reference, or none (the allocator
knows which). Runs are sorted by their first cluster and never overlap. `touched` collects the first cluster
of each changed run.

Units: clusters of the data space. Owner: the file system.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable


class SharedClusters:
    """Reference counts above one, as runs of (first, count, references)."""

    __slots__ = ("_first", "_lingering", "_runs", "_sealed", "touched")

    def __init__(self, runs: Iterable[tuple[int, int, int]] = ()) -> None:
        self._lingering: list[tuple[int, int]] = []
        self._sealed: list[tuple[int, int]] = []
        self._runs: list[tuple[int, int, int]] = sorted(runs)
        self._first: list[int] = [run[0] for run in self._runs]
        self.touched: set[int] = set()

    def is_empty(self) -> bool:
        """No cluster is shared, nor was since the last durable commit."""
        return not (self._runs or self._lingering or self._sealed)

    def runs(self) -> list[tuple[int, int, int]]:
        return list(self._runs)

    def starting_at(self, first: int) -> tuple[int, int, int] | None:
        index = bisect_right(self._first, first) - 1
        if index >= 0 and self._first[index] == first:
            return self._runs[index]
        return None

    def pieces(self, first: int, count: int) -> list[tuple[int, int, int]]:
        """[first, first+count) cut where the number of references changes: (first, count, references >=
        1)."""
        if not self._runs:
            return [(first, count, 1)]
        out: list[tuple[int, int, int]] = []
        at, end = first, first + count
        index = max(bisect_right(self._first, first) - 1, 0)
        while at < end:
            if index >= len(self._runs) or self._runs[index][0] >= end:
                out.append((at, end - at, 1))
                break
            run_first, run_count, references = self._runs[index]
            index += 1
            if run_first + run_count <= at:
                continue
            if run_first > at:
                out.append((at, run_first - at, 1))
                at = run_first
            upto = min(run_first + run_count, end)
            out.append((at, upto - at, references))
            at = upto
        return out

    def guarded(self, first: int, count: int) -> list[tuple[int, int, int]]:
        """As `pieces`, with at least two references where a second one is not durably gone yet."""
        out = self.pieces(first, count)
        for low, length in (*self._lingering, *self._sealed):
            high = low + length
            if high <= first or low >= first + count:
                continue
            cut: list[tuple[int, int, int]] = []
            for at, run, references in out:
                end = at + run
                inside, beyond = min(max(low, at), end), max(min(high, end), at)
                if inside >= beyond or references > 1:
                    cut.append((at, run, references))
                    continue
                if at < inside:
                    cut.append((at, inside - at, references))
                cut.append((inside, beyond - inside, 2))
                if beyond < end:
                    cut.append((beyond, end - beyond, references))
            out = cut
        return out

    def seal(self) -> None:
        self._sealed += self._lingering
        self._lingering = []

    def settled(self) -> None:
        self._sealed = []

    def add(self, first: int, count: int) -> None:
        """One more reference to each cluster of the range, which already has one."""
        self._store(first, count, [(f, n, r + 1) for f, n, r in self.pieces(first, count)])

    def drop(self, first: int, count: int) -> list[tuple[int, int]]:
        """One reference less; gives back the runs that have none left."""
        if not self._runs:
            return [(first, count)]
        pieces = self.pieces(first, count)
        if len(pieces) > 1 or pieces[0][2] > 1:
            self._store(first, count, [(f, n, r - 1) for f, n, r in pieces])
            self._lingering += [(f, n) for f, n, r in pieces if r == 2]
        return [(f, n) for f, n, r in pieces if r == 1]

    def _store(self, first: int, count: int, pieces: list[tuple[int, int, int]]) -> None:
        """Replace the range. Cuts the runs at its borders, joins what continues."""
        end = first + count
        low = max(bisect_right(self._first, first - 1) - 1, 0)
        high = low
        before: list[tuple[int, int, int]] = []
        after: list[tuple[int, int, int]] = []
        while high < len(self._runs) and self._runs[high][0] <= end:
            run_first, run_count, references = self._runs[high]
            high += 1
            self.touched.add(run_first)
            if run_first < first:
                before.append((run_first, min(run_count, first - run_first), references))
            if run_first + run_count > end:
                cut = max(run_first, end)
                after.append((cut, run_first + run_count - cut, references))
        joined: list[tuple[int, int, int]] = []
        for piece in (*before, *(p for p in pieces if p[2] > 1), *after):
            if joined:
                last = joined[-1]
                if last[0] + last[1] == piece[0] and last[2] == piece[2]:
                    joined[-1] = (last[0], last[1] + piece[1], last[2])
                    continue
            joined.append(piece)
        self._runs[low:high] = joined
        self._first[low:high] = [piece[0] for piece in joined]
        self.touched.update(piece[0] for piece in joined)
