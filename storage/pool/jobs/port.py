"""Port: what jobs ask of the pool; and what a kind of job is to the runner.

A move never leaves a slab with fewer good copies than it had:

    start_copy   a new slab, "joining" and stale, durable: writes go to it from now on          (P6)
    refill       (the space's machine) it holds what it should, verified
    finish_copy  its disk is flushed, it is current, the copy it stands for is freed; durable   (P7)
    drop_copy    gives up a joining copy that nobody needs any more

Source: docs/design-spaces.md.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from storage.errors import DiskFailed
from storage.pool.latency import Outlier
from storage.pool.metadata import CopyRecord, PoolState
from storage.space.machine import Pace, SpaceMachine
from storage.space.slabset import Place, SlabSet

Run = Callable[[Pace], Awaitable[bool]]


class Key(NamedTuple):
    """What a task works on; no two tasks work on the same at once. A scrub works on a whole row (-1)."""

    space_id: int
    row: int
    column: int


class JobHost(Protocol):
    """Raises where it awaits: PoolUnavailable, and what is said."""

    @property
    def state(self) -> PoolState: ...
    @property
    def machines(self) -> Mapping[int, SpaceMachine]: ...
    @property
    def slab_bytes(self) -> int: ...

    def disks_there(self) -> Collection[int]:
        """The disks that can be read and written."""
        ...

    def disks_retired(self) -> Collection[int]:
        """Those that are to be emptied, there or not."""
        ...

    def slabs_on(self, number: int) -> int:
        """Slabs of that disk that belong to a row."""
        ...

    def disks_filled(self) -> Collection[int]:
        """The disks there that data is spread over: those that take new slabs on their own."""
        ...

    def may_hold(self, machine: SpaceMachine, copy: CopyRecord, beside: Collection[int], onto: int) -> bool:
        """Do the allocation rules let this copy go to that disk, while slabs that must not share a fault
        domain with it are on the disks `beside`?"""
        ...

    def has_spare(self) -> bool:
        """Is there a hot spare with a free slab?"""
        ...

    def slow_disks(self) -> Mapping[int, Outlier]: ...
    def latency_window(self) -> None:
        """Compare what the disks' calls took since the last time."""
        ...

    def disk_failed(self, number: int, error: DiskFailed) -> None: ...
    async def retire_disk(self, number: int) -> None: ...
    async def drop_disk(self, number: int) -> None:
        """The disk leaves the pool; it is empty. Raises: PoolInUse."""
        ...

    async def start_copy(
        self, machine: SpaceMachine, slabs: SlabSet, replaces: CopyRecord | None, onto: int | None = None
    ) -> Place:
        """A new copy for the column, on a disk chosen by the allocation rules (or `onto` that one); hot
        spares
        count. Raises: PoolFull, DiskFailed."""
        ...

    async def finish_copy(
        self, machine: SpaceMachine, slabs: SlabSet, place: Place, drop: CopyRecord | None
    ) -> None:
        """Raises: DiskFailed."""
        ...

    async def drop_copy(self, machine: SpaceMachine, slabs: SlabSet, copy: CopyRecord) -> None: ...
    def take_job_id(self) -> int:
        """Never given before; durable with the next record."""
        ...

    async def save_job(
        self, job_id: int, kind: int, target: int | None, state: int, checkpoint: bytes
    ) -> None: ...
    async def drop_job(self, job_id: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Task:
    """One slab or row. `run` raises a StorageError if it fails; False: there was nothing left to do."""

    key: Key
    size_bytes: int
    run: Run


class Work(Protocol):
    """What a kind of job has to do. The runner surveys, runs all tasks, and surveys again until nothing is
    found."""

    async def survey(self, pace: Pace) -> list[Task]:
        """The tasks that are to do now. `pace` is awaited with 0 now and then."""
        ...

    def ended(self, task: Task) -> bytes | None:
        """A task ended, well or not. The new checkpoint, if it moved."""
        ...

    async def conclude(self) -> None:
        """All tasks succeeded. Raises a StorageError if the job hasn't reached its end all the same."""
        ...
