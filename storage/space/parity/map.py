"""Where a byte of a parity space lies, and where its truth does: pure maps.

    space    | stripe 0: D0 | D1 | stripe 1: D0 | D1 | ...    I bytes each; a row = data columns x slab bytes
    column      0    1    2                                   here: three columns, two of data
    stripe 0    D0   D1   P        role r of stripe s is on column (s + r) mod n; parities are the last roles
    stripe 1    P    D0   D1
    stripe 2    D1   P    D0

Stripe s of a row takes bytes [s I, (s + 1) I) of each of its slabs. The blocks with one number in their
slabs are a *slice*: one code word, as P and Q are made of them. The truth (docs/formats/parity.md) keeps the
entries (crc, generation) of a slice side by side, in column order, in a group of 4 or 8 entries that never
crosses a 512-byte sector: they change together, whatever a power cut does.

    truth    | row 0: slice 0 | slice 1 | ... | row 1: ...     group x 8 bytes a slice, pages of 4 KiB

Invariants: `unmap(map(x)) == x`; no two roles of a stripe share a column. Units: bytes, unless it says blocks
or slices. No I/O, no state.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from storage.space.checksums import ENTRY_BYTES
from storage.space.stripemap import RUN_MAX_BYTES
from storage.units import BLOCK_BYTES, SpaceOffset

COLUMNS_MAX: Final = 8
TRUTH_PAGE_BYTES: Final = 4096


class Place(NamedTuple):
    """A byte of the space: which role of which stripe, where in the slab, how many bytes go on there."""

    row: int
    stripe: int
    role: int
    slab_offset: int
    length: int


@dataclass(frozen=True, slots=True)
class ParityMap:
    columns: int
    parities: int
    interleave_bytes: int
    slab_bytes: int
    data_columns: int = field(init=False)
    row_bytes: int = field(init=False)
    """User data of a row,"""
    stripe_bytes: int = field(init=False)
    """and of a stripe."""
    row_stripes: int = field(init=False)
    unit_blocks: int = field(init=False)
    """Slices of a stripe,"""
    slab_blocks: int = field(init=False)
    """and of a row."""
    group: int = field(init=False)
    """Entries kept for a slice; those above `columns` stay zero."""
    page_slices: int = field(init=False)
    row_pages: int = field(init=False)

    def __post_init__(self) -> None:
        for size in (self.interleave_bytes, self.slab_bytes):
            if size < BLOCK_BYTES or size & (size - 1):
                raise ValueError(
                    f"interleave and slab must be powers of two of at least {BLOCK_BYTES}, not {size}"
                )
        if self.interleave_bytes > min(self.slab_bytes, RUN_MAX_BYTES):
            raise ValueError(f"interleave {self.interleave_bytes} does not fit a slab of {self.slab_bytes}")
        if self.parities not in (1, 2) or not self.parities + 1 < self.columns <= COLUMNS_MAX:
            raise ValueError(f"{self.columns} columns with {self.parities} of parity are no parity space")
        data = self.columns - self.parities
        group = 4 if self.columns <= 4 else 8
        page_slices = TRUTH_PAGE_BYTES // (group * ENTRY_BYTES)
        slab_blocks = self.slab_bytes // BLOCK_BYTES
        derived = {
            "data_columns": data,
            "row_bytes": data * self.slab_bytes,
            "stripe_bytes": data * self.interleave_bytes,
            "row_stripes": self.slab_bytes // self.interleave_bytes,
            "unit_blocks": self.interleave_bytes // BLOCK_BYTES,
            "slab_blocks": slab_blocks,
            "group": group,
            "page_slices": page_slices,
            "row_pages": -(-slab_blocks // page_slices),
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)

    # -- data ----------------------------------------------------------------------------------------------

    def map(self, offset: int) -> Place:
        row, within = divmod(offset, self.row_bytes)
        unit, rest = divmod(within, self.interleave_bytes)
        stripe, role = divmod(unit, self.data_columns)
        return Place(row, stripe, role, stripe * self.interleave_bytes + rest, self.interleave_bytes - rest)

    def unmap(self, row: int, role: int, slab_offset: int) -> SpaceOffset:
        """Of a data role."""
        stripe, rest = divmod(slab_offset, self.interleave_bytes)
        unit = stripe * self.data_columns + role
        return SpaceOffset(row * self.row_bytes + unit * self.interleave_bytes + rest)

    def column_of(self, stripe: int, role: int) -> int:
        return (stripe + role) % self.columns

    def role_of(self, stripe: int, column: int) -> int:
        return (column - stripe) % self.columns

    # -- truth ---------------------------------------------------------------------------------------------

    def page_of(self, row: int, slice_number: int) -> int:
        return row * self.row_pages + slice_number // self.page_slices

    def truth_bytes(self, size_bytes: int) -> int:
        """How large the truth of a space of that size must be."""
        return -(-size_bytes // self.row_bytes) * self.row_pages * TRUTH_PAGE_BYTES
