"""Spaces that take their time: a hard disk with seeks and turns, an SSD. On Trio's mock clock."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import trio

from tests.suites.memoryspace import MemorySpace

HALF_TURN_S = 60 / 7200 / 2
HDD_BYTES_S = 150e6
SSD_CALL_S = 60e-6
SSD_FLUSH_S = 150e-6
SSD_BYTES_S = 500e6


class Hdd:
    """One head: a jump costs a seek by distance and half a turn; what follows on costs its length."""

    def __init__(self, size_bytes: int) -> None:
        self._size = size_bytes
        self._head = 0

    def cost_s(self, offset: int, length: int) -> float:
        distance = abs(offset - self._head)
        self._head = offset + length
        seek = 0.001 + 0.008 * (distance / self._size) ** 0.5 + HALF_TURN_S if distance else 0.0
        return seek + length / HDD_BYTES_S

    flush_s = 0.0  # it has no cache of its own


class Ssd:
    flush_s = SSD_FLUSH_S

    def cost_s(self, offset: int, length: int) -> float:
        return SSD_CALL_S + length / SSD_BYTES_S


class TimedSpace(MemorySpace):
    """One request at a time; nothing is done inline."""

    def __init__(self, size_bytes: int, medium: Hdd | Ssd) -> None:
        super().__init__(size_bytes)
        self._medium = medium
        self._lock = trio.Lock()

    def read_now(self, offset: int, into: memoryview) -> bool:
        return False

    def write_now(self, offset: int, data: Sequence[memoryview | bytes], fresh: bool = False) -> bool:
        return False

    async def read(self, offset: int, into: memoryview) -> None:
        async with self._lock:
            await trio.sleep(self._medium.cost_s(offset, len(into)))
            self.read_blocking(offset, into)

    async def write(self, offset: int, data: Sequence[memoryview | bytes], fresh: bool = False) -> None:
        async with self._lock:
            await trio.sleep(self._medium.cost_s(offset, sum(map(len, data))))
            self._write(offset, data, fresh)

    async def flush(self) -> None:
        async with self._lock:
            await trio.sleep(self._medium.flush_s)
        await super().flush()


class TrialRuntime:
    """`storage.runtime.Runtime` on a nursery and the mock clock."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery

    def now(self) -> float:
        return trio.current_time()

    def filetime(self) -> int:
        return int(trio.current_time() * 1e7)

    def random_bytes(self, count: int) -> bytes:
        return bytes(count)

    def event(self) -> trio.Event:
        return trio.Event()

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def blocking(self, work: Callable[[], object]) -> object:
        return work()

    def spawn(self, work: Callable[[], Awaitable[None]], name: str) -> None:
        self._nursery.start_soon(work, name=name)
