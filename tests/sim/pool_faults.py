"""What goes wrong with the disks of a simulated pool, within what its spaces promise to survive.

A disk is hurt from the moment something happens to it until what it holds has been made good: brought back
and repaired, or scrubbed, or replaced. Never are more disks hurt at once than the weakest space tolerates.
`Budget` counts; `Nemesis` draws what happens next and does it.

    fails vanishes errs-once unreadable rots misdirects goes-back lies crawls     disks
    add retire replace hot-spare optimize scrub cancel suspend wait               administrators

Source of the list: the fault list of FoundationDB's and TigerBeetle's simulators (docs/simulation.md).
"""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING

import trio

from storage.errors import DiskFailed, LabelCorrupt, PoolFull, PoolInUse, StorageError
from storage.pool.metadata import Usage
from storage.units import BLOCK_BYTES, SpaceOffset
from tests.sim.pool_disk import PoolDisk

if TYPE_CHECKING:
    from tests.sim.pool_simulation import PoolSimulation

FIRST_DATA_BLOCK = 64
"""Labels are at a disk's ends; what is hurt there counts as a disk that doesn't open."""


class Budget:
    """Which disks are hurt, and how: "away" until repair is done, "rotten" until a scrub is."""

    def __init__(self, tolerance: int) -> None:
        self.tolerance = tolerance
        self.hurt: dict[PoolDisk, str] = {}
        self.was_hurt = False
        self.was_rotten = False
        """Then a space without redundancy may be deceived."""

    def may_hurt(self, disk: PoolDisk) -> bool:
        return disk not in self.hurt and len(self.hurt) < self.tolerance

    def hurts(self, disk: PoolDisk, how: str) -> None:
        self.hurt[disk] = how
        self.was_hurt = True
        self.was_rotten |= how == "rotten"

    def healed(self, how: str) -> None:
        self.hurt = {disk: one for disk, one in self.hurt.items() if one != how}

    @property
    def is_rotten(self) -> bool:
        return "rotten" in self.hurt.values()


