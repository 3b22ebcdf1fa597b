"""Port: what the world gives to code that has no I/O of its own: time, chance, tasks, threads.

Two implementations: real Trio (`cluster/io/runtime.py`) and the simulation (`tests/sim/`). Code outside `io/`
awaits only what comes from here or from another port. An `async def` that returns without awaiting any of
these runs to its end inline, inside the server's pump (docs/design.md, "Eager handlers"); the first one it
awaits moves it to a task.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Event(Protocol):
    """A one-shot flag. `set` may be called from any plain function on the loop's thread."""

    def set(self) -> None: ...
    def is_set(self) -> bool: ...
    async def wait(self) -> None: ...


class Runtime(Protocol):
    """Time, chance, tasks and threads. Times: `now` in seconds, monotonic; `filetime` in 100 ns since 1601
    UTC."""

    def now(self) -> float: ...
    def filetime(self) -> int: ...
    def random_bytes(self, count: int) -> bytes: ...
    def event(self) -> Event: ...

    async def sleep(self, seconds: float) -> None: ...

    async def blocking(self, work: Callable[[], T]) -> T:
        """Run `work` where it may block (a bounded thread pool; inline in simulation). Not cancelled once
        begun."""
        ...

    def spawn(self, work: Callable[[], Awaitable[None]], name: str) -> None:
        """Start a background task that lives as long as the runtime; an exception in it is a bug and ends
        the node."""
        ...
