"""Where a byte of a space lies: a pure map between space offsets and (row, column, offset in the slab).

    space    | stripe 0                  | stripe 1                  | ...      one row = columns x slab bytes
             | I bytes | I bytes | I ... | I bytes | ...
    column       0         1        2        0                                   I = interleave
    slab off     0         0        0        I

A row is what Windows calls a slab tuple of the whole width: one slab per column (and per copy), allocated
together. `Interleave` bytes go to one column before the next is used; interleave x columns is one stripe of
user data. Source: New-VirtualDisk -Interleave, -NumberOfColumns. Invariants: `unmap(map(x)) == x`; interleave
divides the slab. Units: bytes. No I/O, no state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from storage.units import BLOCK_BYTES, SpaceOffset

PAGE_BLOCKS = 512
"""Blocks whose checksums share one 4 KiB page; a run never crosses such a page."""
PAGE_SPAN_BYTES = PAGE_BLOCKS * BLOCK_BYTES
RUN_MAX_BYTES = 1 << 20
"""A run of a space with one column: what a disk takes inline (storage/io/filedisk.py)."""


class Run(NamedTuple):
    """Bytes of a space that are consecutive in one slab, inside one checksum page."""

    row: int
    column: int
    slab_offset: int
    length: int


@dataclass(frozen=True, slots=True)
class StripeMap:
    columns: int
    interleave_bytes: int
    slab_bytes: int

    def __post_init__(self) -> None:
        for size in (self.interleave_bytes, self.slab_bytes):
            if size < BLOCK_BYTES or size & (size - 1):
                raise ValueError(
                    f"interleave and slab must be powers of two of at least {BLOCK_BYTES}, not {size}"
                )
        if self.columns < 1 or self.interleave_bytes > min(self.slab_bytes, RUN_MAX_BYTES):
            raise ValueError(
                f"{self.columns} columns with interleave {self.interleave_bytes} do not fit a slab"
            )

    @property
    def row_bytes(self) -> int:
        return self.columns * self.slab_bytes

    @property
    def unit_bytes(self) -> int:
        """Consecutive bytes of the space that are consecutive in a slab."""
        return min(self.slab_bytes, RUN_MAX_BYTES) if self.columns == 1 else self.interleave_bytes

    def map(self, offset: SpaceOffset) -> Run:
        """The place of one byte, and how many bytes from it on are consecutive there."""
        row, within = divmod(offset, self.columns * self.slab_bytes)
        unit = self.unit_bytes
        number, rest = divmod(within, unit)
        stripe, column = divmod(number, self.columns)
        return Run(row, column, stripe * unit + rest, unit - rest)

    def runs(self, offset: SpaceOffset, length: int) -> list[Run]:
        """The range, cut where it changes slab or checksum page, in space order."""
        found = []
        while length > 0:
            row, column, at, run = self.map(offset)
            run = min(run, length)
            found.append(Run(row, column, at, run))
            offset = SpaceOffset(offset + run)
            length -= run
        return found

    def unmap(self, row: int, column: int, slab_offset: int) -> SpaceOffset:
        unit = self.unit_bytes
        stripe, rest = divmod(slab_offset, unit)
        return SpaceOffset(row * self.row_bytes + (stripe * self.columns + column) * unit + rest)
