"""What the pool does by itself: retire disks that stay away or crawl, repair, even out, scrub in time.

    every 2 s (and when told): disks changed? -> back-off forgotten
      away longer than the retire delay  -> retired  (Always; Auto: if a hot spare can take its place; Never)
      slow outlier                       -> retired, if nothing else is wrong and its slabs fit elsewhere
      slabs lack a copy that can be made -> repair job    (again after 10 s, 1 min, 10 min, 1 h if it was in
      vain)
      fill uneven after disks were added -> optimize job
      a week since the last scrub        -> scrub job

A repair that achieves nothing is not tried at once again; after three such attempts there is a fault
(health.py) with the reason, and the attempts go on once an hour. Any change of the disks starts anew. A job
that somebody cancelled isn't started again until the disks change.
Owner: Pool. Awaits the Runtime, the runner and the JobHost. Source: docs/design-spaces.md; Set-StoragePool
(RetireMissingPhysicalDisks); Azure Stack HCI, repair that never ends because of one slow disk.
"""

from __future__ import annotations

from typing import Final

from storage.errors import StorageError
from storage.pool.jobs.job import Job, JobKind, JobState
from storage.pool.jobs.optimize import unevenness
from storage.pool.jobs.plan import next_step
from storage.pool.jobs.port import JobHost
from storage.pool.jobs.runner import JobRunner
from storage.pool.latency import WINDOW_S, Outlier
from storage.pool.metadata import DiskState, RetireMissing
from storage.runtime import Event, Runtime

TICK_S: Final = 2.0
BACKOFF_S: Final = (10.0, 60.0, 600.0, 3600.0)
FRUITLESS_MAX: Final = 3
WEEK_S: Final = 7 * 24 * 3600.0

Fingerprint = tuple[tuple[int, bool, bool], ...]


