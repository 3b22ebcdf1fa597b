"""Port: what jobs ask of the pool. `storage/pool/core.py` with `storage/pool/moves.py` is the implementation.

A move never leaves a slab with fewer good copies than it had:

    start_copy   a new slab, "joining" and stale, durable: writes go to it from now on          (P6)
    refill       (the space's machine) it holds what it should, verified; the disk is flushed
    finish_copy  current, durable; the copy it stands for is dropped and freed                  (P7)
    drop_copy    gives up a joining copy that nobody needs any more

Source: docs/design-spaces.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from storage.errors import DiskFailed
from storage.pool.metadata import CopyRecord, PoolState
from storage.runtime import Runtime
from storage.space.machine import SpaceMachine
from storage.space.slabset import Place, SlabSet


class JobHost(Protocol):
    @property
    def runtime(self) -> Runtime: ...
    @property
    def state(self) -> PoolState: ...
    @property
    def machines(self) -> Mapping[int, SpaceMachine]: ...

    def online_disks(self) -> set[int]:
        """The disks that are there and in use."""
        ...

    def disk_failed(self, number: int, error: DiskFailed) -> None: ...

    async def start_copy(
        self, machine: SpaceMachine, slabs: SlabSet, replaces: CopyRecord | None
    ) -> Place:
        """A new copy for the column, on a disk chosen by the allocation rules; hot spares count if it replaces
        a copy that is lost. Raises: PoolFull, PoolUnavailable, DiskFailed."""
        ...

    async def finish_copy(
        self, machine: SpaceMachine, slabs: SlabSet, place: Place, drop: CopyRecord | None
    ) -> None:
        """The copy at `place` was refilled: its disk is flushed, it becomes current, `drop` is freed, all durable.
        Raises: DiskFailed, PoolUnavailable."""
        ...

    async def drop_copy(self, machine: SpaceMachine, slabs: SlabSet, copy: CopyRecord) -> None:
        """Give up a joining copy. Raises: PoolUnavailable."""
        ...

    async def save_job(self, job_id: int, kind: int, target: int | None, state: int, checkpoint: bytes) -> None:
        """Durably. Raises: PoolUnavailable."""
        ...

    async def drop_job(self, job_id: int) -> None: ...
    async def drop_disk(self, number: int) -> None:
        """The disk leaves the pool; it is empty. Raises: PoolInUse."""
        ...
