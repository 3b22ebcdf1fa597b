"""One run: a node, its disks, clients and what goes wrong, all drawn from one seed.

    format -> boot -> clients at work, and faults, and power cuts (each: restart, audit) -> all healed
           -> final audit -> shutdown -> the pool alone becomes Healthy; catalog sound, copies agree

Faults stay within what the volume's resiliency promises: so many disks, the victims, may fail in one way
each; the others are only slow. A run that takes too long in simulated time is stuck, which is a failure too.
"""

from __future__ import annotations

import hashlib
import logging
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from smbclient.session import Session
from smbclient.tree import Tree
from smbproto import fscc
from smbproto.endpoint.client_negotiate import ClientConfig
from smbproto.status import Status, StatusError
from storage.space.resiliency import ResiliencyKind
from storage.space.resiliency import resiliency as find_resiliency
from tests.sim.actor import Actor
from tests.sim.client import SimClient
from tests.sim.faultydisk import FaultyDisk
from tests.sim.handles import SimConnection
from tests.sim.liveness import check_in_the_end
from tests.sim.model import SIDE, Clock, Model, ModelFile, Op
from tests.sim.node import PASSWORD, USER, SimNode, format_disks
from tests.sim.scheduler import run_seeded
from tests.sim.upkeep import Administrator
from tests.sim.victims import DECEIVERS, VICTIMS, Victim

DISK_BYTES = 40 << 20
DISKS = {
    "simple": (2, 3),
    "mirror": (3, 3, 4),
    "three-way-mirror": (5,),
    "parity": (3, 4, 5),
    "dual-parity": (5, 6),
}
"""How many there may be for each resiliency: more than half are left when those it tolerates are lost."""
STUCK_S = 1500.0
"""Simulated seconds after which a run counts as stuck. Breaks that nobody answers take 35 each."""


@dataclass
class Plan:
    """What a run is made of."""

    disks: int
    slab_bytes: int
    resiliency: str
    journal_bytes: int | None
    """Of the write-back cache; 0: none, None: as the pool chooses."""
    fast_bytes: int
    """Of a fast tier; 0: there are no tiers."""
    has_jobs: bool
    upkeep_every_s: float
    data_bytes: int
    """Under 4 MiB the volume becomes full."""
    clients: int
    actors: int
    activities: int
    cold: float
    encrypt: bool
    wire_delay_s: float
    cuts_every_s: float
    stalls_every_s: float
    slow_every_s: float
    power_cuts: int
    restarts: int
    victims: list[str]
    """What happens to disks, the last ones; as many as may be lost."""

    @staticmethod
    def draw(rng: random.Random) -> Plan:
        never = float("inf")
        resiliency = rng.choice(("mirror", "mirror", "mirror", *DISKS))
        strategy = find_resiliency(resiliency)
        victims = [rng.choice(("", *VICTIMS)) for _ in range(strategy.tolerance)]
        deceived = any(kind in DECEIVERS for kind in victims)
        is_parity = strategy.kind is ResiliencyKind.PARITY
        return Plan(
            disks=rng.choice(DISKS[resiliency]),
            slab_bytes=rng.choice((256 << 10, 1 << 20)),
            resiliency=resiliency,
            journal_bytes=None if is_parity else rng.choice((0, 0, 2 << 20)),
            fast_bytes=rng.choice((0, 0, 1 << 20, 4 << 20)),
            has_jobs=rng.random() < 0.7,
            upkeep_every_s=rng.choice((never, 0.2, 1.0)),
            data_bytes=rng.choice((16 << 20, 16 << 20, 16 << 20, 1 << 20)),
            clients=rng.randint(2, 4),
            actors=rng.randint(1, 3),
            activities=rng.randint(10, 30),
            cold=rng.choice((0.0, 0.05, 0.5, 1.0)),
            encrypt=rng.random() < 0.2,
            wire_delay_s=rng.choice((0.0002, 0.002, 0.02)),
            cuts_every_s=rng.choice((never, 2.0, 0.5)),
            stalls_every_s=rng.choice((never, 2.0)),
            slow_every_s=rng.choice((never, 2.0)),
            power_cuts=0 if deceived else rng.choice((0, 1, 1, 2, 3)),
            restarts=rng.choice((0, 0, 1)),
            victims=victims,
        )


