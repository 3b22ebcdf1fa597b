"""How a space survives the loss of disks: how many copies, and which columns are legal.

A strategy here says what the pool must allocate for one row: `columns` times `copies` slabs, the copies of a
column in different fault domains. Simple and mirror spaces are one machine (`storage/space/mirror.py`) with 1
or n copies. Parity will be a kind with parity columns and a machine of its own behind the same port;
three-way mirror is one more line in the table. Source: Storage Spaces resiliency types (simple: 1 fault
domain; two-way mirror: 2); Set-ResiliencySetting column limits (simple 1..8; mirror: columns x copies up to 8
x copies).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final


class ResiliencyKind(IntEnum):
    """On-disk numbers."""

    SIMPLE = 0
    MIRROR = 1


class Provisioning(IntEnum):
    """On-disk numbers."""

    THIN = 0
    FIXED = 1


@dataclass(frozen=True, slots=True)
class Resiliency:
    name: str
    kind: ResiliencyKind
    copies: int
    columns_max: int = 8

    def columns_auto(self, domains: int) -> int:
        """As many columns as there are disks for, each column's copies on disks of their own."""
        return max(1, min(self.columns_max, domains // self.copies))


RESILIENCIES: Final = {
    strategy.name: strategy
    for strategy in (
        Resiliency("simple", ResiliencyKind.SIMPLE, copies=1),
        Resiliency("mirror", ResiliencyKind.MIRROR, copies=2),
    )
}
