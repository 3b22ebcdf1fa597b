"""Port: what a space asks of the pool that it lives in. `storage/pool/pool.py` is the implementation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from storage.errors import DiskFailed
from storage.runtime import Runtime
from storage.space.slabset import SlabSet

if TYPE_CHECKING:
    from storage.space.mirror import MirrorSpace


class SpaceHost(Protocol):
    @property
    def runtime(self) -> Runtime: ...

    def disk_failed(self, number: int, error: DiskFailed) -> None:
        """Use that disk no more; what its copies may lack is marked stale with the next commit."""
        ...

    def resolve(self, slabs: SlabSet) -> None:
        """Set `readers` and `writers` from `copies` and the disks that are there."""
        ...

    async def make_ready(self, slabs: SlabSet, regions: int) -> None:
        """Durably mark absent copies stale and log the regions: after it, writing in place is allowed, unless
        something changed meanwhile (the caller looks at `slabs.logged` and asks again).
        Raises: SlabLost, PoolUnavailable."""
        ...

    async def allocate_row(self, space: MirrorSpace, row: int) -> None:
        """Give the space a row (`space.attach_row`). Raises: PoolFull, PoolUnavailable."""
        ...

    def release_row(self, space: MirrorSpace, row: int) -> None:
        """The row's slabs are free once that is durable."""
        ...

    async def flush_space(self, space: MirrorSpace) -> None: ...

    def page_loaded(self, slabs: SlabSet, number: int) -> None:
        """A checksum page came into memory; the pool bounds how many stay."""
        ...

    def rows_available(self, space: MirrorSpace) -> int: ...
    def count_repair(self, number: int, blocks: int) -> None: ...