class Nemesis:
    """One life of the pool's."""

    def __init__(self, simulation: PoolSimulation, rng: random.Random) -> None:
        self._sim = simulation
        self._rng = rng
        self._budget = simulation.budget
        self.counts: Counter[str] = simulation.counts

    async def run(self) -> None:
        """For ever; the simulation cancels it."""
        acts = [
            self._fail, self._vanish, self._err_once, self._unreadable, self._rot, self._misdirect,
            self._go_back, self._lie, self._crawl, self._add, self._retire, self._replace, self._optimize,
            self._scrub, self._cancel, self._suspend, self._wait, self._space, self._bring_back,
            self._bring_back,
        ]  # fmt: skip
        allowed = self._sim.plan.acts
        acts = [act for act in acts if act.__name__.strip("_") in allowed or act == self._bring_back]
        while True:
            await trio.sleep(self._rng.expovariate(1 / self._sim.plan.acts_every_s))
            act = self._rng.choice(acts)
            self._sim.trace(act.__name__)
            try:
                await act()
            except (PoolFull, PoolInUse, KeyError, ValueError) as error:
                self._sim.trace("refused", str(error))

    # -- disks ---------------------------------------------------------------------------------------------

    def _victim(self) -> PoolDisk | None:
        able = [disk for disk in self._sim.members.values() if self._budget.may_hurt(disk)]
        return self._rng.choice(able) if able else None

    async def _fail(self) -> None:
        """For good, until somebody brings it back."""
        if (disk := self._victim()) is not None:
            self._budget.hurts(disk, "away")
            self.counts["disk failed"] += 1
            disk.fail_after = self._rng.randrange(30)

    async def _vanish(self) -> None:
        if (disk := self._victim()) is not None:
            self._budget.hurts(disk, "away")
            self.counts["disk vanished"] += 1
            disk.fail("is gone")

    async def _err_once(self) -> None:
        if (disk := self._victim()) is not None:
            self._budget.hurts(disk, "away")
            self.counts["one error"] += 1
            disk.fail_next = self._rng.randrange(20)

    async def _unreadable(self) -> None:
        if (disk := self._victim()) is not None:
            self._budget.hurts(disk, "rotten")
            self.counts["unreadable blocks"] += 1
            disk.unreadable.update(self._blocks(disk, self._rng.randrange(1, 40)))

    async def _rot(self) -> None:
        if (disk := self._victim()) is not None:
            self._budget.hurts(disk, "rotten")
            self.counts["rot"] += 1
            for block in self._blocks(disk, self._rng.randrange(1, 60)):
                if self._rng.random() < 0.5:
                    disk.rot(block * BLOCK_BYTES, BLOCK_BYTES, self._rng)
                else:  # one bit
                    at, bit = (
                        block * BLOCK_BYTES + self._rng.randrange(BLOCK_BYTES),
                        1 << self._rng.randrange(8),
                    )
                    disk.content[at] ^= bit
                    disk.durable[at] ^= bit

    async def _misdirect(self) -> None:
        """Where it hits is a block of data that a later scrub finds, or free."""
        if (disk := self._victim()) is not None:
            self._budget.hurts(disk, "rotten")
            self.counts["misdirected write"] += 1
            disk.misdirect_next = self._sim.data_block(disk, self._rng) * BLOCK_BYTES

    async def _go_back(self) -> None:
        if (disk := self._victim()) is not None:
            self._budget.hurts(disk, "rotten")
            self.counts["stale chunk"] += 1
            for block in self._blocks(disk, self._rng.randrange(1, 12)):
                disk.remember(block * BLOCK_BYTES, BLOCK_BYTES)
            await trio.sleep(self._rng.uniform(0.05, 0.5))
            disk.go_back()

    async def _lie(self) -> None:
        """From now to the next power cut its flushes do nothing. It ends as a rotten disk."""
        if self._sim.plan.may_lie and (disk := self._victim()) is not None:
            self._budget.hurts(disk, "rotten")
            self.counts["lying disk"] += 1
            disk.begin_to_lie()

    async def _crawl(self) -> None:
        disk = self._rng.choice(list(self._sim.members.values()))
        disk.slow_s = self._rng.choice((0.0, 0.005, 0.05))

    def _blocks(self, disk: PoolDisk, count: int) -> list[int]:
        return [self._sim.data_block(disk, self._rng) for _ in range(count)]

    # -- administrators ------------------------------------------------------------------------------------

    async def _bring_back(self) -> None:
        """A disk that is away works again, mostly."""
        for number, disk in list(self._sim.members.items()):
            if number in self._sim.away() and self._rng.random() < 0.7:
                await self._sim.bring_back(disk)
        self._sim.look_for_healed()

    async def _add(self) -> None:
        disk = self._sim.spare_disk()
        if disk is not None:
            usage = self._rng.choice((Usage.AUTO_SELECT, Usage.AUTO_SELECT, Usage.HOT_SPARE))
            self.counts["disk added"] += 1
            await self._sim.add_disk(disk, usage)

    async def _retire(self) -> None:
        """Empty a disk and take it out, by the job that does so."""
        numbers = [number for number, disk in self._sim.members.items() if disk not in self._budget.hurt]
        if len(numbers) > self._sim.plan.disks:
            number = self._rng.choice(numbers)
            self.counts["disk removed"] += 1
            self._sim.trace("remove", number)
            await self._sim.pool.jobs.remove(number)

    async def _replace(self) -> None:
        """A disk that is away for good: its place is taken by a new one."""
        away = [number for number in self._sim.members if number in self._sim.away()]
        spare = self._sim.spare_disk()
        if away and spare is not None:
            number = self._rng.choice(away)
            self.counts["disk replaced"] += 1
            await self._sim.add_disk(spare, Usage.AUTO_SELECT)
            await self._sim.pool.jobs.remove(number)

    async def _space(self) -> None:
        """One is made, written to, made larger, and deleted, whatever jobs do with it meanwhile. It tolerates
        as many hurt disks as there may be."""
        strong = self._budget.tolerance > 1
        kind = self._rng.choice(("three-way-mirror", "dual-parity") if strong else ("mirror", "parity"))
        name = f"{kind} of {trio.current_time():.6f}"
        space = await self._sim.pool.create_space(name, kind, 128 << 10, write_cache_bytes=None)
        self.counts["space made"] += 1
        data = self._rng.randbytes(64 << 10)
        await space.write(SpaceOffset(0), [data])
        await space.flush()
        await trio.sleep(self._rng.choice((0.0, 0.01, 0.5)))
        await self._sim.pool.resize_space(name, 256 << 10)
        buffer = bytearray(len(data))
        await space.read(SpaceOffset(0), memoryview(buffer))
        assert buffer == data, f"space {name} doesn't hold what was written to it"
        await self._sim.pool.delete_space(name)

    async def _optimize(self) -> None:
        self._sim.started(await self._sim.pool.jobs.optimize())

    async def _scrub(self) -> None:
        """Waits for it; a whole one, with every disk there, makes what was rotten good."""
        rotten = [disk for disk, how in self._budget.hurt.items() if how == "rotten" and not disk.lies]
        was_whole = self._sim.is_whole()
        job = await self._sim.pool.jobs.scrub()
        self._sim.started(job)
        status = await self._sim.pool.jobs.wait(job)
        self._sim.trace("scrubbed", status.state, status.error)
        if status.state == "Completed" and was_whole and self._sim.is_whole():
            for disk in rotten:
                if self._budget.hurt.get(disk) == "rotten" and disk.misdirect_next is None:
                    del self._budget.hurt[disk]

    def _some_job(self) -> int | None:
        running = [one.id for one in self._sim.pool.jobs.jobs() if one.state in ("Running", "Suspended")]
        return self._rng.choice(running) if running else None

    async def _cancel(self) -> None:
        if (job := self._some_job()) is not None:
            self.counts["job cancelled"] += 1
            await self._sim.pool.jobs.cancel(job)

    async def _suspend(self) -> None:
        if (job := self._some_job()) is not None:
            self.counts["job suspended"] += 1
            await self._sim.pool.jobs.suspend(job)
            await trio.sleep(self._rng.uniform(0.1, 100.0))
            await self._sim.pool.jobs.resume(job)

    async def _wait(self) -> None:
        """Long enough for whatever happens by itself."""
        await trio.sleep(self._rng.choice((1.0, 20.0, 400.0)))
        self._sim.look_for_healed()


async def brought_back(simulation: PoolSimulation, disk: PoolDisk) -> bool:
    """Does the pool take it again?"""
    try:
        await simulation.pool.return_disk(disk)
    except (DiskFailed, PoolInUse, LabelCorrupt) as error:
        simulation.trace("not taken back", str(error))
        return False
    except StorageError as error:
        raise AssertionError(f"return of {disk.name}: {error}") from error
    return True
