"""Port: what the write-back cache needs of the space behind it.

Implementations: a mirror or simple space (`storage/cache/plain.py`), a parity space
(`storage/space/parity/`). All ranges here are whole 4 KiB blocks; bytes of the space.

    write -> journal (durable at a flush) ... later, by address:
             prepare -> redo records into the journal, flush -> apply -> flush -> retired from the journal
    crash -> redo(records, batch) of every batch with redo records that isn't retired, in their order; settle
    of
             every range noted; flush; then the data still in the journal is served from it and applied as
             usual

So a backing may leave anything torn between `apply` and the end of its `flush`: it will be given the same
redo records together with the same data, in the same order, before anybody reads.

Only the cache writes to a backing, and for one stripe it does one thing at a time: from `prepare` until the
batch is retired no other `prepare`, `write_fresh` or `trim` touches the stripes of the batch. Batches come
one after the other; `write_fresh`, `trim`, `read` and `flush` may run beside one, on other stripes. Source:
docs/design-spaces.md.
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
        can be written again. Allocates what the batch needs. None for spaces of copies; where blocks depend
        on each other, at least one (it may be empty bytes) for a batch that must be redone after a crash. The
        caller gives the same batch to `apply` next."""
        ...

    def redo_bytes_max(self, blocks: int) -> int:
        """At most so many bytes of redo records for a batch of so many blocks, wherever they lie; 0: never
        any, each block stands for itself."""
        ...

    async def apply(self, batch: Batch) -> None:
        """Write in place; visible at once, durable at the next `flush`."""
        ...

    async def redo(self, records: Sequence[bytes], batch: Batch) -> None:
        """At opening, instead of `apply`: do again what `prepare` returned these records for. The batch is
        the same, byte for byte; anything of it may be on the disks already, or torn. Durable at `flush`."""
        ...

    def may_pass(self, offset: int, length: int) -> bool:
        """May these bytes, to which nothing durable refers, be written around the journal?"""
        ...

    def pass_ranges(self, offset: int, length: int) -> Sequence[tuple[int, int]]:
        """(offset, length) that must be noted durably in the journal before `write_fresh`, as they are
        "being written" until the next `flush`; none if the backing keeps such notes itself. May be larger
        than asked, so that sequential writes note seldom; ranges given since the last `flush` began
        aren't given again: as it begins, a flush forgets which ranges it has given."""
        ...

    async def write_fresh(self, offset: SpaceOffset, data: Sequence[memoryview | bytes]) -> None: ...
    def write_fresh_now(self, offset: SpaceOffset, data: Sequence[memoryview | bytes]) -> bool: ...

    async def settle(self, ranges: Sequence[tuple[int, int]]) -> None:
        """At opening, after `redo`: stripes in these ranges may have been torn; make each consistent,
        whatever it then holds where it was being written."""
        ...

    async def flush(self) -> None: ...
    async def trim(self, offset: SpaceOffset, length: int) -> None: ...
