"""Disks for measuring: files in memory that count what is moved, and may be as slow as a real disk.

`storage.disk.Disk` around another one. With `bytes_per_s` every call waits until the disk, one call after the
other, would have moved its bytes, nothing is done inline and a flush waits for what is under way: that is all
that takes time on a simulated clock.
"""

from __future__ import annotations

from collections.abc import Sequence

import trio

from storage.io.filedisk import FileDisk
from storage.units import DiskOffset

Buffers = Sequence[memoryview | bytes]


class MeasuredDisk:
    def __init__(self, inner: FileDisk, bytes_per_s: float | None = None) -> None:
        self._inner = inner
        self._bytes_per_s = bytes_per_s
        self._free_at_s = 0.0
        self.read_bytes = self.written_bytes = 0

    @property
    def name(self) -> str:
        return self._inner.name

    @property
    def size_bytes(self) -> int:
        return self._inner.size_bytes

    def give_up(self, why: str) -> None:
        self._inner.give_up(why)

    async def _pace(self, count: int) -> None:
        if self._bytes_per_s is not None:
            self._free_at_s = max(self._free_at_s, trio.current_time()) + count / self._bytes_per_s
            await trio.sleep_until(self._free_at_s)

    def read_now(self, offset: DiskOffset, into: Sequence[memoryview]) -> bool:
        if self._bytes_per_s is not None or not self._inner.read_now(offset, into):
            return False
        self.read_bytes += sum(map(len, into))
        return True

    async def read(self, offset: DiskOffset, into: Sequence[memoryview]) -> None:
        count = sum(map(len, into))
        await self._pace(count)
        if not self._inner.read_now(offset, into):
            await self._inner.read(offset, into)
        self.read_bytes += count

    def read_blocking(self, offset: DiskOffset, into: Sequence[memoryview]) -> None:
        self._inner.read_blocking(offset, into)
        self.read_bytes += sum(map(len, into))

    def write_now(self, offset: DiskOffset, data: Buffers) -> bool:
        if self._bytes_per_s is not None or not self._inner.write_now(offset, data):
            return False
        self.written_bytes += sum(map(len, data))
        return True

    async def write(self, offset: DiskOffset, data: Buffers) -> None:
        count = sum(map(len, data))
        await self._pace(count)
        if not self._inner.write_now(offset, data):
            await self._inner.write(offset, data)
        self.written_bytes += count

    async def flush(self) -> None:
        if self._bytes_per_s is None:
            await self._inner.flush()
        else:  # a thread would take real time
            await self._pace(0)

    async def trim(self, offset: DiskOffset, length: int) -> None:
        await self._inner.trim(offset, length)

    async def close(self) -> None:
        await self._inner.close()
