"""Disks that are much slower than their peers, for long; and disks that don't answer at all.

    disk calls that wait -> Meter (count, seconds, by kind of call) -> every 15 s: mean of each kind against
    the
    median of its peers' means -> slow in 4 windows in a row -> outlier; 4 good windows in a row -> no longer

A mirror is as slow as its slowest disk, and a repair that depends on one that is "healthy" but crawls never
ends: so an outlier counts as failing (jobs/automatic.py). Peers are disks of the same medium; flushes are
compared with flushes, reads with reads, writes with writes. A window in which too few calls were made, or
there are fewer than two peers to compare with, says nothing and changes nothing. Slow means five times the
median and 20 ms more than it: a busy disk isn't five times busier than all others for a minute.

Source: Storage Spaces Direct health faults (PhysicalDisk.HighLatency.Outlier, PhysicalDisk.Unresponsive);
numbers are ours. `Detector` is pure; `TimedDisk` awaits the disk it wraps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from storage.disk import Disk
from storage.units import DiskOffset

WINDOW_S: Final = 15.0
SAMPLES_MIN: Final = 5
PEERS_MIN: Final = 2
FACTOR: Final = 5.0
EXCESS_S: Final = 0.02
STRIKES: Final = 4
SILENT_S: Final = 30.0
READ, WRITE, FLUSH = range(3)
KINDS: Final = ("reads", "writes", "flushes")


@dataclass(slots=True)
class Meter:
    """Of one disk: calls of the current window that waited, and those under way."""

    counts: list[int] = field(default_factory=lambda: [0, 0, 0])
    seconds: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    under_way: dict[int, float] = field(default_factory=dict)
    """Number of the call -> when it began."""
    _next: int = 0

    def begin(self, now: float) -> int:
        self._next += 1
        self.under_way[self._next] = now
        return self._next

    def end(self, number: int, kind: int, now: float) -> None:
        self.counts[kind] += 1
        self.seconds[kind] += now - self.under_way.pop(number)

    def take(self) -> list[float | None]:
        """The window's mean seconds a call, by kind; None: too few calls. A new window begins."""
        means = [
            self.seconds[kind] / self.counts[kind] if self.counts[kind] >= SAMPLES_MIN else None
            for kind in range(len(KINDS))
        ]
        self.counts, self.seconds = [0, 0, 0], [0.0, 0.0, 0.0]
        return means

    def silent_s(self, now: float) -> float:
        """For how long the oldest call under way has gone unanswered."""
        return max(0.0, now - min(self.under_way.values())) if self.under_way else 0.0


@dataclass(frozen=True, slots=True)
class Outlier:
    kind: str
    mean_s: float
    peers_s: float

    def __str__(self) -> str:
        return (
            f"{self.kind} take {self.mean_s * 1000:.0f} ms, those of its peers {self.peers_s * 1000:.0f} ms"
        )


class Detector:
    """Owner: the pool. `outliers` are the disks that are slow now, with why."""

    def __init__(self) -> None:
        self.outliers: dict[int, Outlier] = {}
        self._strikes: dict[int, int] = {}
        self._good: dict[int, int] = {}

    def window(self, means: Mapping[int, Sequence[float | None]], media: Mapping[int, int]) -> None:
        """One window's means by disk and kind. Disks that aren't in it any more are forgotten."""
        for number in [one for one in self._strikes.keys() | self.outliers.keys() if one not in means]:
            self._strikes.pop(number, None)
            self._good.pop(number, None)
            self.outliers.pop(number, None)
        for number in means:
            verdict, why = _judge(number, means, media)
            if verdict is None:
                continue
            if verdict:
                self._good[number] = 0
                self._strikes[number] = self._strikes.get(number, 0) + 1
                if self._strikes[number] >= STRIKES and why is not None:
                    self.outliers[number] = why
            else:
                self._strikes[number] = 0
                self._good[number] = self._good.get(number, 0) + 1
                if self._good[number] >= STRIKES:
                    self.outliers.pop(number, None)


def _judge(
    number: int, means: Mapping[int, Sequence[float | None]], media: Mapping[int, int]
) -> tuple[bool | None, Outlier | None]:
    """Is it slow? None: cannot be told."""
    is_known = False
    for kind, name in enumerate(KINDS):
        mine = means[number][kind]
        peers = [
            found
            for other, one in means.items()
            if other != number and media.get(other) == media.get(number) and (found := one[kind]) is not None
        ]
        if mine is None or len(peers) < PEERS_MIN:
            continue
        is_known = True
        middle = median(peers)
        if mine > FACTOR * middle and mine > middle + EXCESS_S:
            return True, Outlier(name, mine, middle)
    return (False if is_known else None), None


class TimedDisk:
    """A disk whose waiting calls are timed. Calls that never wait go straight to it."""

    def __init__(self, disk: Disk, meter: Meter, now: Callable[[], float]) -> None:
        self.inner = disk
        self.meter = meter
        self._now = now
        self.read_now = disk.read_now
        self.write_now = disk.write_now
        self.read_blocking = disk.read_blocking
        self.trim = disk.trim
        self.close = disk.close

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def size_bytes(self) -> int:
        return self.inner.size_bytes

    async def read(self, offset: DiskOffset, into: Sequence[memoryview]) -> None:
        number = self.meter.begin(self._now())
        try:
            await self.inner.read(offset, into)
        finally:
            self.meter.end(number, READ, self._now())

    async def write(self, offset: DiskOffset, data: Sequence[memoryview | bytes]) -> None:
        number = self.meter.begin(self._now())
        try:
            await self.inner.write(offset, data)
        finally:
            self.meter.end(number, WRITE, self._now())

    async def flush(self) -> None:
        number = self.meter.begin(self._now())
        try:
            await self.inner.flush()
        finally:
            self.meter.end(number, FLUSH, self._now())
