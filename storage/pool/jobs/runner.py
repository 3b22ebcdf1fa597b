"""Runs the jobs of a pool: several slabs at once, paced, watched, resumable.

    ask -> Job NEW -> record durable -> survey -> crew works -> survey again ... nothing found -> ended,
                                                                                              record gone
    watchdog: no progress for 60 s although nothing holds the job back -> EXCEPTION

A failing slab is counted, the others go on. A job that is told to end stops at its tasks' next step; nothing
is cancelled in the middle of a write. Records of jobs that haven't ended lie in the pool's metadata;
`resume_saved` goes on with them. Optimize waits for Repair and Remove: moving slabs of which a copy is
missing helps nobody.
Owner: Pool. Awaits the Runtime and the JobHost only. Source: docs/design-spaces.md, "Jobs".
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from storage.errors import StorageError
from storage.pool.batcher import detached
from storage.pool.jobs.crew import Crew, Held
from storage.pool.jobs.job import Job, JobKind, JobState, JobStatus
from storage.pool.jobs.pace import JobStopped, QueueDepth, Throttle
from storage.pool.jobs.port import JobHost, Task, Work
from storage.runtime import Event, Runtime

HISTORY_MAX: Final = 32
JOBS_MAX: Final = 16
"""At once."""
STUCK_S: Final = 60.0
WATCH_S: Final = 5.0
CHECKPOINT_S: Final = 10.0
WAIT_S: Final = 1.0
FIRST: Final = frozenset({JobKind.REPAIR, JobKind.REMOVE})

WorkOf = Callable[[Job], Work]


class SavedJob(NamedTuple):
    id: int
    kind: JobKind
    target: int | None
    target_name: str
    state: JobState
    checkpoint: bytes


class _Live:
    """A job that hasn't ended, with what it takes to run it."""

    __slots__ = ("crew", "done", "job", "saved_s", "throttle", "work")

    def __init__(self, job: Job, work: Work, throttle: Throttle, crew: Crew, done: Event) -> None:
        self.job = job
        self.work = work
        self.throttle = throttle
        self.crew = crew
        self.done = done
        self.saved_s = 0.0


