"""Port: a space of some resiliency, as the pool sees it: rows of slabs, and what keeps them good.

Implementations: `storage/space/mirror.py` (simple and mirror), `storage/space/parity/`. The pool allots
slabs, keeps the durable map and decides which disks are there; the machine knows what lies in the slabs.
Source: docs/design-spaces.md.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from storage.pool.metadata import CopyRecord, SpaceState
from storage.space.slabset import Place, SlabSet

Pace = Callable[[int], Awaitable[None]]
"""Awaited before each step of long work with the bytes it is about to move; rate, pause and the end of the
job are decided there (it raises to stop)."""


@dataclass(slots=True)
class ScrubResult:
    """Blocks of 4 KiB, counted on each disk."""

    checked: int = 0
    repaired: int = 0
    lost: int = 0


class SpaceMachine(Protocol):
    state: SpaceState
    rows: dict[int, list[SlabSet]]
    """One SlabSet a column, of the rows looked at so far."""
    dirty: dict[SlabSet, None]
    flush_failure: str | None
    is_deleted: bool

    @property
    def name(self) -> str: ...
    @property
    def tolerance(self) -> int:
        """Fault domains that may be lost at once."""
        ...

    def row(self, number: int) -> list[SlabSet] | None:
        """None if it isn't allocated."""
        ...

    def attach_row(self, number: int, columns: list[list[CopyRecord]]) -> list[SlabSet]: ...
    def detach_row(self, number: int) -> None: ...

    def is_row_lost(self, number: int) -> bool:
        """Are more slabs of the row gone or stale than the resiliency tolerates?"""
        ...

    def may_mark_stale(self, slabs: SlabSet) -> bool:
        """Can every byte of the row be had without the copies that are absent now? Only then may they be
        marked stale; otherwise their disks, once back, are the truth."""
        ...

    async def prepare_row(self, number: int) -> None:
        """Before the row's record is committed: whatever remembers the contents of a row says "never
        written", durably."""
        ...

    async def recover(self, logged: Mapping[int, Mapping[int, int]]) -> None:
        """At opening, before anybody uses it. `logged`: disk -> slab -> regions in its write-intent log.
        What a crash left torn becomes consistent, on every copy that is there."""
        ...

    async def refill(self, slabs: SlabSet, target: Place, pace: Pace) -> int:
        """Make the stale copy at `target` hold what it should: only what differs is written, each block is
        verified after it was written. Writers go on meanwhile. Bytes copied. The caller flushes the target's
        disk and
        then drops the stale mark. Raises: DiskFailed, SlabLost, BlockCorrupt."""
        ...

    async def flush(self) -> None:
        """What was written so far, repairs too, is durable on return."""
        ...

    async def scrub_row(self, number: int, pace: Pace) -> ScrubResult:
        """Read and verify every written block of every copy that is current; repair what is bad."""
        ...

    async def repair_suspects(self) -> None:
        """Look again, with repair, at blocks that a read in another thread found bad."""
        ...
