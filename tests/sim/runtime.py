"""A runtime without Trio: tasks are coroutines that one loop steps; threads are calls; time moves when all
sleep.

`InlineRuntime().run(coroutine)` returns its result. `blocking` runs inline. With `rng` the order in which
tasks are stepped is drawn from it, and `blocking` may let others go first, so interleavings are explored and
replayed from a seed.
"""

from __future__ import annotations

import random
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, TypeVar

T = TypeVar("T")


@types.coroutine
def _step() -> Generator[None, None, None]:
    yield


class _Event:
    def __init__(self) -> None:
        self._is_set = False

    def set(self) -> None:
        self._is_set = True

    def is_set(self) -> bool:
        return self._is_set

    async def wait(self) -> None:
        while not self._is_set:
            await _step()


class InlineRuntime:
    def __init__(self, seed: int = 1, rng: random.Random | None = None) -> None:
        self._random = random.Random(seed)
        self._rng = rng
        self._now = 1000.0
        self._tasks: list[Coroutine[Any, Any, None] | Generator[Any, Any, None]] = []
        self._sleepers: list[float] = []
        self._dead: list[Coroutine[Any, Any, None] | Generator[Any, Any, None]] = []

    def now(self) -> float:
        return self._now

    def filetime(self) -> int:
        return 133_000_000_000_000_000 + int(self._now * 1e7)

    def random_bytes(self, count: int) -> bytes:
        return self._random.randbytes(count)

    def event(self) -> _Event:
        return _Event()

    async def sleep(self, seconds: float) -> None:
        until = self._now + seconds
        self._sleepers.append(until)
        try:
            while self._now < until:
                await _step()
        finally:
            if until in self._sleepers:
                self._sleepers.remove(until)

    async def blocking(self, work: Callable[[], T]) -> T:
        if self._rng is not None and self._rng.random() < 0.5:
            await _step()
        return work()

    def spawn(self, work: Callable[[], Awaitable[None]], name: str) -> None:
        def task() -> Generator[Any, Any, None]:  # no coroutine, which would complain if it is never begun
            yield from work().__await__()

        self._tasks.append(task())

    def kill_tasks(self) -> None:
        """As a power cut does: every task but the calling one stops where it is, and cleans nothing up."""
        self._dead.extend(self._tasks)
        self._tasks.clear()
        self._sleepers.clear()

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Step `main` and what it spawned until `main` ends; whatever escapes a task escapes here."""
        result: list[T] = []

        async def top() -> None:
            result.append(await main)

        first = top()
        self._tasks.append(first)
        idle = 0
        try:
            while not result:
                index = 0 if self._rng is None else self._rng.randrange(len(self._tasks))
                task = self._tasks.pop(index)
                try:
                    task.send(None)
                except StopIteration:
                    idle = 0
                    continue
                self._tasks.append(task)
                idle += 1
                if idle > 200 * (len(self._tasks) + 1):
                    if not self._sleepers:
                        raise AssertionError("deadlock: every task waits for an event that nobody sets")
                    self._now = min(self._sleepers)
                    idle = 0
            return result[0]
        except BaseException:
            for task in self._tasks:
                task.close()
            self._tasks.clear()
            raise
