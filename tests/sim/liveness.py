"""The end of a simulation of a node: with all disks there again, the pool becomes well by itself, and what
lies on them is sound.

    open -> repair jobs until all is Healthy -> scrub, and repair of what it found -> catalog and copies
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import trio

from cluster import volumes
from storage.fs.check import check_catalog
from storage.pool.pool import Pool
from storage.space.mirror import MirrorSpace
from tests.sim.faultydisk import FaultyDisk
from tests.sim.node import VOLUME
from tests.sim.simruntime import SimRuntime
from tests.sim.world import check_copies

HEALED_S = 8_000.0
"""Simulated seconds after which all is well again once nothing fails any more."""


async def check_in_the_end(
    disks: Sequence[FaultyDisk], rng: random.Random, counts: Counter[str], is_redundant: bool
) -> None:
    async with trio.open_nursery() as nursery:
        runtime = SimRuntime(nursery, rng)
        for disk in disks:
            disk.heal()
            disk.cold = disk.slow_s = disk.error_rate = 0.0
            disk.attach(runtime)
        pool = await Pool.open(list(disks), runtime, resync=rng.random() < 0.5)
        pool.jobs.automatic.scrub_every_s = None
        pool.jobs.start()
        await _until_well(pool)
        if is_redundant:
            scrub = await pool.jobs.wait(await pool.jobs.scrub())
            assert scrub.state == "Completed", scrub
            await _until_well(pool)
        report = await check_catalog(*volumes.spaces(pool, VOLUME), runtime)
        assert report.problems == [], report.problems
        for machine in pool._core.spaces.values():
            if isinstance(machine, MirrorSpace):
                await machine.flush()
                counts["blocks compared"] += await check_copies(machine)
        await pool.jobs.stop()
        await pool.close()
        nursery.cancel_scope.cancel()


async def _until_well(pool: Pool) -> None:
    """No jobs, nothing to repair, all Healthy."""
    deadline_s = trio.current_time() + HEALED_S
    while True:
        await trio.sleep(5.0)
        running = [one for one in pool.jobs.jobs() if one.state in ("New", "Running", "Suspended")]
        spaces = {space.name: space.health for space in pool.status().spaces}
        if not running and set(spaces.values()) == {"Healthy"} and not pool.jobs.automatic.needs_repair():
            return
        assert trio.current_time() < deadline_s, (running, spaces, pool.jobs.automatic.repair_trouble)
