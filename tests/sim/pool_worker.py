"""One user of a simulated space: reads, writes, flushes and trims at random, and checks what it is told.

Every sector it writes is random, so each content belongs to one write. Some calls are cancelled: what they
wrote may or may not be there. An error is a finding, unless the space promises nothing once a disk is hurt
(simple), or there is no room (PoolFull).
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import trio

from storage.errors import PoolFull, StorageError
from storage.units import SpaceOffset
from tests.sim.pool_model import SECTOR, SpaceModel

if TYPE_CHECKING:
    from tests.sim.pool_simulation import PoolSimulation

BLOCK = 4096


class SpaceUser:
    def __init__(self, simulation: PoolSimulation, name: str, model: SpaceModel, rng: random.Random) -> None:
        self._sim = simulation
        self.name = name
        self.model = model
        self._rng = rng
        self.doing = "nothing"

    async def run(self, count: int) -> None:
        acts = [self._read] * 4 + [self._write] * 5 + [self._flush] * 2
        if self._sim.plan.may_trim:
            acts.append(self._trim)
        for _ in range(count):
            act = self._rng.choice(acts)
            self.doing = act.__name__
            if self._rng.random() < 0.05:
                with trio.move_on_after(self._rng.expovariate(1 / 0.005)):
                    await act()
            else:
                await act()
            if self._rng.random() < 0.3:
                await trio.sleep(self._rng.expovariate(1 / self._sim.plan.think_s))
        self.doing = "done"

    def _range(self) -> tuple[int, int]:
        size = self.model.size_bytes
        shape = self._rng.random()
        if shape < 0.6:
            length = self._rng.choice((1, 1, 2, 4, 16)) * BLOCK
            offset = self._rng.randrange(size // BLOCK) * BLOCK
        elif shape < 0.85:
            length = self._rng.randrange(1, 40) * SECTOR
            offset = self._rng.randrange(size // SECTOR) * SECTOR
        else:
            length = self._rng.randrange(1, 40) * BLOCK
            offset = self._rng.randrange(size // BLOCK) * BLOCK
        return offset, min(length, size - offset)

    async def _read(self) -> None:
        offset, length = self._range()
        buffer = bytearray(length)
        began = self.model.read_begins()
        try:
            space = self._sim.pool.space(self.name)
            if not space.read_now(SpaceOffset(offset), memoryview(buffer)):
                await space.read(SpaceOffset(offset), memoryview(buffer))
        except StorageError as error:
            self._sim.told(self.name, "read", offset, error)
            return
        if not self._sim.may_be_deceived(self.name):
            self.model.read_ends(began, offset, buffer)

    async def _write(self) -> None:
        offset, length = self._range()
        data = self._rng.randbytes(length)
        fresh = self._sim.plan.may_be_fresh and self._rng.random() < 0.1
        written = self.model.write_begins(offset, data, fresh)
        is_sure = False
        try:
            space = self._sim.pool.space(self.name)
            if not space.write_now(SpaceOffset(offset), [data], fresh):
                await space.write(SpaceOffset(offset), [data], fresh)
            is_sure = True
        except PoolFull:
            self._sim.counts["pool full"] += 1
        except StorageError as error:
            self._sim.told(self.name, "write", offset, error)
        finally:
            self.model.write_ends(written, is_sure)

    async def _flush(self) -> None:
        began = self.model.flush_begins()
        try:
            await self._sim.pool.space(self.name).flush()
        except StorageError as error:
            self._sim.told(self.name, "flush", 0, error)
            return
        self.model.flush_ends(began)
        self._sim.counts["flushes"] += 1

    async def _trim(self) -> None:
        offset, length = self._range()
        if self._rng.random() < 0.3:
            offset, length = 0, self.model.size_bytes
        written = self.model.trim_begins(offset, length)
        try:
            await self._sim.pool.space(self.name).trim(SpaceOffset(offset), length)
        except StorageError as error:
            self._sim.told(self.name, "trim", offset, error)
        finally:
            self.model.write_ends(written, False)
