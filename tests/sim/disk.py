"""A disk in memory that can lose power, fail, rot, misdirect and vanish. `storage.disk.Disk`.

Unflushed writes are kept in order; `power_cut` keeps or drops each of their 512-byte sectors at random and
forgets the rest. `hook` is called before each write, flush and trim, and may raise to stop the world there.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final

from storage.errors import DiskFailed
from storage.runtime import Runtime
from storage.units import BLOCK_BYTES, DiskOffset

SECTOR_BYTES: Final = 512


class PowerCut(BaseException):
    """The world stops here. Not an Exception, so that nothing handles it on the way out."""


class SimDisk:
    def __init__(self, name: str, size_bytes: int, runtime: Runtime, blocks: bool = False) -> None:
        self._name = name
        self._runtime = runtime
        self.content = bytearray(size_bytes)
        self.durable = bytearray(size_bytes)
        self.unflushed: list[tuple[int, bytes]] = []
        self.failure: str | None = None
        self.fail_after: int | None = None
        self.blocks = blocks
        self.is_closed = False
        self.hook: Callable[[str, str], None] | None = None
        self.misdirect_next: int | None = None
        self.unreadable: set[int] = set()
        """Blocks that cannot be read until they are written again."""
        self.reads = self.writes = self.flushes = 0

    @property
    def name(self) -> str:
        return self._name

    @property
    def size_bytes(self) -> int:
        return len(self.content)

    # -- the port ------------------------------------------------------------------------------------------

    def read_now(self, offset: DiskOffset, into: Sequence[memoryview]) -> bool:
        if self.blocks:
            self._check(offset, sum(map(len, into)))
            return False
        self.read_blocking(offset, into)
        return True

    async def read(self, offset: DiskOffset, into: Sequence[memoryview]) -> None:
        await self._runtime.blocking(lambda: self.read_blocking(offset, into))

    def read_blocking(self, offset: DiskOffset, into: Sequence[memoryview]) -> None:
        self._check(offset, sum(map(len, into)))
        self.reads += 1
        at = int(offset)
        if self.unreadable:
            end = at + sum(map(len, into))
            bad = next((block for block in range(at, end, BLOCK_BYTES) if block in self.unreadable), None)
            if bad is not None:
                raise DiskFailed(f"disk {self._name}: Unrecovered read error at byte {bad}")
        for view in into:
            view[:] = self.content[at : at + len(view)]
            at += len(view)

    def write_now(self, offset: DiskOffset, data: Sequence[memoryview | bytes]) -> bool:
        if self.blocks:
            self._check(offset, sum(map(len, data)))
            return False
        self._write(offset, data)
        return True

    async def write(self, offset: DiskOffset, data: Sequence[memoryview | bytes]) -> None:
        await self._runtime.blocking(lambda: self._write(offset, data))

    async def flush(self) -> None:
        await self._runtime.blocking(self._flush)

    async def trim(self, offset: DiskOffset, length: int) -> None:
        self._check(offset, length)
        self._step("trim")
        noise = b"\xde" * length
        self.content[offset : offset + length] = noise
        self.unflushed.append((offset, noise))

    async def close(self) -> None:
        self.is_closed = True

    # -- faults --------------------------------------------------------------------------------------------

    def power_cut(self, rng: random.Random) -> None:
        """Each sector of each unflushed write is kept or lost, by chance."""
        keep = rng.choice((0.0, 0.3, 0.5, 0.8, 1.0))
        for offset, data in self.unflushed:
            for begin in range(0, len(data), SECTOR_BYTES):
                if rng.random() < keep:
                    piece = data[begin : begin + SECTOR_BYTES]
                    self.durable[offset + begin : offset + begin + len(piece)] = piece
        self.unflushed.clear()
        self.content[:] = self.durable
        self.is_closed = False
        self.hook = None

    def fail(self, why: str = "Input/output error") -> None:
        self.failure = f"disk {self._name}: {why}"

    def heal(self) -> None:
        self.failure = None
        self.fail_after = None

    def rot(self, offset: int, length: int, rng: random.Random) -> None:
        noise = rng.randbytes(length)
        self.content[offset : offset + length] = noise
        self.durable[offset : offset + length] = noise

    # -- inside --------------------------------------------------------------------------------------------

    def _check(self, offset: int, length: int) -> None:
        assert not self.is_closed, f"disk {self._name} is closed"
        assert offset % BLOCK_BYTES == 0 and length % BLOCK_BYTES == 0, (offset, length)
        assert offset >= 0 and offset + length <= len(self.content), (offset, length, len(self.content))
        if self.failure is not None:
            raise DiskFailed(self.failure)

    def _step(self, what: str) -> None:
        if self.hook is not None:
            self.hook(self._name, what)
        if self.fail_after is not None:
            self.fail_after -= 1
            if self.fail_after < 0:
                self.fail()
                raise DiskFailed(f"disk {self._name}: Input/output error")

    def _write(self, offset: int, data: Sequence[memoryview | bytes]) -> None:
        whole = b"".join(data)
        self._check(offset, len(whole))
        self._step("write")
        if self.misdirect_next is not None:
            offset, self.misdirect_next = self.misdirect_next, None
        self.writes += 1
        if self.unreadable:
            self.unreadable.difference_update(range(offset, offset + len(whole), BLOCK_BYTES))
        self.content[offset : offset + len(whole)] = whole
        self.unflushed.append((offset, whole))

    def _flush(self) -> None:
        self._check(0, 0)
        self._step("flush")
        self.flushes += 1
        for offset, data in self.unflushed:
            self.durable[offset : offset + len(data)] = data
        self.unflushed.clear()
