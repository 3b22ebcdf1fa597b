"""A whole node in a simulation: disks, pool, volume, object store, server, timers, all on one runtime.

SimNode.run:  disks -> Pool.open -> check of the catalog -> CatalogFileSystem -> ObjectStoreVolume -> Server
connect:      a `Wire` whose far end the server serves
stop:         everything in order, as at a shutdown
power_off:    everything at once; what the disks hold then is for `FaultyDisk.power_cut`
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import trio

from cluster import volumes
from smbproto.security.legacy import nt_hash
from smbsrv.connection import Connection, Driver
from smbsrv.io.stream import serve_stream
from smbsrv.io.timers import run_timers
from smbsrv.server import Account, Server, ServerConfig
from smbsrv.share import Share
from storage.fs.catalog import CatalogFileSystem
from storage.fs.check import check_catalog
from storage.objectstore.volume import ObjectStoreVolume
from storage.pool.pool import Pool
from storage.space.resiliency import resiliency as find_resiliency
from storage.volume import Token
from tests.sim.disk import PowerCut
from tests.sim.faultydisk import FaultyDisk
from tests.sim.simruntime import SimRuntime
from tests.sim.wire import Wire

USER: Final = "ana"
PASSWORD: Final = "open sesame"
VOLUME: Final = "v"
METADATA, DATA, FAST = "v/metadata", "v/data", "v/fast"
METADATA_BYTES: Final = 8 << 20
_SID = "S-1-5-21-1-2-3-1001"
_TOKEN = Token(
    _SID,
    frozenset({_SID, "S-1-1-0", "S-1-5-11", "S-1-5-32-544", "S-1-5-32-545"}),
    _SID,
    "S-1-5-21-1-2-3-513",
    name=USER,
)


class Accounts:
    """`smbsrv.server.Authenticator` with one user."""

    _account = Account(USER, "SIM", nt_hash(PASSWORD), _TOKEN)

    def lookup(self, user: str, domain: str) -> Account | None:
        return self._account if user == USER else None


class SimServer(Server):
    """Tells each wire which connection it became."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.awaited: dict[str, Wire] = {}

    def new_connection(self, driver: Driver, peer: str) -> Connection:
        connection = super().new_connection(driver, peer)
        self.awaited.pop(peer).served_by = connection
        return connection


class SimNode:
    """See the module. One object is one life: a restart makes another."""

    def __init__(
        self, rng: random.Random, delay_s: float, *, encrypt: bool = False, has_jobs: bool = True
    ) -> None:
        self._rng = rng
        self._delay_s = delay_s
        self._encrypt = encrypt
        self._has_jobs = has_jobs
        """The pool repairs itself; else it is resynced when it is opened."""
        self._nursery: trio.Nursery
        self.pool: Pool
        self.fs: CatalogFileSystem
        self.volume: ObjectStoreVolume
        self.server: SimServer
        self.runtime: SimRuntime
        self.disks: Sequence[FaultyDisk] = ()
        self.wires: dict[Wire, None] = {}
        self.is_up = False
        self.is_closing = False
        self._next_peer = 0
        self.ended = trio.Event()
        self._stopping = trio.Event()

    async def run(
        self, disks: Sequence[FaultyDisk], task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Until `stop` or `power_off`. Started once it serves."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                self.runtime = SimRuntime(nursery, self._rng)
                self.disks = disks
                for disk in disks:
                    disk.attach(self.runtime)
                await self._open()
                self.is_up = True
                task_status.started()
                await self._stopping.wait()
                await self._close()
                nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            _, rest = group.split(PowerCut)
            if rest is not None:
                raise rest from None
        finally:
            self.is_up = False
            self.ended.set()

    async def _open(self) -> None:
        there = [disk for disk in self.disks if disk.failure is None]
        self.pool = await Pool.open(there, self.runtime, resync=not self._has_jobs)
        if self._has_jobs:
            self.pool.jobs.automatic.scrub_every_s = None
            self.pool.jobs.start()
        metadata, data = volumes.spaces(self.pool, VOLUME)
        report = await check_catalog(metadata, data, self.runtime)
        assert report.problems == [], report.problems
        self.fs = await CatalogFileSystem.open(metadata, data, self.runtime)
        self.volume = ObjectStoreVolume(self.fs, self.runtime)
        config = ServerConfig(guid=b"simulated-server", encrypt_data=self._encrypt)
        self.server = SimServer(config, self.runtime, Accounts())
        self.server.add_share(Share("data", self.volume))
        self._nursery.start_soon(run_timers, self.server, lambda now: None)

    async def _close(self) -> None:
        self.is_closing = True
        self.server.is_stopping = True
        for wire in self.wires:
            wire.cut()
        await self.server.shut_down()
        await self.volume.close()
        await self.pool.jobs.stop()
        await self.pool.close()

    def spawn(self, work: Callable[..., Awaitable[None]], *args: object) -> None:
        """It ends with this life of the node."""
        self._nursery.start_soon(work, *args)

    def connect(self) -> Wire:
        """A new connection; its client end is the caller's."""
        assert self.is_up
        wire = Wire(self._rng, self._delay_s)
        self.wires[wire] = None
        self._nursery.start_soon(self._carry, wire)
        self._nursery.start_soon(self._serve, wire)
        return wire

    async def _serve(self, wire: Wire) -> None:
        peer = f"sim-{self._next_peer}"
        self._next_peer += 1
        self.server.awaited[peer] = wire
        await serve_stream(self.server, wire.server_end, peer)

    async def _carry(self, wire: Wire) -> None:
        try:
            await wire.run()
        finally:
            wire.cut()
            del self.wires[wire]

    def stop(self) -> None:
        self._stopping.set()
        self.is_up = False

    def power_off(self) -> None:
        self.is_up = False
        if hasattr(self, "server"):
            self.server.is_stopping = True
        for disk in self.disks:
            disk.power_off()
        for wire in self.wires:
            wire.cut()
        self.runtime.power_off()
        self._nursery.cancel_scope.cancel()

    def is_quiet(self, connection: Connection) -> bool:
        """Nothing of this connection, which is lost, is under way any more."""
        return connection not in self.server.connections and not connection.jobs


async def format_disks(
    disks: Sequence[FaultyDisk],
    rng: random.Random,
    slab_bytes: int,
    data_bytes: int,
    resiliency: str,
    journal_bytes: int | None,
    fast_bytes: int,
) -> None:
    """A new pool with one volume on these disks. `fast_bytes`: of a fast tier, if it has tiers."""
    async with trio.open_nursery() as nursery:
        runtime = SimRuntime(nursery, rng)
        for disk in disks:
            disk.attach(runtime)
        pool = await Pool.create(list(disks), "sim", runtime=runtime, slab_bytes=slab_bytes)
        catalog = volumes.MIRRORS[find_resiliency(resiliency).tolerance]
        await pool.create_space(METADATA, catalog, METADATA_BYTES, columns=1, write_cache_bytes=0)
        await pool.create_space(DATA, resiliency, data_bytes, write_cache_bytes=journal_bytes)
        if fast_bytes:
            await pool.create_space(FAST, resiliency, fast_bytes, write_cache_bytes=0)
        fs = await CatalogFileSystem.format(*volumes.spaces(pool, VOLUME), runtime, label="sim")
        await fs.close()
        await pool.close()
        nursery.cancel_scope.cancel()
