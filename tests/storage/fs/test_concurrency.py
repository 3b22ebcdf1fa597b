"""Many tasks at once on a few files, on spaces where everything may have to wait."""

import random

import pytest

from storage.errors import StorageError, VolumeFull
from storage.fs.catalog import CatalogFileSystem
from storage.fs.check import check_catalog
from tests.sim.runtime import InlineRuntime
from tests.storage.fs.model import real_bytes, run_to_end
from tests.suites.memoryspace import MemorySpace, Power

TASKS = 6
STEPS = 40
FILES = 3
CLUSTER = 65536


class Crowd:
    """Each file's bytes are of a kind of their own: a byte of another file shows."""

    def __init__(self, fs, rng):
        self.fs, self.rng = fs, rng
        self.running = 0
        self.stopped = False

    def kind(self, index):
        return bytes((index + 1,))

    def file(self, index):
        """The file of that number, held; made anew if somebody deleted it."""
        root = self.fs.root()
        entry = self.fs.lookup(root, f"file{index}")
        if entry is not None:
            node = entry.node
        else:
            sparse = 0x200 if self.rng.random() < 0.5 else 0
            node = self.fs.make(
                root, f"file{index}", is_directory=False, attributes=sparse, now=1, security=b"sd"
            )
        self.fs.hold(node)
        return node

    async def task(self):
        self.running += 1
        try:
            for _ in range(STEPS):
                index = self.rng.randrange(FILES)
                node = self.file(index)
                try:
                    await self.step(node, index)
                except VolumeFull:
                    pass
                finally:
                    self.fs.drop(node)
        except StorageError:
            self.stopped = True
        finally:
            self.running -= 1

    async def step(self, node, index):
        fs, rng, stream = self.fs, self.rng, node.data
        offset, length = rng.randrange(6 * CLUSTER), rng.choice((10, 5000, CLUSTER, 3 * CLUSTER))
        kind = rng.randrange(12)
        if kind < 5:
            data = memoryview(self.kind(index) * length)
            if not fs.write_now(stream, offset, data):
                await fs.write(stream, offset, data)
        elif kind == 5:
            await fs.set_size(stream, offset)
        elif kind == 6:
            await rng.choice((fs.zero, fs.trim))(stream, offset, length)
        elif kind == 7:
            await fs.set_allocation(stream, offset)
        elif kind == 8:
            await fs.clone(stream, 0, stream, 8 * CLUSTER, min(2 * CLUSTER, stream.size_bytes))
        elif kind == 9:
            await fs.flush(node)
        elif kind == 10 and node.links and rng.random() < 0.5:
            fs.unlink(fs.root(), f"file{index}")
        elif kind == 11:
            found = fs.stream(node, "named")
            if found is None:
                await fs.write(fs.make_stream(node, "named"), 0, memoryview(self.kind(index) * length))
            else:
                fs.remove_stream(found)
        else:
            into = memoryview(bytearray(min(length, max(stream.size_bytes - offset, 0))))
            if len(into):
                await fs.read(stream, offset, into)
                assert set(bytes(into)) <= {0, index + 1}, "bytes of another file"

    async def compare(self, fs):
        for index in range(FILES):
            entry = fs.lookup(fs.root(), f"file{index}")
            if entry is None:
                continue
            for stream in fs.streams(entry.node):
                assert set(await real_bytes(fs, stream)) <= {0, index + 1}, "bytes of another file"


@pytest.mark.parametrize("seed", range(12))
def test_tasks_at_once_never_mix_files_and_leave_a_sound_catalog(seed):
    """Writes, truncations, deletions and reads that wait at the same time; half of the seeds end in a power
    cut."""
    rng = random.Random(seed)
    runtime = InlineRuntime(rng=rng)
    power = Power()

    async def main():
        metadata = MemorySpace(6 << 20, runtime, power)
        data = MemorySpace(rng.choice((3, 16)) << 20, runtime, power)
        fs = await CatalogFileSystem.format(metadata, data, runtime, security=b"root")
        for space in (metadata, data):
            space.slow(rng)
            space.keeps_versions = True
        if seed % 2:
            power.left = rng.randrange(20, 400)
        crowd = Crowd(fs, rng)
        for _ in range(TASKS):
            runtime.spawn(crowd.task, "task")
        await runtime.sleep(0.01)
        while crowd.running:
            await runtime.sleep(0.01)
        if crowd.stopped:
            assert power.is_off
            metadata, data = metadata.power_cut(rng, runtime), data.power_cut(rng, runtime)
        else:
            power.left = None
            await crowd.compare(fs)
            await fs.close()
        assert (await check_catalog(metadata, data, runtime)).problems == []
        again = await CatalogFileSystem.open(metadata, data, runtime)
        await crowd.compare(again)
        await again.close()
        assert (await check_catalog(metadata, data, runtime)).problems == []

    run_to_end(runtime, main())
