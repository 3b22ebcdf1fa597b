"""Port: what the write-back cache needs of the space behind it.

Implementations: a mirror or simple space (`storage/cache/plain.py`), a parity space
(`storage/space/parity/`). All ranges here are whole 4 KiB blocks; bytes of the space.

    write -> journal (durable at a flush) ... later, by address:
             prepare -> redo records into the journal, flush -> apply -> flush -> retired from the journal
    crash -> redo of every redo record not retired, settle of every range noted, then the data still in the
             journal is served from it and applied as usual

So a backing may leave anything torn between `apply` and the end of its `flush`: it will be given the same
redo records, in the same order, before anybody reads. Source: docs/design-spaces.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from storage.space.port import SpaceUsage
from storage.units import SpaceOffset

Batch = Sequence[tuple[int, memoryview]]
"""(offset, whole blocks), sorted by offset, without overlap."""


class Backing(Protocol):
    """Raises what a space raises: DiskFailed, BlockCorrupt, SlabLost, PoolFull, PoolUnavailable."""

    @property
    def name(self) -> str: ...
    @property
    def size_bytes(self) -> int: ...
    @property
    def stripe_bytes(self) -> int:
        """Destaging in multiples of this, aligned, costs least: a stripe of user data."""
        ...

    def usage(self) -> SpaceUsage: ...
    def read_now(self, offset: SpaceOffset, into: memoryview) -> bool: ...
    async def read(self, offset: SpaceOffset, into: memoryview) -> None: ...
    def read_blocking(self, offset: SpaceOffset, into: memoryview) -> None: ...

    async def prepare(self, batch: Batch) -> Sequence[bytes]:
        """Redo records that must be durable before `apply`: what else `apply` will write (parity), so that it
        can be written again. Allocates what the batch needs. None for spaces of copies. The caller gives the
        same batch to `apply` next, with no other `apply` or `trim` of the same stripes in between."""
        ...

    async def apply(self, batch: Batch) -> None:
        """Write in place; visible at once, durable at the next `flush`."""
        ...

    async def redo(self, records: Sequence[bytes]) -> None:
        """At opening: do again what these records say, in order, and forget none of it until `flush`."""
        ...

    def may_pass(self, offset: int, length: int) -> bool:
        """May these bytes, to which nothing durable refers, be written around the journal?"""
        ...

    def pass_ranges(self, offset: int, length: int) -> Sequence[tuple[int, int]]:
        """(offset, length) that must be noted durably in the journal before `write_fresh`, as they are
        "being written" until the next `flush`; none if the backing keeps such notes itself. May be larger
        than asked, so that sequential writes note seldom; ranges noted already aren't given again."""
        ...

    async def write_fresh(self, offset: SpaceOffset, data: Sequence[memoryview | bytes]) -> None: ...
    def write_fresh_now(self, offset: SpaceOffset, data: Sequence[memoryview | bytes]) -> bool: ...

    async def settle(self, ranges: Sequence[tuple[int, int]]) -> None:
        """At opening, after `redo`: stripes in these ranges may have been torn; make each consistent,
        whatever it then holds where it was being written."""
        ...

    async def flush(self) -> None: ...
    async def trim(self, offset: SpaceOffset, length: int) -> None: ...
