"""The workers of one job: as many tasks at once as its queue depth says, each slab or row worked on by one.

    queue -> worker: free? -> run(pace) -> ended: done | nothing left to do | failed (counted)
                     held by another job? -> wait until it is let go

A task is never cut short: a stopped job's tasks leave at their next `pace`. `give_up` lets the job end
although some of them never did; what these hold stays held, and other jobs fail there instead of waiting for
ever. Owner: JobRunner. Awaits the Runtime only.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from storage.errors import PoolUnavailable, StorageError
from storage.pool.jobs.job import Job
from storage.pool.jobs.pace import JobStopped, Throttle
from storage.pool.jobs.port import Key, Task
from storage.runtime import Event, Runtime
from storage.space.machine import Pace

WHOLE_ROW: Final = -1
Held = dict[Key, tuple[Job, Event]]
"""What tasks of all jobs work on, each with its job and what is set when it lets go."""


def holder(held: Held, key: Key) -> tuple[Job, Event] | None:
    """Who holds the slab, or its row."""
    found = held.get(key) or held.get(Key(key.space_id, key.row, WHOLE_ROW))
    if found is None and key.column == WHOLE_ROW:
        for other, one in held.items():
            if other[:2] == key[:2]:
                return one
    return found


class Crew:
    """`after` is told each task that ended."""

    def __init__(
        self,
        runtime: Runtime,
        job: Job,
        throttle: Throttle,
        held: Held,
        after: Callable[[Job, Task], Awaitable[None]],
    ) -> None:
        self._runtime = runtime
        self._job = job
        self._throttle = throttle
        self._held = held
        self._after = after
        self._queue: deque[Task] = deque()
        self._active = 0
        self._waiting = 0
        """Workers that wait for another job."""
        self._numbers = 0
        self._finished: Event | None = None
        self._trouble: StorageError | None = None
        self.tried: set[Key] = set()
        """Failed, or nothing was left to do in them."""

    @property
    def is_held_back(self) -> bool:
        """Does every worker wait for its pace, or for another job?"""
        waiting = self._waiting + self._throttle.waiting
        return waiting > 0 and waiting >= self._active

    async def run(self, tasks: list[Task]) -> None:
        """Returns when all have ended, or the job was stopped and its workers are gone. Raises:
        PoolUnavailable."""
        self._queue.extend(tasks)
        self._finished = self._runtime.event()
        self.widen()
        await self._finished.wait()
        self._queue.clear()
        if self._trouble is not None:
            raise self._trouble

    def widen(self) -> None:
        """As many workers as the queue depth allows and there are tasks for."""
        for _ in range(min(int(self._throttle.depth) - self._active, len(self._queue))):
            self._active += 1
            self._runtime.spawn(self._worker, f"job {self._job.id}")

    def give_up(self) -> None:
        if self._finished is not None:
            self._finished.set()

    async def _worker(self) -> None:
        while self._queue and not self._throttle.is_stopped and self._active <= self._throttle.depth:
            try:
                await self._one(self._queue.popleft())
            except JobStopped:
                break
            except PoolUnavailable as error:  # the pool stopped, and the job with it
                self._trouble = error
                self._queue.clear()
                break
        self._active -= 1
        if not self._active and self._finished is not None:
            self._finished.set()

    async def _one(self, task: Task) -> None:
        if not await self._is_free(task):
            self._ended(self._number(), task, StorageError(f"a job that got stuck still works on {task.key}"))
            return
        released = self._runtime.event()
        self._held[task.key] = self._job, released
        number = self._number()
        trouble: StorageError | None = None
        did = False
        try:
            did = await task.run(self._pace(task, number))
        except PoolUnavailable:
            raise
        except StorageError as error:
            trouble = error
        finally:
            del self._held[task.key]
            released.set()
            self._job.task_dropped(number)
        if not did:
            self.tried.add(task.key)
        self._ended(number, task, trouble)
        if not self._job.is_ended:
            await self._after(self._job, task)

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers

    async def _is_free(self, task: Task) -> bool:
        """False: whoever holds it got stuck."""
        while (found := holder(self._held, task.key)) is not None:
            job, released = found
            if job.is_ended:
                return False
            self._waiting += 1
            try:
                await released.wait()
            finally:
                self._waiting -= 1
            await self._throttle.turn()
        return True

    def _ended(self, number: int, task: Task, trouble: StorageError | None) -> None:
        now = self._runtime.now()
        if self._job.is_ended:
            return
        if trouble is not None:
            self.tried.add(task.key)
            self._job.task_failed(number, str(trouble), now)
        else:
            self._job.task_ended(number, task.size_bytes, now)

    def _pace(self, task: Task, number: int) -> Pace:
        since = self._runtime.now()

        async def pace(count: int) -> None:
            nonlocal since
            if not self._job.is_ended:
                self._job.moved(number, task.size_bytes, count, self._runtime.now())
            await self._throttle.step(count, self._runtime.now() - since)
            since = self._runtime.now()

        return pace
