"""How fast a job goes, and when it stops: queue depth, bytes per second, pause, the end.

    task: `await pace(bytes)` before each step -> stopped? raise JobStopped
                                               -> suspended? wait
                                               -> rate used up? sleep until it isn't
                                               -> let everybody else run once

Queue depth is how many slabs a job works on at once (1, 2, 4, 8, 16 by Windows' names). Each step is small
(at most a checksum page's span), and between two of them whatever else is ready runs, so foreground I/O waits
for at most `queue depth` steps; below medium a task also rests as long as its last step took, or thrice that.
The rate is a token bucket that holds a quarter of a second. Owner: JobRunner. Awaits the Runtime only.
Source: Storage Spaces Direct, storage resync speed (VirtualDiskRepairQueueDepth).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from storage.runtime import Event, Runtime

BURST_S: Final = 0.25
REST_MAX_S: Final = 1.0


class QueueDepth(IntEnum):
    VERY_LOW = 1
    LOW = 2
    MEDIUM = 4
    HIGH = 8
    VERY_HIGH = 16


RESTS: Final = {QueueDepth.VERY_LOW: 3.0, QueueDepth.LOW: 1.0}
"""How long a job rests, in times of what its step took."""


def queue_depth(name: str) -> QueueDepth:
    """By Windows' name, as "very low". Raises ValueError."""
    wanted = name.strip().upper().replace(" ", "_").replace("-", "_")
    if wanted not in QueueDepth.__members__:
        known = ", ".join(one.name.lower().replace("_", " ") for one in QueueDepth)
        raise ValueError(f"repair speed is one of {known}, not {name}")
    return QueueDepth[wanted]


class JobStopped(Exception):
    """Raised out of `pace` in a task whose job has ended: it leaves things as they are and returns."""


class Throttle:
    """One job's. Steps of all its tasks go through `step`."""

    def __init__(
        self, runtime: Runtime, depth: QueueDepth = QueueDepth.MEDIUM, bytes_per_s: int | None = None
    ) -> None:
        self._runtime = runtime
        self.depth = depth
        self.bytes_per_s = bytes_per_s
        self.is_stopped = False
        self.waiting = 0
        """Tasks that wait for the pace."""
        self._is_suspended = False
        self._changed: Event = runtime.event()
        self._free_at_s = 0.0

    def stop(self) -> None:
        self.is_stopped = True
        self._wake()

    def suspend(self) -> None:
        self._is_suspended = True

    def resume(self) -> None:
        self._is_suspended = False
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, self._runtime.event()
        changed.set()

    async def step(self, count: int, took_s: float = 0.0) -> None:
        """Before moving `count` bytes; `took_s`: how long the task's last step took. Raises: JobStopped."""
        await self.turn()
        now = self._runtime.now()
        rest_s = min(REST_MAX_S, took_s * RESTS.get(self.depth, 0.0))
        if self.bytes_per_s is not None and count:
            start = max(self._free_at_s, now - BURST_S)
            self._free_at_s = start + count / self.bytes_per_s
            rest_s = max(rest_s, start - now)
        self.waiting += 1
        try:
            await self._runtime.sleep(rest_s)
        finally:
            self.waiting -= 1
        await self.turn()

    async def turn(self) -> None:
        """Wait while the job is suspended. Raises: JobStopped."""
        while self._is_suspended and not self.is_stopped:
            self.waiting += 1
            try:
                await self._changed.wait()
            finally:
                self.waiting -= 1
        if self.is_stopped:
            raise JobStopped
