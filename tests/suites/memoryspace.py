"""A space in memory, for tests: the port storage/space/port.py with power cuts, failures and slow paths.

After `power_cut(rng)` each 512-byte sector written since the last flush reads as any version it had since
then; one written `fresh` may read as anything. `writes_left` lets the power fail at a chosen write or
flush. `slow(rng)` makes some calls of `*_now` say "not now", and the awaiting ones let other tasks run."""

import random
from collections.abc import Sequence

from storage.errors import DiskFailed, PoolFull
from storage.runtime import Runtime
from storage.space.port import SpaceUsage

SECTOR_BYTES = 512


class PowerLost(DiskFailed):
    """The power failed at this write."""


class Power:
    """What several spaces hang on: it fails after `left` more writes and flushes of all of them."""

    def __init__(self, left: int | None = None) -> None:
        self.left = left
        self.is_off = False

    def tick(self) -> None:
        if self.is_off:
            raise PowerLost("the power is gone")
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self.is_off = True
                raise PowerLost("the power fails here")


class MemorySpace:
    def __init__(self, size_bytes: int, runtime: Runtime | None = None, power: Power | None = None) -> None:
        self.power = power or Power()
        self._bytes = bytearray(size_bytes)
        self._view = memoryview(self._bytes)
        self._runtime = runtime
        self._old: dict[int, list[bytes]] = {}
        self._fresh: set[int] = set()
        self._slow: random.Random | None = None
        self.keeps_versions = False
        self.flushes = 0
        self.writes = 0
        self.trimmed: list[tuple[int, int]] = []
        self.available_bytes: int | None = None
        """How much more a thin pool gives; None: everything."""
        self._allocated: set[int] = set()
        self.row_bytes = 0

    @property
    def size_bytes(self) -> int:
        return len(self._bytes)

    def grow(self, size_bytes: int) -> None:
        """What is new holds anything."""
        self._view.release()
        self._bytes.extend(b"\xa7" * (size_bytes - len(self._bytes)))
        self._view = memoryview(self._bytes)

    def usage(self) -> SpaceUsage:
        allocated = len(self._allocated) << 16
        available = self.size_bytes if self.available_bytes is None else self.available_bytes
        return SpaceUsage(self.size_bytes, allocated, available, 2 * allocated, self.row_bytes)

    def slow(self, rng: random.Random) -> None:
        self._slow = rng

    def _not_now(self) -> bool:
        return self._slow is not None and self._slow.random() < 0.4

    async def _pause(self) -> None:
        if self._slow is not None and self._runtime is not None:
            for _ in range(self._slow.randrange(4)):
                await self._runtime.sleep(0)
            if self._slow.random() < 0.2:
                await self._runtime.sleep(self._slow.random() * 0.3)

    def read_now(self, offset: int, into: memoryview) -> bool:
        if self._not_now():
            return False
        self.read_blocking(offset, into)
        return True

    async def read(self, offset: int, into: memoryview) -> None:
        await self._pause()
        self.read_blocking(offset, into)

    def read_blocking(self, offset: int, into: memoryview) -> None:
        if self.power.is_off:
            raise PowerLost("the power is gone")
        assert 0 <= offset and offset + len(into) <= len(self._bytes)
        into[:] = self._view[offset : offset + len(into)]

    def write_now(self, offset: int, data: Sequence[memoryview | bytes], fresh: bool = False) -> bool:
        if self._not_now():
            return False
        self._write(offset, data, fresh)
        return True

    async def write(self, offset: int, data: Sequence[memoryview | bytes], fresh: bool = False) -> None:
        await self._pause()
        self._write(offset, data, fresh)

    def _write(self, offset: int, data: Sequence[memoryview | bytes], fresh: bool) -> None:
        self.power.tick()
        self.writes += 1
        length = sum(len(part) for part in data)
        assert 0 <= offset and offset + length <= len(self._bytes), (offset, length)
        if self.available_bytes is not None:
            new = set(range(offset >> 16, (offset + length + 65535) >> 16)) - self._allocated
            if len(new) << 16 > self.available_bytes:
                raise PoolFull(f"no slab is left for {length} bytes at {offset}")
            self.available_bytes -= len(new) << 16
            self._allocated |= new
        if self.keeps_versions:
            for sector in range(offset // SECTOR_BYTES, -(-(offset + length) // SECTOR_BYTES)):
                at = sector * SECTOR_BYTES
                versions = self._old.setdefault(sector, [])
                versions.append(bytes(self._view[at : at + SECTOR_BYTES]))
                if fresh:
                    self._fresh.add(sector)
        for part in data:
            self._view[offset : offset + len(part)] = part
            offset += len(part)

    async def flush(self) -> None:
        before, self._old = self._old, {}
        fresh, self._fresh = self._fresh, set()
        try:
            await self._pause()
            self.power.tick()
        except PowerLost:
            for sector, versions in self._old.items():
                before.setdefault(sector, []).extend(versions)
            self._old = before
            self._fresh |= fresh
            raise
        self.flushes += 1

    async def trim(self, offset: int, length: int) -> None:
        await self._pause()
        self.power.tick()
        self.trimmed.append((offset, length))
        self._view[offset : offset + length] = b"\xee" * length
        whole = set(range((offset + 65535) >> 16, (offset + length) >> 16)) & self._allocated
        self._allocated -= whole
        if self.available_bytes is not None:
            self.available_bytes += len(whole) << 16

    def power_cut(
        self, rng: random.Random, runtime: Runtime | None = None, power: Power | None = None
    ) -> "MemorySpace":
        """The space as it is found when the power is back."""
        found = MemorySpace(self.size_bytes, runtime, power)
        found._bytes[:] = self._bytes
        found.keeps_versions = self.keeps_versions
        found._allocated = set(self._allocated)
        found.available_bytes = self.available_bytes
        found.row_bytes = self.row_bytes
        for sector in sorted(self._old):
            at = sector * SECTOR_BYTES
            versions = [*self._old[sector], bytes(self._view[at : at + SECTOR_BYTES])]
            if sector in self._fresh:
                versions.append(b"\xdb" * SECTOR_BYTES)
            found._bytes[at : at + SECTOR_BYTES] = rng.choice(versions)
        return found
