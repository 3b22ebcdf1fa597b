"""`storage.runtime.Runtime` for simulations on Trio: the mock clock, seeded chance, threads that are delays.

`blocking` waits a random while, works, and waits again, so that whatever else runs comes in between. When the
power goes off nothing that was begun ends: `power_off`, then cancel the nursery.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from smbproto.io.eager import IO, WAIT, detach, on_wait
from tests.sim.disk import PowerCut

T = TypeVar("T")

FILETIME_AT_0 = 133_000_000_000_000_000
DELAY_S = 0.0008
"""Mean of what a call in a thread takes, before and after its work."""


class SimEvent:
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


class SimRuntime:
    """One node's. `nursery` holds its background tasks."""

    def __init__(self, nursery: trio.Nursery, rng: random.Random, delay_s: float = DELAY_S) -> None:
        self._nursery = nursery
        self._rng = rng
        self._delay_s = delay_s
        self._is_on = True
        self._shields: dict[trio.CancelScope, None] = {}

    def now(self) -> float:
        return trio.current_time()

    def filetime(self) -> int:
        return FILETIME_AT_0 + int(trio.current_time() * 10_000_000)

    def random_bytes(self, count: int) -> bytes:
        return self._rng.randbytes(count)

    def event(self) -> SimEvent:
        return SimEvent()

    async def sleep(self, seconds: float) -> None:
        await detach(WAIT)
        await trio.sleep(seconds)

    def spawn(self, work: Callable[[], Awaitable[None]], name: str) -> None:
        if not self._is_on:
            return

        async def run() -> None:
            on_wait.set(None)
            await work()

        self._nursery.start_soon(run, name=name)

    async def blocking(self, work: Callable[[], T]) -> T:
        """As in a thread: what has begun ends, unless the power goes off."""
        return await self.disk_call(work, 0.0)

    async def disk_call(self, work: Callable[[], T], extra_s: float) -> T:
        await detach(IO)
        with trio.CancelScope(shield=True) as scope:
            self._shields[scope] = None
            try:
                await trio.sleep(extra_s + self._rng.expovariate(1 / self._delay_s))
                if not self._is_on:
                    raise PowerCut("a call that was under way")
                result = work()
                if self._rng.random() < 0.5:
                    await trio.sleep(self._rng.expovariate(1 / self._delay_s))
            finally:
                del self._shields[scope]
        return result

    def power_off(self) -> None:
        """Nothing begins any more, and nothing is shielded."""
        self._is_on = False
        for scope in self._shields:
            scope.shield = False
