"""Sizes and times of the write-back cache, with where they come from, and how writers are slowed down. Pure.

    fill    0 % ... 25 % ............. 75 % ............ 90 % ............ 100 %
    destage only    begins, with rests  without a rest    writers slowed    writers wait
            if idle                                       in proportion

Source: docs/design-spaces.md, "Write-back cache"; writes up to 256 KiB are cached as by the storage bus cache
of Storage Spaces Direct (docs/SPECS.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

PASS_BYTES: Final = 256 << 10
"""Longer writes go around the journal."""
RATE_FIRST: Final = 2 << 20
"""Bytes per second that destaging is taken to free before it was measured: one hard disk, random blocks."""
DELAY_MAX_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class CacheLimits:
    memory_bytes: int = 64 << 20
    """Contents of blocks kept in memory; beyond it, what is in the journal is read from there."""
    young_bytes: int = 8 << 20
    """Contents that aren't in the journal yet; beyond it writers wait for the journal."""
    spill_bytes: int = 2 << 20
    """At so much the journal is written although nobody asked for a flush."""
    batch_bytes: int = 4 << 20
    """Given to the backing at once."""
    round_bytes: int = 64 << 20
    """Journal that one sweep over the addresses empties, at most."""
    round_fraction: float = 1 / 16
    """The same, of the ring: less than lies between `slow` and full, so that space comes back in time."""
    begin: float = 0.25
    earnest: float = 0.75
    slow: float = 0.90
    idle_s: float = 1.0
    retry_s: float = 5.0
    """After destaging failed."""

    def __post_init__(self) -> None:
        assert 0 < self.begin < self.earnest < self.slow < 1
        assert 0 < self.round_fraction < 1 - self.slow
        assert 0 < self.spill_bytes <= self.young_bytes <= self.memory_bytes


class Throttle:
    """When may a writer go on? Accepted bytes per second fall from any number at `slow` over as many as
    destaging frees, half-way, to none at 100 %. Times in seconds on the caller's clock."""

    def __init__(self, slow: float) -> None:
        self._slow = slow
        self._rate = float(RATE_FIRST)
        self._next_s = 0.0

    @property
    def rate(self) -> float:
        """Bytes per second that destaging frees."""
        return self._rate

    def freed(self, count: int, elapsed_s: float) -> None:
        if count > 0 and elapsed_s > 0:
            self._rate = max(1.0, 0.5 * self._rate + 0.5 * count / elapsed_s)

    def delay_s(self, fill: float, count: int, now: float) -> float:
        """How long the writer of `count` bytes sleeps; all writers share one queue."""
        pressure = (fill - self._slow) / (1 - self._slow)
        if pressure <= 0:
            return 0.0
        takes = count / self._rate * pressure / max(1 - pressure, 0.01)
        self._next_s = max(self._next_s, now) + min(takes, DELAY_MAX_S)
        return min(self._next_s - now, DELAY_MAX_S)
