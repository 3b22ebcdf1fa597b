"""Port: what a space's machine asks of the pool that it lives in. `storage/pool/core.py` implements it."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Protocol

from storage.errors import DiskFailed
from storage.runtime import Runtime
from storage.space.slabset import SlabSet

if TYPE_CHECKING:
    from storage.space.machine import SpaceMachine


class SpaceHost(Protocol):
    @property
    def runtime(self) -> Runtime: ...

    def disk_failed(self, number: int, error: DiskFailed) -> None:
        """A write or flush failed: use that disk no more; what its copies may lack is marked stale with the
        next commit."""
        ...

    async def read_failed(self, number: int, error: DiskFailed) -> None:
        """A read failed: it counts. The disk is used on if it still answers and doesn't fail often; the
        caller takes another copy, and writes the block again on this one. Otherwise it is out
        (`disk_failed`)."""
        ...

    def resolve(self, slabs: SlabSet) -> None:
        """Set `readers` and `writers` from `copies` and the disks that are there."""
        ...

    async def make_ready(self, slabs: SlabSet, regions: int) -> None:
        """Durably mark absent copies stale and log the regions: after it, writing in place is allowed, unless
        something changed meanwhile (the caller looks at `slabs.logged` and asks again).
        Raises: SlabLost, PoolUnavailable."""
        ...

    async def mark_stale(self, machine: SpaceMachine, row: int) -> None:
        """The row's copies that are absent are durably stale (P1). Raises: SlabLost (it isn't readable
        without
        them), PoolUnavailable."""
        ...

    async def allocate_row(self, space: SpaceMachine, row: int) -> None:
        """Give the space a row (`space.prepare_row`, `space.attach_row`). Raises: PoolFull,
        PoolUnavailable."""
        ...

    def release_row(self, space: SpaceMachine, row: int) -> None:
        """The row's slabs are free once that is durable."""
        ...

    async def flush_space(self, space: SpaceMachine) -> None:
        """The checksum pages in `space.dirty` and their disks, then what changed in the pool's metadata."""
        ...

    async def flush_disks(self, numbers: Collection[int]) -> None:
        """Side by side; the ones that fail are out."""
        ...

    async def commit(self) -> None:
        """What changed in the pool's metadata is durable. Raises: PoolUnavailable."""
        ...

    def page_loaded(self, slabs: SlabSet, number: int) -> None:
        """A checksum page came into memory; the pool bounds how many stay."""
        ...

    def rows_available(self, space: SpaceMachine) -> int: ...
    def count_repair(self, number: int, blocks: int) -> None: ...
