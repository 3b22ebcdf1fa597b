"""The jobs of one pool, as its users see them: ask for one, watch, stop; and the pool's own upkeep.

    Pool.jobs --> repair(), scrub(), optimize(), remove() --> JobRunner --> repair.py scrub.py optimize.py
       start() --> saved jobs go on; Automatic looks after the disks

Nothing runs by itself before `start`. Owner: Pool. Source: docs/design-spaces.md, "Jobs"; Get-StorageJob,
Stop-StorageJob, Repair-VirtualDisk, Optimize-StoragePool.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from storage.pool.jobs.automatic import Automatic
from storage.pool.jobs.job import ENDED, Job, JobKind, JobState, JobStatus
from storage.pool.jobs.optimize import OptimizeWork, unevenness
from storage.pool.jobs.pace import QueueDepth
from storage.pool.jobs.port import JobHost, Work
from storage.pool.jobs.repair import RepairWork
from storage.pool.jobs.runner import JobRunner, SavedJob
from storage.pool.jobs.scrub import ScrubWork
from storage.pool.latency import Outlier
from storage.pool.metadata import Usage
from storage.runtime import Runtime

FILETIMES_PER_S: Final = 10_000_000


class PoolJobs:
    """`automatic` holds the settings of what happens by itself."""

    def __init__(self, host: JobHost, runtime: Runtime) -> None:
        self._host = host
        self._runtime = runtime
        self._runner = JobRunner(host, runtime, self._work_of)
        self.automatic = Automatic(host, runtime, self._runner)

    # -- life ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Once, when the pool is open: jobs that were running go on."""
        since_scrub_s = 0.0
        saved: list[SavedJob] = []
        for record in self._host.state.jobs.values():
            kind, state = _kind(record.kind), _state(record.state)
            if kind is None or state is None:
                continue  # of a later version
            if state in ENDED:
                if kind is JobKind.SCRUB:
                    when = int.from_bytes(record.checkpoint, "little")
                    since_scrub_s = max(0.0, (self._runtime.filetime() - when) / FILETIMES_PER_S)
                continue
            name = self._target_name(kind, record.target)
            saved.append(SavedJob(record.job_id, kind, record.target, name, state, record.checkpoint))
        depth = self._host.state.pool.repair_queue_depth
        if depth in QueueDepth.__members__.values():
            self._runner.set_speed(QueueDepth(depth), None)
        self._runner.resume_saved(saved)
        self.automatic.start(since_scrub_s)

    async def stop(self) -> None:
        """Jobs stop at their next step; those that hadn't ended go on when the pool is opened again."""
        self.automatic.stop()
        await self._runner.stop()

    # -- jobs ----------------------------------------------------------------------------------------------

    def jobs(self) -> list[JobStatus]:
        """Those that run, then the last 32 that ended, the latest first."""
        return self._runner.jobs()

    def status(self, job_id: int) -> JobStatus:
        """Raises KeyError."""
        return self._runner.status(job_id)

    async def repair(self, space: str | None = None, is_background: bool = False) -> int:
        """Give every slab its copies back, of one space or of all. The job's id; likewise below. Raises:
        KeyError (no such space), PoolUnavailable, ValueError (too many jobs)."""
        return await self._submit(JobKind.REPAIR, self._space_id(space), is_background)

    async def scrub(self, space: str | None = None, is_background: bool = False) -> int:
        """Read and verify everything, repair what is bad. Raises as `repair`."""
        return await self._submit(JobKind.SCRUB, self._space_id(space), is_background)

    async def optimize(self) -> int:
        """Even out how full the disks are. Raises: PoolUnavailable, ValueError."""
        return await self._submit(JobKind.OPTIMIZE, None, False)

    async def remove(self, number: int) -> int:
        """Retire a disk, empty it and take it out of the pool. Raises: KeyError, PoolUnavailable,
        ValueError."""
        if self._host.state.disks[number].usage is not Usage.RETIRED:
            await self._host.retire_disk(number)
        return await self._submit(JobKind.REMOVE, number, False)

    async def wait(self, job_id: int) -> JobStatus:
        """Until it ended. Raises KeyError."""
        return await self._runner.wait(job_id)

    async def suspend(self, job_id: int) -> None:
        await self._runner.suspend(job_id)

    async def resume(self, job_id: int) -> None:
        await self._runner.resume(job_id)

    async def cancel(self, job_id: int) -> None:
        """Raises KeyError if it isn't running."""
        await self._runner.cancel(job_id)

    def set_speed(self, depth: QueueDepth, bytes_per_s: int | None = None) -> None:
        self._runner.set_speed(depth, bytes_per_s)

    def kick(self) -> None:
        """Something about the disks changed: look now, not at the next tick."""
        self.automatic.kick()

    # -- for status and health -----------------------------------------------------------------------------

    def is_repairing(self) -> bool:
        return any(job.kind in (JobKind.REPAIR, JobKind.REMOVE) for job in self._runner.live())

    def is_suboptimal(self) -> bool:
        """Disks are filled unevenly: Optimize would move slabs, or is doing so."""
        if any(job.kind is JobKind.OPTIMIZE for job in self._runner.live()):
            return True
        return self.automatic.is_suboptimal() and unevenness(self._host) > 1

    def slow_disks(self) -> Mapping[int, Outlier]:
        return self._host.slow_disks()

    # -- inside --------------------------------------------------------------------------------------------

    async def _submit(self, kind: JobKind, target: int | None, is_background: bool) -> int:
        return await self._runner.submit(kind, target, self._target_name(kind, target), is_background)

    def _space_id(self, name: str | None) -> int | None:
        if name is None:
            return None
        for space_id, machine in self._host.machines.items():
            if machine.name == name:
                return space_id
        raise KeyError(f"pool {self._host.state.pool.name} has no space named {name}")

    def _target_name(self, kind: JobKind, target: int | None) -> str:
        state = self._host.state
        if target is None:
            return state.pool.name
        if kind is JobKind.REMOVE:
            return f"disk {target}"
        return state.spaces[target].record.name if target in state.spaces else f"space {target}"

    def _work_of(self, job: Job) -> Work:
        if job.kind is JobKind.SCRUB:
            return ScrubWork(self._host, job.target, job.checkpoint)
        if job.kind is JobKind.OPTIMIZE:
            return OptimizeWork(self._host)
        if job.kind is JobKind.REMOVE:
            return RepairWork(self._host, None, disk=job.target)
        return RepairWork(self._host, job.target)


def _kind(number: int) -> JobKind | None:
    return JobKind(number) if number in JobKind.__members__.values() else None


def _state(number: int) -> JobState | None:
    return JobState(number) if number in JobState.__members__.values() else None
