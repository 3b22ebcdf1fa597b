"""Long work on the file system of a volume, as jobs beside those of the pool: retrim, slab consolidation,
tier optimisation (Optimize-Volume -ReTrim, -SlabConsolidate, -TierOptimize), a pinned file's move.

    submit -> RUNNING --work done--> COMPLETED
                      --stop()-----> KILLED          (at the work's next step)
                      --error------> EXCEPTION

Unlike the pool's jobs they are not resumed after a restart: what they did stays; they are asked for again.
Ids are "v1", "v2" ... of this run of the node. One job of a name for each volume at a time.
Owner: the node. Times: seconds on the injected clock."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from cluster.errors import OperatorError
from storage.errors import StorageError
from storage.fs.catalog import CatalogFileSystem
from storage.fs.mover import MoveResult, Pace
from storage.pool.jobs.job import JobState
from storage.runtime import Event, Runtime

HISTORY_MAX: Final = 32
JOBS_MAX: Final = 16
"""At once."""
RETRIM, CONSOLIDATE, TIER = "Retrim", "SlabConsolidate", "TierOptimize"

Work = Callable[[Pace], Awaitable[MoveResult | int]]
"""Bytes trimmed, or what was moved."""


class _Stopped(Exception):
    """The job was told to stop."""


class VolumeJob:
    """One job."""

    def __init__(
        self, number: int, volume: str, kind: str, total_bytes: int, now: float, done: Event
    ) -> None:
        self.id = f"v{number}"
        self.volume = volume
        self.kind = kind
        self.state = JobState.RUNNING
        self.total_bytes = total_bytes
        self.processed_bytes = 0
        self.started_s = now
        self.ended_s: float | None = None
        self.error = ""
        self.is_stopping = False
        self.done = done

    def row(self, now: float) -> dict[str, object]:
        """As the pool's jobs are told (cluster/admin/job.py)."""
        is_done = self.state is JobState.COMPLETED
        total = max(self.total_bytes, self.processed_bytes)
        percent = 100 if is_done else min(99, 100 * self.processed_bytes // total if total else 0)
        return {
            "id": self.id,
            "name": f"{self.volume} - {self.kind}",
            "state": self.state.name.capitalize(),
            "percent": percent,
            "processed bytes": self.processed_bytes,
            "total bytes": self.processed_bytes if is_done else total,
            "seconds": int((now if self.ended_s is None else self.ended_s) - self.started_s),
            "background": False,
            "error": self.error,
        }


class VolumeJobs:
    """See the module."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._jobs: list[VolumeJob] = []
        self._number = 0

    def rows(self) -> list[dict[str, object]]:
        """Those that run, then those that ended, the latest first."""
        now = self._runtime.now()
        running = [job for job in self._jobs if job.state is JobState.RUNNING]
        ended = [job for job in reversed(self._jobs) if job.state is not JobState.RUNNING]
        return [job.row(now) for job in running + ended]

    def find(self, job_id: str) -> VolumeJob | None:
        return next((job for job in self._jobs if job.id == job_id), None)

    def optimize(self, volume: str, kind: str, filesystem: CatalogFileSystem) -> VolumeJob:
        """Raises: OperatorError."""
        if kind == RETRIM:
            return self.submit(volume, kind, filesystem.retrim, filesystem.usage().free_bytes)
        if kind == CONSOLIDATE:
            return self.submit(volume, kind, filesystem.consolidate)
        return self.submit(volume, kind, lambda pace: filesystem.optimize_tiers(pace=pace))

    def submit(self, volume: str, kind: str, work: Work, total: int = 0) -> VolumeJob:
        """The running one, if there is the same already. Raises: OperatorError."""
        running = [job for job in self._jobs if job.state is JobState.RUNNING]
        for job in running:
            if (job.volume, job.kind) == (volume, kind):
                return job
        if len(running) >= JOBS_MAX:
            raise OperatorError(f"{JOBS_MAX} jobs of volumes are running already; wait for one or stop one")
        self._number += 1
        event = self._runtime.event()
        job = VolumeJob(self._number, volume, kind, total, self._runtime.now(), event)
        ended = [old for old in self._jobs if old.state is not JobState.RUNNING]
        if len(ended) >= HISTORY_MAX:
            self._jobs.remove(ended[0])
        self._jobs.append(job)
        self._runtime.spawn(lambda: self._run(job, work), f"{kind} of {volume}")
        return job

    async def stop(self, job: VolumeJob) -> None:
        """Returns when it has ended."""
        job.is_stopping = True
        await job.done.wait()

    async def stop_volume(self, volume: str) -> None:
        """All of a volume: it is about to be unmounted."""
        for job in list(self._jobs):
            if job.volume == volume and job.state is JobState.RUNNING:
                await self.stop(job)

    async def _run(self, job: VolumeJob, work: Work) -> None:
        async def pace(length: int) -> None:
            if job.is_stopping:
                raise _Stopped
            job.processed_bytes += length
            await self._runtime.sleep(0)

        try:
            job.error = _shortcoming(await work(pace))
            job.state = JobState.EXCEPTION if job.error else JobState.COMPLETED
        except _Stopped:
            job.state = JobState.KILLED
        except StorageError as error:
            job.state, job.error = JobState.EXCEPTION, str(error)
        finally:
            if job.state is JobState.RUNNING:
                job.state = JobState.KILLED
            job.ended_s = self._runtime.now()
            job.done.set()


def _shortcoming(result: MoveResult | int) -> str:
    """"" if all was done."""
    if isinstance(result, int):
        return ""
    if result.is_stopped:
        return "the volume was taken offline"
    if result.is_full:
        return f"{result.left_bytes} bytes were not moved: there is no room"
    return ""
