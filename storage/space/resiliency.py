"""How a space survives the loss of disks: copies or parity, and which columns are legal.

A strategy says what the pool must allot for one row: `columns` times `copies` slabs. The copies of a mirror's
column lie in different fault domains; so do all columns of a parity row. Simple and mirror spaces are one
machine (`storage/space/mirror.py`), parity is another (`storage/space/parity/`). `columns` of parity counts
data and parity columns.

    name              copies  parity  columns              tolerates
    simple            1       0       1..8                 0
    mirror            2       0       1..8                 1     also called two-way-mirror
    three-way-mirror  3       0       1..8                 2
    parity            1       1       3..8                 1     also called single-parity
    dual-parity       1       2       4, 6, 8              2     2+2, 4+2, 6+2 by the number of fault domains

Source: Storage Spaces resiliency types and fault tolerance (fault domains, dual parity layouts: width + 1
domains, but for 2+2); Set-ResiliencySetting column limits. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final


class ResiliencyKind(IntEnum):
    """On-disk numbers."""

    SIMPLE = 0
    MIRROR = 1
    PARITY = 2


class Provisioning(IntEnum):
    """On-disk numbers."""

    THIN = 0
    FIXED = 1


@dataclass(frozen=True, slots=True)
class Resiliency:
    name: str
    kind: ResiliencyKind
    copies: int
    parity_columns: int = 0
    columns_legal: tuple[int, ...] = tuple(range(1, 9))

    @property
    def tolerance(self) -> int:
        """Fault domains that may be lost at once."""
        return self.copies - 1 + self.parity_columns

    @property
    def columns_max(self) -> int:
        return self.columns_legal[-1]

    def domains_min(self, columns: int | None = None) -> int:
        """Fault domains that a space needs at least."""
        if self.parity_columns:
            return columns or self.columns_legal[0]
        return self.copies

    def columns_auto(self, domains: int) -> int:
        """As many columns as there are fault domains for. Wide parity keeps one domain to rebuild into, and
        has
        a power of two of data columns: so writes of usual sizes are whole stripes. The least legal number if
        there are too few."""
        if self.parity_columns == 1:
            return 5 if domains >= 6 else 3
        if self.parity_columns == 2:
            return 8 if domains >= 9 else 6 if domains >= 7 else 4
        room = domains // self.copies
        return max([self.columns_legal[0], *(one for one in self.columns_legal if one <= room)])


_ALL: Final = (
    Resiliency("simple", ResiliencyKind.SIMPLE, copies=1),
    Resiliency("mirror", ResiliencyKind.MIRROR, copies=2),
    Resiliency("three-way-mirror", ResiliencyKind.MIRROR, copies=3),
    Resiliency("parity", ResiliencyKind.PARITY, 1, parity_columns=1, columns_legal=tuple(range(3, 9))),
    Resiliency("dual-parity", ResiliencyKind.PARITY, 1, parity_columns=2, columns_legal=(4, 6, 8)),
)
RESILIENCIES: Final = {one.name: one for one in _ALL}
ALIASES: Final = {"two-way-mirror": "mirror", "single-parity": "parity"}


def resiliency(name: str) -> Resiliency:
    """By its name or alias. Raises ValueError."""
    found = RESILIENCIES.get(ALIASES.get(name, name))
    if found is None:
        known = ", ".join([*RESILIENCIES, *ALIASES])
        raise ValueError(f"resiliency is one of {known}, not {name}")
    return found


def resiliency_of(kind: ResiliencyKind, copies: int, parity_columns: int) -> Resiliency:
    """The one that a space's record means. Raises ValueError: no such type."""
    for one in _ALL:
        if (one.kind, one.copies, one.parity_columns) == (kind, copies, parity_columns):
            return one
    raise ValueError(f"no resiliency is {kind.name} of {copies} copies, {parity_columns} parity columns")