class JobRunner:
    """Made by the pool; `work_of` makes what a job has to do."""

    def __init__(self, host: JobHost, runtime: Runtime, work_of: WorkOf) -> None:
        self._host = host
        self._runtime = runtime
        self._work_of = work_of
        self.depth = QueueDepth.MEDIUM
        self.bytes_per_s: int | None = None
        self._live: dict[int, _Live] = {}
        self._history: deque[Job] = deque(maxlen=HISTORY_MAX)
        self._held: Held = {}
        self._is_watching = False
        self._is_stopping = False
        self.on_end: Callable[[Job], None] = lambda job: None

    # -- what is asked of it -------------------------------------------------------------------------------

    def jobs(self) -> list[JobStatus]:
        """Those that run, then those that ended, the latest first."""
        now = self._runtime.now()
        live = [one.job.status(now) for one in self._live.values()]
        return live + [job.status(now) for job in reversed(self._history)]

    def live(self) -> list[Job]:
        return [one.job for one in self._live.values()]

    async def submit(self, kind: JobKind, target: int | None, name: str, is_background: bool) -> int:
        """Returns the job's id once its record is durable; that of the running one if there is the same
        already. Raises: PoolUnavailable, ValueError (too many jobs)."""
        for one in self._live.values():
            if (one.job.kind, one.job.target) == (kind, target) and not one.job.is_ended:
                return one.job.id
        if len(self._live) >= JOBS_MAX:
            raise ValueError(f"{JOBS_MAX} jobs are running already; wait for one or cancel one")
        live = self._add(Job(self._host.take_job_id(), kind, target, name, is_background))

        async def begin() -> int:
            try:
                await self._save(live)
            except StorageError:
                del self._live[live.job.id]
                raise
            self._spawn(live)
            return live.job.id

        return await detached(self._runtime, begin, "begin a job")

    def resume_saved(self, saved: Iterable[SavedJob]) -> None:
        """Go on with what a crash or the end of the server left."""
        for one in saved:
            job = Job(one.id, one.kind, one.target, one.target_name, is_background=True)
            job.checkpoint = one.checkpoint
            live = self._add(job)
            if one.state is JobState.SUSPENDED:
                job.suspend(self._runtime.now())
                live.throttle.suspend()
            self._spawn(live)

    async def wait(self, job_id: int) -> JobStatus:
        """Until it ended. Raises KeyError if it isn't known (any more)."""
        job = self._job(job_id)
        live = self._live.get(job_id)
        if live is not None:
            await live.done.wait()
        return job.status(self._runtime.now())

    def status(self, job_id: int) -> JobStatus:
        """Raises KeyError."""
        return self._job(job_id).status(self._runtime.now())

    async def suspend(self, job_id: int) -> None:
        """Raises: KeyError, PoolUnavailable."""
        live = self._live_job(job_id)
        if live.job.state in (JobState.NEW, JobState.RUNNING):
            live.job.suspend(self._runtime.now())
            live.throttle.suspend()
            await self._save(live)

    async def resume(self, job_id: int) -> None:
        """Raises: KeyError, PoolUnavailable."""
        live = self._live_job(job_id)
        if live.job.state is JobState.SUSPENDED:
            live.job.resume(self._runtime.now())
            live.throttle.resume()
            await self._save(live)

    async def cancel(self, job_id: int) -> None:
        """Returns when its tasks have stopped. Raises: KeyError."""
        live = self._live_job(job_id)
        if not live.job.is_ended:
            live.job.kill(self._runtime.now())
        live.throttle.stop()
        await live.done.wait()

    def set_speed(self, depth: QueueDepth, bytes_per_s: int | None) -> None:
        """For all jobs, from now on."""
        self.depth, self.bytes_per_s = depth, bytes_per_s
        for live in self._live.values():
            live.throttle.depth, live.throttle.bytes_per_s = depth, bytes_per_s
            live.crew.widen()

    async def stop(self) -> None:
        """The pool closes: jobs stop where they are, their records stay. What is stuck isn't waited for for
        long."""
        self._is_stopping = True
        for live in list(self._live.values()):
            live.throttle.stop()
        for live in list(self._live.values()):
            await live.done.wait()

    # -- inside --------------------------------------------------------------------------------------------

    def _add(self, job: Job) -> _Live:
        throttle = Throttle(self._runtime, self.depth, self.bytes_per_s)
        crew = Crew(self._runtime, job, throttle, self._held, self._after_task)
        live = _Live(job, self._work_of(job), throttle, crew, self._runtime.event())
        self._live[job.id] = live
        return live

    def _spawn(self, live: _Live) -> None:
        live.job.progress_s = self._runtime.now()
        self._runtime.spawn(lambda: self._run(live), f"job {live.job.id} {live.job.name}")
        if not self._is_watching:
            self._is_watching = True
            self._runtime.spawn(self._watch, "job watchdog")

    def _job(self, job_id: int) -> Job:
        for job in [*(live.job for live in self._live.values()), *self._history]:
            if job.id == job_id:
                return job
        raise KeyError(f"no job {job_id}")

    def _live_job(self, job_id: int) -> _Live:
        live = self._live.get(job_id)
        if live is None:
            raise KeyError(f"no job {job_id} is running")
        return live

    async def _save(self, live: _Live) -> None:
        job = live.job
        live.saved_s = self._runtime.now()
        await self._host.save_job(job.id, job.kind, job.target, job.state, job.checkpoint)

    async def _run(self, live: _Live) -> None:
        job = live.job
        try:
            await self._let_others_first(live)
            await live.throttle.turn()
            if job.state is JobState.NEW:
                job.start(self._runtime.now())
            await self._rounds(live)
            if not job.failed:
                await live.work.conclude()
            await live.throttle.turn()  # suspended at the very end: it ends when it is resumed
            if not job.is_ended:
                job.finish(self._runtime.now())
        except JobStopped:
            pass
        except StorageError as error:
            if not job.is_ended:
                job.fail(str(error), self._runtime.now())
        await self._ended(live)

    async def _let_others_first(self, live: _Live) -> None:
        if live.job.kind is JobKind.OPTIMIZE:
            while any(one.job.kind in FIRST for one in self._live.values()):
                await live.throttle.turn()
                await self._runtime.sleep(WAIT_S)

    async def _rounds(self, live: _Live) -> None:
        """Survey and work until a survey finds nothing that wasn't tried. Raises: JobStopped,
        StorageError."""

        async def look(count: int) -> None:
            live.job.progress_s = self._runtime.now()
            await live.throttle.step(count)

        while True:
            tasks = [task for task in await live.work.survey(look) if task.key not in live.crew.tried]
            if not tasks:
                return
            live.job.expect(sum(task.size_bytes for task in tasks))
            await live.crew.run(tasks)
            await live.throttle.turn()

    async def _after_task(self, job: Job, task: Task) -> None:
        live = self._live[job.id]
        checkpoint = live.work.ended(task)
        if checkpoint is None:
            return
        job.checkpoint = checkpoint
        if self._runtime.now() - live.saved_s >= CHECKPOINT_S:
            await self._save(live)

    async def _ended(self, live: _Live) -> None:
        """A job that the end of the server stopped keeps its record."""
        if live.job.is_ended:
            try:
                await self._drop_record(live.job)
            except StorageError as error:
                live.job.error = live.job.error or f"its record could not be dropped: {error}"
            self._history.append(live.job)
        del self._live[live.job.id]
        live.done.set()
        if live.job.is_ended:
            self.on_end(live.job)

    async def _drop_record(self, job: Job) -> None:
        """The last whole scrub leaves its record, with the time, so that the next one is in time."""
        if job.kind is not JobKind.SCRUB or job.target is not None or job.state is not JobState.COMPLETED:
            await self._host.drop_job(job.id)
            return
        for record in list(self._host.state.jobs.values()):
            if record.kind == JobKind.SCRUB and record.state == JobState.COMPLETED:
                await self._host.drop_job(record.job_id)
        when = self._runtime.filetime().to_bytes(8, "little")
        await self._host.save_job(job.id, job.kind, None, job.state, when)

    async def _watch(self) -> None:
        while self._live:
            await self._runtime.sleep(WATCH_S)
            now = self._runtime.now()
            for live in list(self._live.values()):
                job = live.job
                is_held_back = live.crew.is_held_back or job.state in (JobState.NEW, JobState.SUSPENDED)
                if is_held_back and not live.throttle.is_stopped:
                    job.progress_s = now
                elif now - job.progress_s > STUCK_S:
                    if not job.is_ended and not self._is_stopping:
                        job.fail(f"no progress for {int(now - job.progress_s)} s", now)
                    live.throttle.stop()
                    live.crew.give_up()
        self._is_watching = False
