"""Work that many callers ask for and one run serves: flushes, metadata commits, intent-log writes.

    run() --+                        +--> all three return
    run() --+-> [ next run ] -> work +
    run() --+                        |

A caller returns once a run that *began after its call* has ended; callers that arrive during a run share the
next one. The run is a task of its own, so a cancelled caller doesn't stop it. Also `gather`: several awaits
side by side, and `detached`: one that a cancelled caller doesn't stop. Only the Runtime port is used.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from storage.errors import StorageError
from storage.runtime import Event, Runtime

T = TypeVar("T")


class _Run:
    __slots__ = ("done", "error")

    def __init__(self, done: Event) -> None:
        self.done = done
        self.error: Exception | None = None


class Batcher:
    __slots__ = ("_is_active", "_name", "_next", "_runtime", "_work")

    def __init__(self, runtime: Runtime, name: str, work: Callable[[], Awaitable[None]]) -> None:
        self._runtime = runtime
        self._name = name
        self._work = work
        self._next: _Run | None = None
        self._is_active = False

    @property
    def is_active(self) -> bool:
        return self._is_active

    async def run(self) -> None:
        """Raises what the work raised."""
        run = self._next
        if run is None:
            run = self._next = _Run(self._runtime.event())
        if not self._is_active:
            self._is_active = True
            self._runtime.spawn(self._drain, self._name)
        await run.done.wait()
        if run.error is not None:
            raise run.error

    async def _drain(self) -> None:
        while self._next is not None:
            run, self._next = self._next, None
            try:
                await self._work()
            except Exception as error:  # handed to each caller, who raises it
                run.error = error
            run.done.set()
        self._is_active = False


async def detached(runtime: Runtime, work: Callable[[], Awaitable[T]], name: str) -> T:
    """Run `work` in a task of its own: it goes on to its end even if the caller is cancelled meanwhile."""
    done = runtime.event()
    outcome: list[T] = []
    trouble: list[Exception] = []

    async def task() -> None:
        try:
            outcome.append(await work())
        except Exception as error:  # raised again below
            trouble.append(error)
        done.set()

    runtime.spawn(task, name)
    await done.wait()
    if trouble:
        raise trouble[0]
    return outcome[0]


async def gather(
    runtime: Runtime, work: Sequence[Callable[[], Awaitable[None]]], name: str
) -> list[StorageError | None]:
    """Run all side by side; one entry each: None or the storage error it raised. Other exceptions are
    raised."""
    results: list[Exception | None] = [None] * len(work)

    async def guarded(index: int) -> None:
        try:
            await work[index]()
        except Exception as error:
            results[index] = error

    events: list[Event] = []
    for index in range(1, len(work)):
        done = runtime.event()
        events.append(done)

        async def task(index: int = index, done: Event = done) -> None:
            await guarded(index)
            done.set()

        runtime.spawn(task, name)
    if work:
        await guarded(0)
    for event in events:
        await event.wait()
    found: list[StorageError | None] = []
    for error in results:
        if error is not None and not isinstance(error, StorageError):
            raise error
        found.append(error)
    return found
