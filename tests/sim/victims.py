"""Disks that may fail in a simulation of a node: as many as its data tolerates to lose, each in its own way.

    fails    once, for good; it may be brought back to the running pool, or be there again after a restart
    flaky    fails at some call, as above
    absent   is not there after some restarts
    rots     its blocks change; the label at its beginning excepted
    forgets  once, a range holds again what it held some time ago (a failed remap)

Nobody else fails; all may be slow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from storage.errors import DiskFailed, LabelCorrupt, PoolInUse, StorageError
from storage.units import BLOCK_BYTES
from tests.sim.faultydisk import FaultyDisk

if TYPE_CHECKING:
    from tests.sim.node import SimNode
    from tests.sim.simulation import Simulation

VICTIMS = ("fails", "flaky", "absent", "rots", "forgets")
DECEIVERS = ("rots", "forgets")
FIRST_BLOCK = 512
"""Before it lie labels, logs and metadata of the pool, whose loss is the loss of the disk."""
CHUNK_BLOCKS = 16


class Victim:
    """One disk and what happens to it."""

    def __init__(self, sim: Simulation, disk: FaultyDisk, kind: str) -> None:
        self._sim = sim
        self.disk = disk
        self.kind = kind

    async def run(self) -> None:
        """What happens while clients are at work."""
        rng, disk = self._sim.rng, self.disk
        if self.kind == "fails":
            await trio.sleep(rng.expovariate(1 / 2.0))
            self._sim.count("disk failed")
            disk.fail()
        elif self.kind == "flaky":
            disk.error_rate = 0.002
        while self.kind == "rots":
            await trio.sleep(rng.expovariate(1 / 0.5))
            disk.rot(self._block() * BLOCK_BYTES, BLOCK_BYTES, rng)
        if self.kind == "forgets":
            await trio.sleep(rng.expovariate(1 / 1.0))
            offset = self._block() // CHUNK_BLOCKS * CHUNK_BLOCKS * BLOCK_BYTES
            held = bytes(disk.content[offset : offset + CHUNK_BLOCKS * BLOCK_BYTES])
            await trio.sleep(rng.expovariate(1 / 2.0))
            disk.content[offset : offset + len(held)] = held
            disk.durable[offset : offset + len(held)] = held
        while self.kind in ("fails", "flaky"):
            await trio.sleep(rng.expovariate(1 / 3.0))
            if disk.failure is not None and self._sim.is_serving and rng.random() < 0.5:
                self.heal()
                assert self._sim.node is not None
                self._sim.node.spawn(self._bring_back, self._sim.node)

    def restarted(self) -> None:
        """The node is down for a moment."""
        rng = self._sim.rng
        if self.kind == "absent":
            if self.disk.failure is None and rng.random() < 0.6:
                self._sim.count("disk absent")
                self.disk.fail("is not there")
            else:
                self.heal()
        elif self.disk.failure is not None and rng.random() < 0.3:
            self._sim.count("disk came back")
            self.heal()

    def heal(self) -> None:
        self.disk.heal()
        self.disk.is_closed = False
        self.disk.error_rate = 0.0

    async def _bring_back(self, node: SimNode) -> None:
        try:
            await node.pool.return_disk(self.disk)
            self._sim.count("disk returned")
        except (DiskFailed, PoolInUse, LabelCorrupt):
            self._sim.count("disk not taken back")
        except StorageError as error:
            raise AssertionError(f"return of {self.disk.name}: {error}") from error

    def _block(self) -> int:
        return self._sim.rng.randrange(FIRST_BLOCK, self.disk.size_bytes // BLOCK_BYTES)
