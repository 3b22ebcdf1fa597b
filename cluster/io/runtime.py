"""`storage.runtime.Runtime` on Trio: the real clock, the system's entropy, tasks of a nursery, a small pool
of threads.

What waits detaches first (`smbproto/io/eager.py`), so that a request handler which the server runs inline
moves to a task.

    blocking():  task --SimpleQueue--> thread --deque--> run_sync_soon(drain), once for all that is done -->
    task

Threads are daemons, made as they are needed, at most `threads_max`: about 35 us a call, where
`trio.to_thread` takes 100.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable
from queue import SimpleQueue
from typing import Any, TypeVar, cast

import outcome
import trio

from smbproto.io.eager import IO, WAIT, detach, on_wait

__all__ = ["TrioEvent", "TrioRuntime"]

T = TypeVar("T")

THREADS_MAX = 8
FILETIME_OF_1970 = 116_444_736_000_000_000


class TrioEvent:
    """`storage.runtime.Event`."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = trio.Event()

    def set(self) -> None:
        self._event.set()

    def is_set(self) -> bool:
        return self._event.is_set()

    async def wait(self) -> None:
        if not self._event.is_set():
            await detach(WAIT)
            await self._event.wait()


class TrioRuntime:
    """Made inside `trio.run`. `nursery` holds the background tasks and must outlive whoever uses this."""

    def __init__(self, nursery: trio.Nursery, *, threads_max: int = THREADS_MAX) -> None:
        assert threads_max >= 1
        self._nursery = nursery
        self._token = trio.lowlevel.current_trio_token()
        self._work: SimpleQueue[tuple[Callable[[], Any], trio.lowlevel.Task]] = SimpleQueue()
        self._done: deque[tuple[trio.lowlevel.Task, outcome.Outcome[Any]]] = deque()
        self._is_draining = False
        self._threads = 0
        self._busy = 0
        self._threads_max = threads_max

    def now(self) -> float:
        return time.monotonic()

    def filetime(self) -> int:
        return time.time_ns() // 100 + FILETIME_OF_1970

    def random_bytes(self, count: int) -> bytes:
        return os.urandom(count)

    def event(self) -> TrioEvent:
        return TrioEvent()

    async def sleep(self, seconds: float) -> None:
        await detach(WAIT)
        await trio.sleep(seconds)

    def spawn(self, work: Callable[[], Awaitable[None]], name: str) -> None:
        async def run() -> None:
            on_wait.set(None)  # whatever request it was that made this task
            await work()

        self._nursery.start_soon(run, name=name)

    async def blocking(self, work: Callable[[], T]) -> T:
        await detach(IO)
        self._busy += 1
        if self._busy > self._threads < self._threads_max:
            self._threads += 1
            threading.Thread(target=self._worker, name=f"blocking-{self._threads}", daemon=True).start()
        self._work.put((work, trio.lowlevel.current_task()))
        try:
            return cast("T", await trio.lowlevel.wait_task_rescheduled(_never_abort))
        finally:
            self._busy -= 1

    def _worker(self) -> None:
        while True:
            work, task = self._work.get()
            self._done.append((task, outcome.capture(work)))
            if not self._is_draining:
                self._is_draining = True
                try:
                    self._token.run_sync_soon(self._drain)
                except trio.RunFinishedError:
                    return

    def _drain(self) -> None:
        self._is_draining = False
        while self._done:
            task, result = self._done.popleft()
            trio.lowlevel.reschedule(task, result)


def _never_abort(_: object) -> trio.lowlevel.Abort:
    """What a thread has begun, it ends."""
    return trio.lowlevel.Abort.FAILED