class Automatic:
    """`scrub_every_s` None: never by itself. Nothing happens before `start`."""

    def __init__(self, host: JobHost, runtime: Runtime, runner: JobRunner) -> None:
        self._host = host
        self._runtime = runtime
        self._runner = runner
        self.scrub_every_s: float | None = WEEK_S
        self.optimizes = True
        self.repair_trouble = ""
        """Why repair was in vain, once it was three times in a row."""
        self._attempts = 0
        self._next_repair_s = 0.0
        self._is_cancelled = False
        self._seen: Fingerprint = ()
        self._whole_at: tuple[object, ...] = ()
        self._even_at: Fingerprint = ()
        self._away_since: dict[int, float] = {}
        self._windows_from_s = 0.0
        self._last_scrub_s = 0.0
        self._wake: Event | None = None
        self._is_on = False

    def start(self, since_scrub_s: float = 0.0) -> None:
        """`since_scrub_s`: how long ago the last scrub ended."""
        if not self._is_on:
            self._is_on = True
            now = self._runtime.now()
            self._last_scrub_s = now - since_scrub_s
            self._windows_from_s = now
            self._runner.on_end = self._job_ended
            self._runtime.spawn(self._loop, "pool upkeep")

    def stop(self) -> None:
        self._is_on = False
        self.kick()

    def kick(self) -> None:
        """Look now."""
        if self._wake is not None:
            self._wake.set()

    async def _loop(self) -> None:
        while self._is_on:
            try:
                await self.review()
            except (StorageError, ValueError):  # too many jobs, the pool stopped: looked at again
                pass
            wake = self._wake = self._runtime.event()

            async def alarm(wake: Event = wake) -> None:
                await self._runtime.sleep(TICK_S)
                wake.set()

            self._runtime.spawn(alarm, "pool upkeep alarm")
            await wake.wait()

    # -- one look ------------------------------------------------------------------------------------------

    async def review(self) -> None:
        """Raises: PoolUnavailable, ValueError (too many jobs run already)."""
        now = self._runtime.now()
        disks = self._fingerprint()
        if disks != self._seen:
            self._seen = disks
            self._forgive(now)
        await self._retire_missing(now)
        await self._retire_slow(now)
        kinds = {job.kind for job in self._runner.live()}
        if JobKind.REPAIR not in kinds and self._may_repair(now) and self.needs_repair():
            await self._runner.submit(JobKind.REPAIR, None, self._pool_name(), is_background=True)
            return
        if kinds:
            return
        if self.optimizes and self.is_suboptimal() and not self.needs_repair():
            self._even_at = disks
            await self._runner.submit(JobKind.OPTIMIZE, None, self._pool_name(), is_background=True)
        elif self.scrub_every_s is not None and now - self._last_scrub_s >= self.scrub_every_s:
            self._last_scrub_s = now
            await self._runner.submit(JobKind.SCRUB, None, self._pool_name(), is_background=True)

    def _pool_name(self) -> str:
        return self._host.state.pool.name

    def _fingerprint(self) -> Fingerprint:
        there, retired = set(self._host.disks_there()), set(self._host.disks_retired())
        return tuple(
            (number, number in there, number in retired) for number in sorted(self._host.state.disks)
        )

    def _forgive(self, now: float) -> None:
        self._attempts = 0
        self._next_repair_s = now
        self._is_cancelled = False
        self.repair_trouble = ""

    def _may_repair(self, now: float) -> bool:
        return not self._is_cancelled and now >= self._next_repair_s

    def needs_repair(self) -> bool:
        """Is there a slab that lacks a copy and could have it? Asked often, so it looks only where something
        changed since the answer was no."""
        spaces = self._host.state.spaces
        marks = tuple((one, len(state.stale_rows), len(state.joining_rows)) for one, state in spaces.items())
        now = (self._fingerprint(), marks)
        if any(self._host.slabs_on(number) for number in self._host.disks_retired()):
            return True
        if now == self._whole_at:
            return False
        there, retired = set(self._host.disks_there()), set(self._host.disks_retired())
        for state in spaces.values():
            for row in state.stale_rows | state.joining_rows:
                for copies in state.columns(row) or ():
                    if next_step(copies, there, retired) is not None:
                        return True
        self._whole_at = now
        return False

    def is_suboptimal(self) -> bool:
        """Are the disks filled unevenly, and has nobody tried yet to even out these disks?"""
        return self._even_at != self._fingerprint() and unevenness(self._host) > 1

    # -- disks ---------------------------------------------------------------------------------------------

    async def _retire_missing(self, now: float) -> None:
        pool = self._host.state.pool
        there, retired = set(self._host.disks_there()), set(self._host.disks_retired())
        for number in list(self._away_since):
            if number in there or number not in self._host.state.disks:
                del self._away_since[number]
        for number, disk in sorted(self._host.state.disks.items()):
            if number in there or number in retired or disk.state is DiskState.OK or disk.flags:
                continue
            since = self._away_since.setdefault(number, now)
            wanted = pool.retire_missing is RetireMissing.ALWAYS or (
                pool.retire_missing is RetireMissing.AUTO and self._host.has_spare()
            )
            if wanted and now - since >= pool.retire_delay_s:
                await self._host.retire_disk(number)

    async def _retire_slow(self, now: float) -> None:
        """Every window the disks' times are compared; one outlier at a time goes."""
        if now - self._windows_from_s >= WINDOW_S:
            self._windows_from_s = now
            self._host.latency_window()
        for number in sorted(self._host.slow_disks()):
            if number in self._host.disks_there() and self._can_spare(number):
                await self._host.retire_disk(number)
                return

    def _can_spare(self, number: int) -> bool:
        """Is everything else well, and is there room for its slabs on the others?"""
        if set(self._host.disks_retired()) or self.needs_repair():
            return False
        others = [one for one in self._host.disks_filled() if one != number]
        away = [one for one in self._host.state.disks if one not in self._host.disks_there()]
        free = sum(self._host.state.disks[one].slab_count - self._host.slabs_on(one) for one in others)
        return not away and free >= self._host.slabs_on(number)

    def slow_disks(self) -> dict[int, Outlier]:
        return dict(self._host.slow_disks())

    # -- jobs ----------------------------------------------------------------------------------------------

    def _job_ended(self, job: Job) -> None:
        now = self._runtime.now()
        if job.kind is JobKind.SCRUB:
            self._last_scrub_s = now
        if job.kind not in (JobKind.REPAIR, JobKind.REMOVE):
            return
        if job.state is JobState.KILLED:
            self._is_cancelled = job.kind is JobKind.REPAIR
        elif job.state is JobState.COMPLETED:
            self._attempts = 0
            self.repair_trouble = ""
        else:
            self._attempts = 1 if job.tasks_done else self._attempts + 1
            self._next_repair_s = now + BACKOFF_S[min(self._attempts, len(BACKOFF_S)) - 1]
            if self._attempts >= FRUITLESS_MAX:
                self.repair_trouble = job.error
        self.kick()
