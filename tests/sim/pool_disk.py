"""A simulated disk of the pool simulation: all that `FaultyDisk` does, and what disks do when they lie.

stale chunk   a range holds again what it held some time ago (as after a firmware's failed remap)
misdirected   the next write goes elsewhere on the disk, its place keeps the old content
lying         says that flushes are done, but a power cut takes what was written since it began to lie
read errors   some blocks cannot be read until they are written again
short errors  one call fails, the next one may not
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from storage.errors import DiskFailed
from storage.units import BLOCK_BYTES, DiskOffset
from tests.sim.faultydisk import FaultyDisk


class PoolDisk(FaultyDisk):
    def __init__(self, name: str, size_bytes: int, rng: random.Random, cold: float) -> None:
        super().__init__(name, size_bytes, rng, cold)
        self.unreadable: set[int] = set()
        self.fail_next: int | None = None
        """So many calls from now one fails."""
        self._before_lies: bytes | None = None
        self._old: dict[int, bytes] = {}

    def read_blocking(self, offset: DiskOffset, into: Sequence[memoryview]) -> None:
        self._maybe_fail()
        if self.unreadable:
            blocks = range(offset // BLOCK_BYTES, (offset + sum(map(len, into))) // BLOCK_BYTES)
            bad = next((block for block in blocks if block in self.unreadable), None)
            if bad is not None:
                raise DiskFailed(f"disk {self.name}: unrecovered read error at block {bad}")
        super().read_blocking(offset, into)

    def _write(self, offset: DiskOffset, data: Sequence[memoryview | bytes]) -> None:
        self._maybe_fail()
        if self.unreadable:
            blocks = range(offset // BLOCK_BYTES, (offset + sum(map(len, data))) // BLOCK_BYTES)
            self.unreadable.difference_update(blocks)
        if self.misdirect_next is not None:  # it stays on the disk
            length = sum(map(len, data))
            self.misdirect_next = min(self.misdirect_next, len(self.content) - length - BLOCK_BYTES)
        super()._write(offset, data)

    def _maybe_fail(self) -> None:
        if self.fail_next is not None:
            self.fail_next -= 1
            if self.fail_next < 0:
                self.fail_next = None
                raise DiskFailed(f"disk {self.name}: Input/output error, once")

    # -- faults --------------------------------------------------------------------------------------------

    def remember(self, offset: int, length: int) -> None:
        self._old[offset] = bytes(self.content[offset : offset + length])

    def go_back(self) -> list[int]:
        """Restore what was remembered; the offsets."""
        for offset, data in self._old.items():
            self.content[offset : offset + len(data)] = data
            self.durable[offset : offset + len(data)] = data
        restored, self._old = list(self._old), {}
        return restored

    def begin_to_lie(self) -> None:
        if self._before_lies is None:
            self._before_lies = bytes(self.durable)

    def stop_lying(self) -> None:
        self._before_lies = None

    @property
    def lies(self) -> bool:
        return self._before_lies is not None

    def power_cut(self, rng: random.Random) -> None:
        if self._before_lies is not None:
            self.durable[:] = self._before_lies
            self._before_lies = None
        super().power_cut(rng)

    def wipe(self) -> None:
        """As a new disk in its place."""
        self.content[:] = bytes(len(self.content))
        self.durable[:] = self.content
        self.unflushed.clear()
        self.heal()
        self.error_rate = self.slow_s = 0.0
        self.fail_next = None
        self.unreadable.clear()
        self._old.clear()
        self.stop_lying()
