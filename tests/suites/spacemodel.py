"""A dumb model of what a space may read as: now, and after a power cut.

Per 512-byte sector it keeps every content that a read may return: exactly one while the power is on; after a
power cut any of those written since the last completed flush, or the one before.
"""

from __future__ import annotations

from typing import Final

from storage.units import BLOCK_BYTES
from tests.suites.memoryspace import SECTOR_BYTES

ZERO: Final = bytes(SECTOR_BYTES)


class Model:
    """What a space holds. Sizes are multiples of a sector; ranges are any bytes."""

    def __init__(self, size_bytes: int) -> None:
        self.now = bytearray(size_bytes)
        self.may_be: dict[int, set[bytes]] = {}
        """Sectors written since the last flush -> what else they may read as after a power cut."""
        self.anything: set[int] = set()
        """Sectors that may read as anything after a power cut."""

    def write(self, offset: int, data: bytes, fresh: bool = False) -> None:
        """Call it before the write is tried."""
        if fresh:
            blocks = range(offset // BLOCK_BYTES, -(-(offset + len(data)) // BLOCK_BYTES))
            self.anything.update(sector for block in blocks for sector in range(block * 8, block * 8 + 8))
        sectors = range(offset // SECTOR_BYTES, -(-(offset + len(data)) // SECTOR_BYTES))
        for sector in sectors:
            self.may_be.setdefault(sector, set()).add(self._sector(sector))
        self.now[offset : offset + len(data)] = data
        for sector in sectors:
            self.may_be[sector].add(self._sector(sector))

    def trim(self, offset: int, length: int) -> None:
        """Reads as it was or as zeros until written again; the power is on."""
        for sector in range(offset // SECTOR_BYTES, -(-(offset + length) // SECTOR_BYTES)):
            self.may_be.setdefault(sector, set()).update((self._sector(sector), ZERO))

    def settle(self, content: bytes | bytearray) -> None:
        """What it reads as now is what it holds."""
        self.now[:] = content

    def unflushed(self) -> set[int]:
        return set(self.may_be) | self.anything

    def flushed(self, before: set[int]) -> None:
        """A flush that began when `before` were the unflushed sectors has ended."""
        for sector in before:
            self.may_be.pop(sector, None)
            self.anything.discard(sector)

    def check_cut(self, content: bytes | bytearray) -> None:
        """After a power cut."""
        for sector in range(len(self.now) // SECTOR_BYTES):
            found = bytes(content[sector * SECTOR_BYTES : (sector + 1) * SECTOR_BYTES])
            allowed = self.may_be.get(sector, set()) | {self._sector(sector)}
            known = found in allowed or sector in self.anything
            assert known, f"sector {sector} is neither old nor new ({len(allowed)} contents allowed)"
        self.now[:] = content
        self.may_be.clear()
        self.anything.clear()

    def _sector(self, sector: int) -> bytes:
        return bytes(self.now[sector * SECTOR_BYTES : (sector + 1) * SECTOR_BYTES])