class Simulation:
    """See the module. `Simulation(seed).run()` returns the hash of its trace."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.plan = Plan.draw(self.rng)
        self.clock = Clock()
        directories = ["", "Some directory", "Some directory/Another"][: self.rng.randint(1, 3)]
        self.model = Model(self.clock, directories, self.rng.randint(2, 6))
        self.counts: Counter[str] = Counter()
        self.disks: list[FaultyDisk] = []
        self.victims: list[Victim] = []
        self.node: SimNode | None = None
        self.clients: list[SimClient] = []
        self.actors: list[Actor] = []
        self._hash = hashlib.sha256()
        self._serving = trio.Event()
        self._nursery: trio.Nursery
        self.events = 0

    # -- what others tell ----------------------------------------------------------------------------------

    def trace(self, *what: object) -> None:
        self.events += 1
        self._hash.update(repr((round(trio.current_time(), 9), *what)).encode())

    def count(self, what: str, many: int = 1) -> None:
        self.counts[what] += many

    @property
    def is_serving(self) -> bool:
        return self._serving.is_set()

    async def serving(self) -> SimNode:
        """The node that clients may use now."""
        while not self._serving.is_set():
            await self._serving.wait()
        assert self.node is not None
        return self.node

    # -- the run -------------------------------------------------------------------------------------------

    def run(self) -> str:
        with _Bugs() as bugs:
            try:
                run_seeded(self.seed, self._main)
            finally:
                for disk in self.disks:  # memory, which a traceback would keep
                    disk.content = disk.durable = bytearray()
        assert not bugs.records, bugs.text()
        return self._hash.hexdigest()[:16]

    async def _main(self) -> None:
        plan, rng = self.plan, self.rng
        self.disks = [FaultyDisk(f"d{number}", DISK_BYTES, rng, plan.cold) for number in range(plan.disks)]
        self.victims = [
            Victim(self, disk, kind) for disk, kind in zip(reversed(self.disks), plan.victims, strict=False)
        ]
        await format_disks(
            self.disks,
            rng,
            plan.slab_bytes,
            plan.data_bytes,
            plan.resiliency,
            plan.journal_bytes,
            plan.fast_bytes,
        )
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._watch)
                await self._boot()
                await self._make_directories()
                self._serving.set()
                await self._work()
                for disk in self.disks:
                    disk.slow_s = disk.error_rate = 0.0
                for victim in self.victims:
                    victim.kind = ""
                await self._stop()  # which also ends the opens that are kept for clients, and their locks
                await self._boot()
                await self._audit(after_cut=False)
                await self._stop()
                nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            raise _only(group) from None
        await check_in_the_end(self.disks, rng, self.counts, plan.resiliency != "simple")

    async def _boot(self) -> None:
        node = self.node = SimNode(
            self.rng, self.plan.wire_delay_s, encrypt=self.plan.encrypt, has_jobs=self.plan.has_jobs
        )
        await self._nursery.start(node.run, list(self.disks))
        every_s = self.plan.upkeep_every_s
        if every_s < float("inf"):
            paths = [name.path for name in self.model.names]
            node.spawn(Administrator(node, paths, self.rng, every_s, self.count).run)

    async def _make_directories(self) -> None:
        assert self.node is not None
        async with self._visit() as tree:
            for directory in self.model.directories:
                if directory:
                    await tree.mkdir(directory)
        await self.node.volume.sync()

    @asynccontextmanager
    async def _visit(self) -> AsyncIterator[Tree]:
        """The share, by a client of nobody's."""
        assert self.node is not None
        wire = self.node.connect()
        config = ClientConfig(client_guid=self.rng.randbytes(16), server_name="sim")
        async with SimConnection.open(wire.client_end, config, entropy=self.rng.randbytes) as connection:
            await connection.login(USER, PASSWORD)
            yield await Session(connection, "sim").tree("data")

    async def _work(self) -> None:
        plan, rng = self.plan, self.rng
        async with trio.open_nursery() as nursery:
            for number in range(plan.clients):
                client = SimClient(self, number, random.Random(rng.getrandbits(64)))
                self.clients.append(client)
                nursery.start_soon(client.run)
            nursery.start_soon(self._cut_wires)
            nursery.start_soon(self._stall_wires)
            nursery.start_soon(self._slow_disks)
            for victim in self.victims:
                nursery.start_soon(victim.run)
            nursery.start_soon(self._fell_node)
            async with trio.open_nursery() as users:
                for client in self.clients:
                    for _ in range(plan.actors):
                        actor = Actor(self, client, random.Random(rng.getrandbits(64)))
                        self.actors.append(actor)
                        users.start_soon(actor.run, plan.activities)
            await self.serving()  # a restart that is under way is not left half done
            nursery.cancel_scope.cancel()

    async def _watch(self) -> None:
        """Everything ends in time, whatever failed."""
        await trio.sleep(STUCK_S)
        waiting = [f"{actor.client.number}: {actor.doing}" for actor in self.actors if actor.doing != "done"]
        tasks = "\n".join(_describe(self._nursery.parent_task))
        raise AssertionError(f"stuck after {STUCK_S} s: {waiting}\n{tasks}")

    # -- faults --------------------------------------------------------------------------------------------

    async def _every(self, mean_s: float, act: Callable[[], None]) -> None:
        if mean_s == float("inf"):
            return
        while True:
            await trio.sleep(self.rng.expovariate(1 / mean_s))
            if self._serving.is_set():
                act()

    async def _cut_wires(self) -> None:
        def act() -> None:
            wires = list(self.node.wires) if self.node is not None else []
            if wires:
                self.count("wires cut")
                self.trace("cut")
                half_open_s = self.rng.choice((0.0, 0.0, self.rng.uniform(0.2, 10.0)))
                self.rng.choice(wires).cut(half_open_s)

        await self._every(self.plan.cuts_every_s, act)

    async def _stall_wires(self) -> None:
        def act() -> None:
            wires = list(self.node.wires) if self.node is not None else []
            if wires:
                wire, direction = self.rng.choice(wires), self.rng.randrange(2)
                wire.stall_until[direction] = trio.current_time() + self.rng.uniform(0.1, 4.0)

        await self._every(self.plan.stalls_every_s, act)

    async def _slow_disks(self) -> None:
        def act() -> None:
            self.rng.choice(self.disks).slow_s = self.rng.choice((0.0, 0.0, 0.01, 0.1))

        await self._every(self.plan.slow_every_s, act)

    async def _fell_node(self) -> None:
        """Power cuts and restarts, one after another."""
        kinds = ["power cut"] * self.plan.power_cuts + ["restart"] * self.plan.restarts
        self.rng.shuffle(kinds)
        for kind in kinds:
            await trio.sleep(self.rng.expovariate(1 / 3.0))
            assert self._serving.is_set()
            self._serving = trio.Event()
            node = self.node
            assert node is not None
            self.count(kind)
            self.trace(kind)
            if kind == "restart":
                node.stop()
                await node.ended.wait()
            else:
                node.power_off()
                await node.ended.wait()
                for disk in self.disks:
                    disk.power_cut(self.rng)
            self._forget_holders()
            for victim in self.victims:
                victim.restarted()
            await self._boot()
            await self._audit(after_cut=kind == "power cut")
            self._serving.set()

    def _forget_holders(self) -> None:
        for file in self.model.files:
            for stream in file.streams.values():
                stream.caching.clear()
                stream.locks.clear()

    # -- audits --------------------------------------------------------------------------------------------

    async def _audit(self, *, after_cut: bool) -> None:
        """Read everything, by a client of its own; the model then holds what was found."""
        async with self._visit() as tree:
            listed: dict[str, int] = {}
            for directory in self.model.directories:
                async for entry in tree.scandir(directory):
                    if not entry.is_dir():
                        listed[entry.path] = entry.inode()
            assert len(set(listed.values())) == len(listed), f"a file has two names: {listed}"
            now = self.clock.tick()
            for name in self.model.names:
                allowed = name.holds.after_cut() if after_cut else name.holds.seen(now - 1, now)
                node_id = listed.pop(name.path, None)
                file = self._which(node_id, allowed)
                if node_id is not None and file is None or node_id is None and None not in allowed:
                    ids = [one and (one.number, one.node_id) for one in allowed]
                    raise AssertionError(f"{name} holds {node_id}, allowed {ids}; {name.holds}")
                settled = Op(now, "audit")
                settled.answered(now, durable=after_cut)
                if after_cut:
                    name.holds.settle(settled, file)
                if file is not None:
                    async with await tree.open(name.path) as opened:
                        contents = {"": await opened.read(), SIDE: await self._read_side(tree, name.path)}
                        attributes = (await opened.stat()).st_file_attributes
                    self._audit_file(file, contents, attributes, name.path, settled if after_cut else None)
            assert not listed, f"nobody made {listed}"

    def _which(self, node_id: int | None, allowed: list[ModelFile | None]) -> ModelFile | None:
        if node_id is None:
            return None
        for file in allowed:
            if file is not None and file.node_id == node_id:
                return file
        for file in allowed:
            if file is not None and file.node_id is None:
                file.node_id = node_id
                return file
        return None

    async def _read_side(self, tree: Tree, path: str) -> bytes:
        try:
            return await tree.read_bytes(f"{path}:{SIDE}")
        except StatusError as error:
            if error.status != Status.OBJECT_NAME_NOT_FOUND:
                raise
            return b""

    def _audit_file(
        self, file: ModelFile, contents: dict[str, bytes], attributes: int, path: str, settled: Op | None
    ) -> None:
        hidden = bool(attributes & fscc.FILE_ATTRIBUTE_HIDDEN)
        if settled is None:
            now = self.clock.now
            assert hidden in file.hidden.seen(now - 1, now), f"{path}: HIDDEN is {hidden}; {file.hidden}"
        else:
            allowed = file.hidden.after_cut()
            assert hidden in allowed, f"{path}: HIDDEN is {hidden} after a power cut; {file.hidden}"
            file.hidden.settle(settled, hidden)
        for name, data in contents.items():
            stream = file.streams[name]
            what = f"{path}:{name}"
            if settled is None:
                assert len(data) in stream.size.seen(now - 1, now), (what, len(data), stream.size)
                stream.check_read(0, data, now - 1, now, f"{what} in the end")
            else:
                stream.check_after_cut(data, what)
                stream.settle(settled, data)

    async def _stop(self) -> None:
        assert self.node is not None
        node = self.node
        assert node.server.statistics.violations == 0
        node.stop()
        await node.ended.wait()


class _Bugs(logging.Handler):
    """What the server logs as a bug."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def text(self) -> str:
        return "\n".join(logging.Formatter().format(record) for record in self.records)

    def __enter__(self) -> _Bugs:
        logging.getLogger("sofs").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("sofs").removeHandler(self)


def _describe(task: trio.lowlevel.Task, depth: int = 0) -> Iterator[str]:
    """Where a task and those below it wait, in our own code."""
    places = [
        f"{frame.f_code.co_filename.rpartition('/')[2]}:{line} {frame.f_code.co_name}"
        for frame, line in task.iter_await_frames()
        if "/trio/" not in frame.f_code.co_filename
    ]
    yield "  " * depth + task.name.rpartition(".")[2] + ": " + " > ".join(places[-6:])
    for nursery in task.child_nurseries:
        for child in sorted(nursery.child_tasks, key=lambda child: child.name):
            yield from _describe(child, depth + 1)


def _only(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one error in nested groups; the group itself if there are several."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
