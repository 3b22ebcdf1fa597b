"""One run of a pool: disks, spaces of several kinds, users, faults, administrators; all from one seed.

    create -> life: open, audit, users at work while the nemesis is -> ends by a power cut, or a close
           -> ... some lives ...
           -> liveness: everything is brought back, all jobs end by themselves, all is Healthy
           -> copies equal and fitting, parity right, no slab lost or allotted twice

A power cut strikes at a moment, or before a disk operation of some number; what is under way then is torn.
A run that takes too long in simulated time is stuck, which is a failure too.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from dataclasses import dataclass

import trio

from storage.errors import StorageError
from storage.pool.metadata import RetireMissing, Usage
from storage.pool.pool import Pool
from storage.space.mirror import MirrorSpace
from storage.space.parity.machine import ParityMachine
from storage.units import SpaceOffset
from tests.sim.describe import describe
from tests.sim.disk import PowerCut
from tests.sim.pool_check import check_parity
from tests.sim.pool_disk import PoolDisk
from tests.sim.pool_faults import Budget, Nemesis, brought_back
from tests.sim.pool_model import SECTOR, SpaceModel
from tests.sim.pool_worker import BLOCK, SpaceUser
from tests.sim.scheduler import run_seeded
from tests.sim.simruntime import SimRuntime
from tests.sim.world import check_copies

DISK_BYTES = 5 << 20
SLAB_BYTES = 64 << 10
STUCK_S = 20_000.0
HEALED_S = 8_000.0
"""Simulated seconds after which everything must be well again, once faults have ended."""
ACTS = (
    "fail", "vanish", "err_once", "unreadable", "rot", "misdirect", "go_back", "lie", "crawl", "add",
    "retire", "replace", "optimize", "scrub", "cancel", "suspend", "wait", "space",
)  # fmt: skip
KINDS = {"simple": 0, "mirror": 1, "three-way-mirror": 2, "parity": 1, "dual-parity": 2}
"""Resiliency -> how many disks may be lost."""


@dataclass
class Plan:
    """What a run is made of. `activities`: of all users of a space together, in one life. `spaces`:
    resiliency, bytes, columns, bytes of write-back cache."""

    disks: int
    spaces: list[tuple[str, int, int | None, int | None]]
    lives: int
    users: int
    activities: int
    cold: float
    think_s: float
    acts: frozenset[str]
    acts_every_s: float
    cuts: list[str]
    """How each life ends: "time", "operation", "close"."""
    may_be_fresh: bool
    may_lie: bool
    retire: RetireMissing

    @property
    def may_trim(self) -> bool:
        """A disk that takes back what it confirmed is told from the others by generations; a trim ends
        these, and what is written next begins with the first again."""
        return not (self.may_lie and "lie" in self.acts) and "go_back" not in self.acts

    @staticmethod
    def draw(rng: random.Random) -> Plan:
        lives = rng.choice((1, 2, 2, 3, 4))
        disks = rng.choice((4, 5, 6))
        spaces: list[tuple[str, int, int | None, int | None]] = []
        for _ in range(rng.choice((1, 2, 2, 3))):
            kind = rng.choice([kind for kind in KINDS if kind != "dual-parity" or disks > 4])
            columns = None if "parity" in kind else rng.choice((1, 2, None))
            if columns is not None and columns * (KINDS[kind] + 1) > disks:
                columns = 1
            cache = rng.choice((None, 0, 2 << 20)) if "parity" not in kind else None
            if any(one[3] for one in spaces):  # there is room for one on such small disks
                cache = None
            spaces.append((kind, rng.choice((64, 192, 320)) << 10, columns, cache))
        return Plan(
            disks=disks,
            spaces=spaces,
            lives=lives,
            users=rng.choice((1, 2, 3)),
            activities=max(8, rng.choice((120, 240, 360)) // (lives * len(spaces))),
            cold=rng.choice((0.0, 0.05, 0.5, 1.0)),
            think_s=rng.choice((0.001, 0.02, 0.3)),
            acts=frozenset(act for act in ACTS if rng.random() < 0.6),
            acts_every_s=rng.choice((0.01, 0.05, 0.3)),
            cuts=[rng.choice(("time", "operation", "operation", "close")) for _ in range(lives)],
            may_be_fresh=rng.random() < 0.3,
            may_lie=rng.random() < 0.3,
            retire=rng.choice(list(RetireMissing)),
        )


class PoolSimulation:
    """See the module. `PoolSimulation(seed).run()` returns the hash of its trace."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.plan = Plan.draw(self.rng)
        self.counts: Counter[str] = Counter()
        resilient = [KINDS[kind] for kind, *_ in self.plan.spaces if KINDS[kind]]
        self.budget = Budget(min(resilient, default=1))
        self.pool: Pool
        self.disks = [self._new_disk(number) for number in range(self.plan.disks)]
        self.used = set(self.disks)
        """Disks that were in the pool at some time since they were wiped."""
        self.spares = [self._new_disk(self.plan.disks + number) for number in range(3)]
        self.models: dict[str, SpaceModel] = {}
        self.fragile: dict[str, None] = {}
        self.users: list[SpaceUser] = []
        self._hash = hashlib.sha256()
        self.log: list[str] = []
        self._runtime: SimRuntime
        self._operations_left: int | None = None
        self._life = 0

    # -- what others ask -----------------------------------------------------------------------------------

    def trace(self, *what: object) -> None:
        hurt = " ".join(f"{disk.name}:{how}" for disk, how in self.budget.hurt.items())
        line = f"{trio.current_time():.6f} {' '.join(map(str, what))} [{hurt}]"
        self.log.append(line)
        self._hash.update(line.encode())

    @property
    def members(self) -> dict[int, PoolDisk]:
        by_name = {disk.name: disk for disk in [*self.disks, *self.spares]}
        return {number: by_name[disk.name] for number, disk in sorted(self.pool._core.state.disks.items())}

    def away(self) -> set[int]:
        core = self.pool._core
        return set(core.state.disks) - set(core.disks_there())

    def is_whole(self) -> bool:
        states = self.pool._core.state.spaces.values()
        return not self.away() and not any(state.stale_rows or state.joining_rows for state in states)

    def look_for_healed(self) -> None:
        """Disks that were away are whole again: there, and nothing on them is stale."""
        if not self.is_whole():
            return
        for disk, how in list(self.budget.hurt.items()):
            pending = disk.fail_after is not None or disk.fail_next is not None or disk.failure is not None
            if how == "away" and not pending:
                del self.budget.hurt[disk]

    def may_be_deceived(self, name: str) -> bool:
        """A space of one copy whose disk takes back what it was told has nothing to tell that by."""
        return name in self.fragile and self.budget.was_rotten

    def told(self, name: str, what: str, offset: int, error: StorageError) -> None:
        """A user was told an error."""
        self.counts["errors"] += 1
        if name not in self.fragile or not self.budget.was_hurt:
            hurt = {disk.name: how for disk, how in self.budget.hurt.items()}
            raise AssertionError(f"{what} of {name} at {offset}: {error!r}; hurt: {hurt}") from error

    def data_block(self, disk: PoolDisk, rng: random.Random) -> int:
        """A block of some slab of that disk, data or checksums."""
        core = self.pool._core
        number = next((number for number, one in self.members.items() if one is disk), None)
        if number is None or core.members[number].label is None:
            return disk.size_bytes // BLOCK // 2
        label = core.members[number].known_label
        slab = rng.randrange(label.slab_count)
        start = label.slab_at(slab) if rng.random() < 0.85 else label.checks_at(slab)
        return start // BLOCK + rng.randrange(SLAB_BYTES // BLOCK if start == label.slab_at(slab) else 1)

    def spare_disk(self) -> PoolDisk | None:
        """A disk that isn't in the pool, wiped."""
        inside = set(self.members.values())
        for disk in [*self.spares, *self.disks]:
            is_free = disk.is_closed or disk not in self.used  # one that leaves is closed last
            if is_free and disk not in inside and disk not in self.budget.hurt:
                disk.wipe()
                disk.attach(self._runtime)
                return disk
        return None

    async def add_disk(self, disk: PoolDisk, usage: Usage) -> None:
        self.used.add(disk)
        await self.pool.add_disks([disk], usage=usage)

    async def bring_back(self, disk: PoolDisk) -> None:
        disk.heal()
        disk.is_closed = False
        disk.fail_next = None
        for name in self.fragile:
            self.models[name].may_have_lost()
        self.trace("bring back", disk.name, await brought_back(self, disk))
        for name in self.fragile:
            self.models[name].may_have_lost()

    def started(self, job: int) -> None:
        self.trace("job", job)
        self.counts["jobs asked for"] += 1

    # -- the run -------------------------------------------------------------------------------------------

    def _new_disk(self, number: int) -> PoolDisk:
        return PoolDisk(f"d{number}", DISK_BYTES, self.rng, self.plan.cold)

    def run(self) -> str:
        try:
            run_seeded(self.seed, self._main)
        finally:
            for disk in [*self.disks, *self.spares]:  # memory, which a traceback would keep
                disk.content = disk.durable = bytearray()
        return self._hash.hexdigest()[:16]

    async def _main(self) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch, trio.lowlevel.current_task())
                await self._live(self._create, None)
                for number in range(self.plan.lives):
                    self._life = number
                    await self._live(self._work, self.plan.cuts[number])
                await self._live(self._recover, "close")
                nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            raise _only(group) from None

    async def _watch(self, main: trio.lowlevel.Task) -> None:
        """Everything ends in time, whatever failed."""
        await trio.sleep(STUCK_S)
        raise AssertionError(f"stuck after {STUCK_S} s:\n" + "\n".join(describe(main)))

    async def _live(self, main, end: str | None) -> None:
        """One life of the pool: `main` runs in it, and it ends as `end` says."""
        self.trace("life", main.__name__, end)
        try:
            async with trio.open_nursery() as nursery:
                self._runtime = SimRuntime(nursery, self.rng)
                for disk in [*self.disks, *self.spares]:
                    disk.attach(self._runtime)
                    disk.hook = self._count_operation
                if end is not None:
                    await self._open()
                await main(end)
                nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            _, rest = group.split(PowerCut)
            if rest is not None:
                raise _only(rest) from None
            self._cut()
        except PowerCut:
            self._cut()
        finally:
            for disk in [*self.disks, *self.spares]:
                disk.hook = None

    async def _create(self, end: str | None) -> None:
        self.pool = await Pool.create(self.disks, "sim", runtime=self._runtime, slab_bytes=SLAB_BYTES)
        await self.pool.set_policy(retire_missing=self.plan.retire)
        for number, (kind, size, columns, cache) in enumerate(self.plan.spaces):
            name = f"{kind} {number}"
            await self.pool.create_space(name, kind, size, columns=columns, write_cache_bytes=cache)
            self.models[name] = SpaceModel(name, size)
            self.models[name].is_trim_free = bool(cache) or "parity" in kind
            if not KINDS[kind]:
                self.fragile[name] = None
        await self.pool.close()

    async def _open(self) -> None:
        disks = [disk for disk in [*self.disks, *self.spares] if disk in self.used and disk.failure is None]
        self.pool = await Pool.open(disks, self._runtime, resync=self.rng.random() < 0.5)
        self.trace("open", sorted(self.away()))
        self.used = set(self.members.values())
        self.pool.jobs.automatic.scrub_every_s = None
        self.pool.jobs.start()
        for name, model in list(self.models.items()):
            content = await self._content(name)
            if self.may_be_deceived(name):
                self.models[name] = SpaceModel(name, model.size_bytes, content)
            elif self._is_after_cut:
                model.power_cut(content, self._was_rotten)
            else:
                model.audit(content)
        self.look_for_healed()

    _is_after_cut = False
    _was_rotten = False

    async def _content(self, name: str) -> list[bytes | None]:
        """All sectors; None where a fragile space has lost them. What a power cut tore while its other
        copies were
        rotten is written anew."""
        found: list[bytes | None] = []
        for offset in range(0, self.models[name].size_bytes, BLOCK):
            buffer = bytearray(BLOCK)
            try:
                space = self.pool.space(name)
                await space.read(SpaceOffset(offset), memoryview(buffer))
            except StorageError as error:
                is_torn = self._is_after_cut and self._was_rotten and self.models[name].is_unflushed(offset)
                if not is_torn or name in self.fragile:
                    self.told(name, "audit", offset, error)
                    found.extend([None] * (BLOCK // SECTOR))
                    continue
                buffer[:] = self.rng.randbytes(BLOCK)  # torn here and rotten there: its user writes it anew
                await self.pool.space(name).write(SpaceOffset(offset), [bytes(buffer)])
            found.extend(bytes(buffer[at : at + SECTOR]) for at in range(0, BLOCK, SECTOR))
        return found

    async def _work(self, end: str | None) -> None:
        """Users and the nemesis, until the life ends."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Nemesis(self, random.Random(self.rng.getrandbits(64))).run)
            if end == "time":
                nursery.start_soon(self._cut_in_time)
            elif end == "operation":
                self._operations_left = self.rng.randrange(1, self.rng.choice((50, 500, 5000)))
            async with trio.open_nursery() as users:
                self.users = []
                for name, model in self.models.items():
                    for _ in range(self.plan.users):
                        user = SpaceUser(self, name, model, random.Random(self.rng.getrandbits(64)))
                        self.users.append(user)
                        users.start_soon(user.run, self.plan.activities // self.plan.users)
            if end != "close":
                self._power_off()
            nursery.cancel_scope.cancel()
        await self._close()

    async def _cut_in_time(self) -> None:
        await trio.sleep(self.rng.expovariate(1 / self.rng.choice((0.05, 0.5, 5.0))))
        self._power_off()

    def _count_operation(self, disk: str, what: str) -> None:
        if self._operations_left is not None:
            self._operations_left -= 1
            if self._operations_left < 0:
                self._power_off()

    def _power_off(self) -> None:
        self._operations_left = None
        for disk in [*self.disks, *self.spares]:
            disk.power_off()
        self._runtime.power_off()
        raise PowerCut("everything")

    def _cut(self) -> None:
        self._operations_left = None
        self.counts["power cuts"] += 1
        self._was_rotten = self.budget.is_rotten
        self._is_after_cut = True
        for disk in [*self.disks, *self.spares]:
            disk.power_cut(self.rng)

    async def _close(self) -> None:
        self._is_after_cut = False
        for name, model in self.models.items():
            began = model.flush_begins()
            try:
                await self.pool.space(name).flush()
                model.flush_ends(began)
            except StorageError as error:
                self.told(name, "last flush", 0, error)
                model.may_have_lost()
        await self.pool.jobs.stop()
        await self.pool.close()
        self.counts["closes"] += 1

    # -- liveness ------------------------------------------------------------------------------------------

    async def _recover(self, end: str | None) -> None:
        """Faults have ended; what is broken for good is replaced. Then everything becomes well by itself."""
        for disk in [*self.disks, *self.spares]:
            disk.slow_s = disk.error_rate = 0.0
            disk.misdirect_next = disk.fail_next = disk.fail_after = None
            disk.stop_lying()
        for number, disk in list(self.members.items()):
            if number in self.away():
                await self.bring_back(disk)
        usable = set(self.pool._core.disks_filled())
        while len(usable) < self.plan.disks and (spare := self.spare_disk()) is not None:
            await self.add_disk(spare, Usage.AUTO_SELECT)
            usable = set(self.pool._core.disks_filled())
        for job in self.pool.jobs.jobs():
            if job.state == "Suspended":
                await self.pool.jobs.resume(job.id)
        await self._until_quiet()
        status = await self.pool.jobs.wait(await self.pool.jobs.scrub())
        if not self.fragile:
            assert status.state == "Completed", status
        await self._until_quiet()
        for name, model in self.models.items():
            content = await self._content(name)
            if not self.may_be_deceived(name):
                model.audit(content)
        await self._check_disks()
        await self._close()

    async def _until_quiet(self) -> None:
        """No jobs, nothing to repair."""
        jobs = self.pool.jobs
        deadline = trio.current_time() + HEALED_S
        while True:
            await trio.sleep(5.0)
            running = [one for one in jobs.jobs() if one.state in ("New", "Running", "Suspended")]
            if not running and (self._is_well() or self._is_beyond_repair()):
                return
            assert trio.current_time() < deadline, (
                running,
                jobs.automatic.repair_trouble,
                self.pool.status(),
            )

    def _is_well(self) -> bool:
        core = self.pool._core
        emptied = all(not core.slabs_on(number) for number in core.disks_retired())
        healthy = all(space.health == "Healthy" for space in self.pool.status().spaces)
        return emptied and healthy and not self.pool.jobs.automatic.needs_repair()

    def _is_beyond_repair(self) -> bool:
        """A simple space lost a disk's data: that is never well again."""
        spaces = {space.name: space for space in self.pool.status().spaces}
        bad = {name for name, space in spaces.items() if space.health != "Healthy"}
        return bool(bad) and bad <= set(self.fragile) and self.budget.was_hurt

    async def _check_disks(self) -> None:
        core = self.pool._core
        await core.commit()
        core.state.check()
        allotted: Counter[int] = Counter()
        for _, _, copy in core.state.slabs():
            allotted[copy.disk] += 1
        for number, disk in core.state.disks.items():
            free = core.free[number].free
            assert free + allotted[number] == disk.slab_count, (number, free, allotted[number])
        for name in self.models:
            if name not in self.fragile:
                await self.pool.space(name).flush()
        for space_id, machine in core.spaces.items():
            if isinstance(machine, MirrorSpace):
                await machine.flush()
                if machine.name.partition("#")[0] not in self.fragile:
                    self.counts["blocks compared"] += await check_copies(machine)
            if isinstance(machine, ParityMachine):
                self.counts["parity blocks"] += await check_parity(machine)
            assert space_id in core.state.spaces


def _only(group: BaseException) -> BaseException:
    """The one error in nested groups; the group itself if there are several."""
    while isinstance(group, BaseExceptionGroup) and len(group.exceptions) == 1:
        group = group.exceptions[0]
    return group
