"""A simulated disk on Trio: slow at times, cold at times, and with writes under way when the power goes.

Beside what `SimDisk` can do: a flush covers only what was written before it began; a write that the power cut
meets has reached the medium in part; `*_now` says now and then that it would have to wait.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from storage.errors import DiskFailed
from storage.units import DiskOffset
from tests.sim.disk import PowerCut, SimDisk
from tests.sim.simruntime import SimRuntime


class FaultyDisk(SimDisk):
    """`attach` gives it the runtime of the node that has it now."""

    def __init__(self, name: str, size_bytes: int, rng: random.Random, cold: float) -> None:
        super().__init__(name, size_bytes, None)  # type: ignore[arg-type]  # set by `attach`
        self._rng = rng
        self.cold = cold
        """How often `read_now` and `write_now` say that they would have to wait."""
        self.slow_s = 0.0
        """Mean of what each call takes longer."""
        self.error_rate = 0.0
        """How often a call fails, for good, as a disk does that is about to die."""
        self.is_off = False
        self._under_way: dict[int, tuple[int, bytes]] = {}
        self._next = 0
        self._flushed = 0
        """Writes made durable so far, by count."""
        self._node: SimRuntime

    def attach(self, runtime: SimRuntime) -> None:
        self._node = self._runtime = runtime
        self.is_off = False
        self.is_closed = False

    def read_now(self, offset: DiskOffset, into: Sequence[memoryview]) -> bool:
        if self._is_cold():
            self._check(offset, sum(map(len, into)))
            return False
        return super().read_now(offset, into)

    def write_now(self, offset: DiskOffset, data: Sequence[memoryview | bytes]) -> bool:
        if self._is_cold():
            self._check(offset, sum(map(len, data)))
            return False
        return super().write_now(offset, data)

    async def read(self, offset: DiskOffset, into: Sequence[memoryview]) -> None:
        await self._call(lambda: self.read_blocking(offset, into))

    async def write(self, offset: DiskOffset, data: Sequence[memoryview | bytes]) -> None:
        self._check(offset, sum(map(len, data)))
        number, self._next = self._next, self._next + 1
        self._under_way[number] = (offset, b"".join(data))

        def work() -> None:
            self._write(offset, data)
            del self._under_way[number]

        try:
            await self._call(work)
        finally:
            if not self.is_off:
                self._under_way.pop(number, None)

    async def flush(self) -> None:
        self._check(0, 0)
        goal = self._flushed + len(self.unflushed)

        def work() -> None:
            self._check(0, 0)
            self._step("flush")
            self.flushes += 1
            count = max(0, goal - self._flushed)
            for offset, data in self.unflushed[:count]:
                self.durable[offset : offset + len(data)] = data
            del self.unflushed[:count]
            self._flushed += count

        await self._call(work)

    async def trim(self, offset: DiskOffset, length: int) -> None:
        self._check(offset, length)
        await SimDisk.trim(self, offset, length)

    # -- faults --------------------------------------------------------------------------------------------

    def power_off(self) -> None:
        """From now on every call ends with `PowerCut`; `power_cut` then settles what the medium holds."""
        self.is_off = True

    def power_cut(self, rng: random.Random) -> None:
        """Writes under way count as written and not flushed."""
        self.unflushed.extend(self._under_way.values())
        self._under_way.clear()
        self._flushed += len(self.unflushed)
        super().power_cut(rng)

    # -- inside --------------------------------------------------------------------------------------------

    def _is_cold(self) -> bool:
        return self.cold > 0 and self._rng.random() < self.cold

    async def _call(self, work: Callable[[], None]) -> None:
        extra_s = self._rng.expovariate(1 / self.slow_s) if self.slow_s else 0.0
        await self._node.disk_call(work, extra_s)

    def _check(self, offset: int, length: int) -> None:
        if self.is_off:
            raise PowerCut(f"disk {self.name} is off")
        super()._check(offset, length)
        if self.error_rate and self._rng.random() < self.error_rate:
            self.fail()
            raise DiskFailed(self.failure)
