"""Long work doesn't starve foreground I/O: measured on disks that serve one call after another."""

import random
from collections.abc import Callable
from statistics import mean

import pytest
import trio

from storage.pool.jobs.pace import QueueDepth
from storage.pool.pool import Pool
from storage.units import DiskOffset, SpaceOffset
from tests.sim.disk import SimDisk
from tests.sim.scheduler import run_seeded
from tests.sim.simruntime import SimRuntime

MB = 1 << 20
SLAB = MB
SIZE = 24 * MB
CALL_S = 0.001
BYTES_PER_S = 200 * MB


class QueueDisk(SimDisk):
    """One call at a time, in the order they came; each takes a while."""

    def __init__(self, *args) -> None:
        super().__init__(*args, blocks=True)
        self._line = trio.StrictFIFOLock()

    async def _wait(self, count: int) -> None:
        async with self._line:
            await trio.sleep(CALL_S + count / BYTES_PER_S)

    async def read(self, offset: DiskOffset, into) -> None:
        await self._wait(sum(map(len, into)))
        self.read_blocking(offset, into)

    async def write(self, offset: DiskOffset, data) -> None:
        await self._wait(sum(map(len, data)))
        self._write(offset, data)

    async def flush(self) -> None:
        await self._wait(0)
        self._flush()


async def latency_s(space, rng: random.Random, goes_on: Callable[[int], bool]) -> float:
    """Mean of reads of 4 KiB, one at a time with pauses between them."""
    took: list[float] = []
    buffer = memoryview(bytearray(4096))
    while goes_on(len(took)):
        await trio.sleep(rng.expovariate(1 / 0.01))
        began = trio.current_time()
        await space.read(SpaceOffset(rng.randrange(SIZE // 4096) * 4096), buffer)
        took.append(trio.current_time() - began)
    assert len(took) >= 8, "too few to tell"
    return mean(took)


async def quiet_and_busy_s(depth: QueueDepth) -> tuple[float, float, float]:
    """(latency without, and with a rebuild of one disk under way; MiB a second of the rebuild)."""
    rng = random.Random(1)
    async with trio.open_nursery() as nursery:
        runtime = SimRuntime(nursery, rng)
        disks = [QueueDisk(f"d{number}", 32 * MB, runtime) for number in range(5)]
        pool = await Pool.create(disks, "tank", runtime=runtime, slab_bytes=SLAB)
        space = await pool.create_space("s", "mirror", SIZE, columns=1)
        for at in range(0, SIZE, MB):
            await space.write(SpaceOffset(at), [rng.randbytes(MB)])
        await space.flush()
        quiet = await latency_s(space, rng, lambda count: count < 40)
        pool.jobs.set_speed(depth)
        began = trio.current_time()
        job = await pool.jobs.remove(0)
        busy = await latency_s(
            space, rng, lambda count: count < 40 and pool.jobs.status(job).state in ("New", "Running")
        )
        status = await pool.jobs.wait(job)
        assert status.state == "Completed"
        rate = status.bytes_total / (trio.current_time() - began) / MB
        nursery.cancel_scope.cancel()
    return quiet, busy, rate


@pytest.mark.parametrize(("depth", "times"), [(QueueDepth.VERY_LOW, 2.0), (QueueDepth.MEDIUM, 4.0)])
def test_reads_go_on_while_a_disk_is_emptied(depth, times):
    """At most so many times as slow as on an idle pool, and the job goes on as well."""
    quiet, busy, rate = run_seeded(1, lambda: quiet_and_busy_s(depth))
    assert busy <= times * quiet, (busy, quiet)
    assert rate > 1
