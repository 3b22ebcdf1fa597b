"""One job: what it is for, how far it is, and how it ends.

              start()            finish()
      NEW ------------> RUNNING ----------> COMPLETED
       |   suspend() |  ^     |  fail()
       |             v  | resume()
       |          SUSPENDED   +-----------> EXCEPTION
       |             |        |
       +-------------+--------+-----------> KILLED
                       kill()

States have Windows' names and numbers (MSFT_StorageJob: JobState). Invariants: bytes processed never go back
and never exceed the total; a job that COMPLETED has processed its total; a job that ended is never changed
again. A slab that fails is counted and doesn't end the job; a job that ends with failed slabs ends as
EXCEPTION, so that nobody takes it for done. Times are seconds on the injected clock. Owner: JobRunner. No
I/O.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

PROBLEMS_MAX: Final = 8
"""Failures that are told in words; more are counted."""


class JobKind(IntEnum):
    """On-disk numbers."""

    REPAIR = 1
    SCRUB = 2
    OPTIMIZE = 3
    REMOVE = 4


class JobState(IntEnum):
    """On-disk numbers, Windows' own."""

    NEW = 2
    RUNNING = 4
    SUSPENDED = 5
    COMPLETED = 7
    KILLED = 9
    EXCEPTION = 10


ENDED: Final = frozenset({JobState.COMPLETED, JobState.KILLED, JobState.EXCEPTION})
TRANSITIONS: Final = frozenset(
    {
        (JobState.NEW, JobState.RUNNING),
        (JobState.NEW, JobState.KILLED),
        (JobState.NEW, JobState.SUSPENDED),
        (JobState.NEW, JobState.EXCEPTION),
        (JobState.RUNNING, JobState.SUSPENDED),
        (JobState.RUNNING, JobState.COMPLETED),
        (JobState.RUNNING, JobState.EXCEPTION),
        (JobState.RUNNING, JobState.KILLED),
        (JobState.SUSPENDED, JobState.RUNNING),
        (JobState.SUSPENDED, JobState.EXCEPTION),
        (JobState.SUSPENDED, JobState.KILLED),
    }
)
NAMES: Final = {
    JobKind.REPAIR: "Repair",
    JobKind.SCRUB: "Scrub",
    JobKind.OPTIMIZE: "Optimize",
    JobKind.REMOVE: "Remove",
}


@dataclass(frozen=True, slots=True)
class JobStatus:
    """What is told of a job; fields as Get-StorageJob has them. `percent` is whole: 100 only when done."""

    id: int
    name: str
    kind: str
    target: str
    state: str
    percent: int
    bytes_processed: int
    bytes_total: int
    elapsed_s: float
    is_background: bool
    error: str


@dataclass(slots=True)
class Job:
    """`target`: the id of a space, or for REMOVE the number of a disk; None: the whole pool. `underway`:
    bytes
    moved so far of slabs that aren't done yet, by task."""

    id: int
    kind: JobKind
    target: int | None
    target_name: str
    is_background: bool
    state: JobState = JobState.NEW
    checkpoint: bytes = b""
    bytes_total: int = 0
    bytes_done: int = 0
    bytes_moved: int = 0
    """Really read or written, where `bytes_done` also counts what needed no copying."""
    tasks_done: int = 0
    failed: int = 0
    problems: list[str] = field(default_factory=list)
    error: str = ""
    started_s: float | None = None
    ended_s: float | None = None
    suspended_s: float = 0.0
    progress_s: float = 0.0
    underway: dict[int, int] = field(default_factory=dict)
    _suspended_at: float = 0.0
    _told: int = 0

    @property
    def is_ended(self) -> bool:
        return self.state in ENDED

    @property
    def name(self) -> str:
        return f"{self.target_name} - {NAMES[self.kind]}"

    # -- states --------------------------------------------------------------------------------------------

    def _enter(self, state: JobState) -> None:
        assert (self.state, state) in TRANSITIONS, (self.id, self.state, state)
        self.state = state

    def start(self, now: float) -> None:
        self._enter(JobState.RUNNING)
        self.started_s = self.progress_s = now

    def suspend(self, now: float) -> None:
        self._enter(JobState.SUSPENDED)
        self._suspended_at = now

    def resume(self, now: float) -> None:
        if self.started_s is None:
            self.started_s = now
        self._enter(JobState.RUNNING)
        self.suspended_s += now - self._suspended_at
        self.progress_s = now

    def finish(self, now: float) -> None:
        """All there was to do was tried."""
        assert not self.underway, "slabs are under way"
        self.ended_s = now
        if self.failed:
            self.error = f"{self.failed} slabs failed: " + "; ".join(self.problems)
            self._enter(JobState.EXCEPTION)
            return
        self.bytes_total = max(self.bytes_total, self.bytes_done)
        self.bytes_done = self.bytes_total
        self._enter(JobState.COMPLETED)

    def fail(self, why: str, now: float) -> None:
        self.error = why
        self.ended_s = now
        self._enter(JobState.EXCEPTION)

    def kill(self, now: float) -> None:
        self.error = "cancelled"
        self.ended_s = now
        self._enter(JobState.KILLED)

    # -- progress ------------------------------------------------------------------------------------------

    def expect(self, more_bytes: int) -> None:
        """The job has that much more to do than was known."""
        self.bytes_total += more_bytes

    def moved(self, task: int, size_bytes: int, count: int, now: float) -> None:
        """`count` more bytes of a task of `size_bytes` are about to be moved."""
        self.bytes_moved += count
        self.underway[task] = min(size_bytes, self.underway.get(task, 0) + count)
        self.progress_s = now

    def task_ended(self, task: int, size_bytes: int, now: float) -> None:
        self.underway.pop(task, None)
        self.bytes_done = min(self.bytes_total, self.bytes_done + size_bytes)
        self.tasks_done += 1
        self.progress_s = now

    def task_failed(self, task: int, why: str, now: float) -> None:
        """Its bytes stay undone."""
        self.underway.pop(task, None)
        self.failed += 1
        if len(self.problems) < PROBLEMS_MAX and why not in self.problems:
            self.problems.append(why)
        self.progress_s = now

    def task_dropped(self, task: int) -> None:
        """Nothing is left to do in it, or it is to be tried again: neither done nor failed."""
        self.underway.pop(task, None)

    @property
    def bytes_processed(self) -> int:
        """Never goes back, although a slab that fails takes its bytes with it."""
        seen = min(self.bytes_total, self.bytes_done + sum(self.underway.values()))
        self._told = max(self._told, seen)
        return self._told

    def elapsed_s(self, now: float) -> float:
        if self.started_s is None:
            return 0.0
        end = now if self.ended_s is None else self.ended_s
        if self.state is JobState.SUSPENDED:
            end = self._suspended_at
        return max(0.0, end - self.started_s - self.suspended_s)

    def status(self, now: float) -> JobStatus:
        processed = self.bytes_processed
        is_done = self.state is JobState.COMPLETED
        percent = 100 if is_done else min(99, 100 * processed // self.bytes_total if self.bytes_total else 0)
        return JobStatus(
            self.id,
            self.name,
            NAMES[self.kind],
            self.target_name,
            self.state.name.capitalize(),
            percent,
            processed,
            self.bytes_total,
            self.elapsed_s(now),
            self.is_background,
            self.error,
        )
