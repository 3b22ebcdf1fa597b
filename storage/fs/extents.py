"""Where the clusters of one stream lie: sorted runs, looked up by bisection. Pure.

A run is (first cluster in the file, length, first cluster in the data space, state). What no run covers is
a hole. Runs never overlap; two neighbours that continue each other in file, space and state are one run.
`touched` collects the first cluster of every run that was added, changed or removed, so that a commit
writes those rows and no others.

Units: clusters (limits.CLUSTER_BYTES). Owner: one stream's state.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

DATA: Final = 0
UNWRITTEN: Final = 1
"""Allocated, and reads as zeros."""
HOLE: Final = -1


class Run(NamedTuple):
    """`space` is the first cluster in the data space, -1 with state HOLE."""

    first: int
    length: int
    space: int
    state: int


class ExtentMap:
    """The runs of one stream."""

    __slots__ = ("_first", "_runs", "allocated", "touched")

    def __init__(self, runs: Iterable[Run] = ()) -> None:
        self._runs: list[Run] = list(runs)
        self._first: list[int] = [run.first for run in self._runs]
        self.allocated = sum(run.length for run in self._runs)
        self.touched: set[int] = set()

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[Run]:
        return iter(self._runs)

    def find(self, cluster: int) -> Run | None:
        """The run that covers `cluster`."""
        index = bisect_right(self._first, cluster) - 1
        if index < 0:
            return None
        run = self._runs[index]
        return run if cluster < run.first + run.length else None

    def starting_at(self, first: int) -> Run | None:
        """The run whose first cluster is `first`: the row a commit writes."""
        index = bisect_right(self._first, first) - 1
        if index >= 0 and self._first[index] == first:
            return self._runs[index]
        return None

    def end(self) -> int:
        """One past the last allocated cluster."""
        if not self._runs:
            return 0
        last = self._runs[-1]
        return last.first + last.length

    def pieces(self, first: int, end: int) -> list[Run]:
        """[first, end) cut at the borders of runs and holes, in order and without gaps."""
        out: list[Run] = []
        index = max(bisect_right(self._first, first) - 1, 0)
        at = first
        runs = self._runs
        while at < end:
            if index >= len(runs) or runs[index].first >= end:
                out.append(Run(at, end - at, -1, HOLE))
                break
            run = runs[index]
            index += 1
            run_end = run.first + run.length
            if run_end <= at:
                continue
            if run.first > at:
                out.append(Run(at, run.first - at, -1, HOLE))
                at = run.first
            upto = min(run_end, end)
            out.append(Run(at, upto - at, run.space + (at - run.first), run.state))
            at = upto
        return out

    def remove(self, first: int, end: int) -> list[Run]:
        """Make [first, end) a hole; gives back the pieces that were there."""
        if end <= first or not self._runs:
            return []
        low = max(bisect_right(self._first, first) - 1, 0)
        if self._runs[low].first + self._runs[low].length <= first:
            low += 1
        high = low
        gone: list[Run] = []
        kept: list[Run] = []
        while high < len(self._runs) and self._runs[high].first < end:
            run = self._runs[high]
            high += 1
            self.touched.add(run.first)
            run_end = run.first + run.length
            cut = max(first, run.first)
            upto = min(end, run_end)
            gone.append(Run(cut, upto - cut, run.space + cut - run.first, run.state))
            if run.first < cut:
                kept.append(Run(run.first, cut - run.first, run.space, run.state))
            if upto < run_end:
                kept.append(Run(upto, run_end - upto, run.space + upto - run.first, run.state))
                self.touched.add(upto)
        if high > low:
            self._runs[low:high] = kept
            self._first[low:high] = [run.first for run in kept]
            self.allocated -= sum(run.length for run in gone)
        return gone

    def put(self, first: int, count: int, space: int, state: int) -> list[Run]:
        """Let [first, first+count) lie at `space`; gives back the pieces that lay there before."""
        assert count > 0 and space >= 0
        gone = self.remove(first, first + count)
        index = bisect_right(self._first, first)
        self.allocated += count
        touched = self.touched
        if index < len(self._runs):
            after = self._runs[index]
            if after.first == first + count and after.space == space + count and after.state == state:
                touched.add(after.first)
                count += after.length
                del self._runs[index], self._first[index]
        if index > 0:
            before = self._runs[index - 1]
            if (
                before.first + before.length == first
                and before.space + before.length == space
                and before.state == state
            ):
                touched.add(before.first)
                self._runs[index - 1] = Run(before.first, before.length + count, before.space, state)
                return gone
        touched.add(first)
        self._runs.insert(index, Run(first, count, space, state))
        self._first.insert(index, first)
        return gone
