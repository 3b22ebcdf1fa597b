"""A tiered volume in memory, and operations that movers must stand: for the tests of tiers."""

import random

from storage.errors import VolumeFull
from storage.fs.catalog import CatalogFileSystem
from storage.fs.check import check_catalog
from storage.fs.limits import CLUSTER_BYTES
from storage.tier.space import Tier, TieredSpace
from tests.sim.runtime import InlineRuntime
from tests.storage.fs.model import Script, run_to_end
from tests.suites.memoryspace import MemorySpace, Power

CLUSTER = CLUSTER_BYTES
MIB = 1 << 20
METADATA_BYTES = 8 * MIB


class Rig:
    """The spaces of a volume, what cuts their power, and how the volume is mounted."""

    def __init__(self, runtime, fast_bytes, slow_bytes, power=None):
        self.runtime = runtime
        self.power = power or Power()
        self.metadata = MemorySpace(METADATA_BYTES, runtime, self.power)
        self.parts = {
            Tier.FAST: MemorySpace(fast_bytes, runtime, self.power),
            Tier.SLOW: MemorySpace(slow_bytes, runtime, self.power),
        }

    @property
    def spaces(self):
        return [self.metadata, *self.parts.values()]

    def data(self):
        return TieredSpace(self.parts)

    async def format(self):
        return await CatalogFileSystem.format(self.metadata, self.data(), self.runtime, security=b"root")

    async def open(self):
        return await CatalogFileSystem.open(self.metadata, self.data(), self.runtime)

    async def problems(self):
        return (await check_catalog(self.metadata, self.data(), self.runtime)).problems

    def slow(self, rng):
        for space in self.spaces:
            space.slow(rng)

    def power_cut(self, rng, runtime):
        """The same volume as it is found afterwards."""
        found = Rig.__new__(Rig)
        found.runtime, found.power = runtime, Power()
        found.metadata = self.metadata.power_cut(rng, runtime, found.power)
        found.parts = {
            tier: part.power_cut(rng, runtime, found.power) for tier, part in sorted(self.parts.items())
        }
        return found


def tiered(body, fast_bytes=8 * MIB, slow_bytes=32 * MIB, seed=None):
    """Run `body(fs, rig)` on a new tiered volume; afterwards its catalog is consistent."""
    runtime = InlineRuntime(rng=None if seed is None else random.Random(seed))

    async def main():
        rig = Rig(runtime, fast_bytes, slow_bytes)
        fs = await rig.format()
        await body(fs, rig)
        await fs.close()
        assert await rig.problems() == []

    run_to_end(runtime, main())


def make(fs, name, attributes=0x20):
    return fs.make(
        fs.root(), name, is_directory=False, attributes=attributes, now=7, security=b"sd"
    )


async def put(fs, node, data, offset=0, stream=None):
    stream = stream or node.data
    if not fs.write_now(stream, offset, memoryview(data)):
        await fs.write(stream, offset, memoryview(data))


async def get(fs, node, stream=None):
    stream = stream or node.data
    into = memoryview(bytearray(stream.size_bytes))
    if not fs.read_now(stream, 0, into):
        await fs.read(stream, 0, into)
    return bytes(into)


def bytes_on(fs, node, tier):
    """How many bytes of the file's clusters lie on a tier."""
    return sum(fs._elsewhere_bytes(stream, 1 - tier) for stream in fs.streams(node))


class TierScript(Script):
    """Random operations of a volume with tiers: pins, passes, consolidation, retrim between the others."""

    async def step(self):
        if self.rng.random() >= 0.3:
            await super().step()
            return
        try:
            await self.rng.choice((self.pin, self.unpin, self.optimize, self.retrim, self.consolidate))()
        except VolumeFull:
            self.full += 1

    async def pin(self):
        file = self.pick([file for file in self.files() if file.links])
        if file is not None:
            await self.fs.pin(file.node, self.rng.choice((Tier.FAST, Tier.SLOW)))

    async def unpin(self):
        file = self.pick([file for file in self.files() if file.links])
        if file is not None:
            await self.fs.unpin(file.node)

    async def optimize(self):
        for file in self.files():
            for name, data in file.streams.values():
                stream = self.fs.stream(file.node, name)
                if len(data) and self.rng.random() < 0.5:
                    self.fs.read_now(stream, 0, memoryview(bytearray(len(data))))
        await self.fs.optimize_tiers()

    async def retrim(self):
        await self.fs.retrim()

    async def consolidate(self):
        await self.fs.consolidate()
