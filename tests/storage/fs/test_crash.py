"""Random operations against a dumb model: live, mounted anew, and after the power failed at any write or
flush."""

import random

import pytest

from storage.errors import StorageError
from storage.fs.catalog import CatalogFileSystem
from storage.fs.check import check_catalog
from tests.sim.runtime import InlineRuntime
from tests.storage.fs.model import Script, check_recovered, run_to_end
from tests.suites.memoryspace import MemorySpace, Power

METADATA_BYTES = 6 << 20
DATA_BYTES = 12 << 20
STEPS_MAX = 300


@pytest.mark.parametrize("seed", range(10))
def test_random_operations_agree_with_the_model(seed):
    """storage/fs/port.py: a change is visible at once; what was closed is found again; the catalog stays
    consistent."""
    rng = random.Random(seed)
    runtime = InlineRuntime(rng=rng)

    async def main():
        metadata, data = MemorySpace(METADATA_BYTES, runtime), MemorySpace(DATA_BYTES, runtime)
        if seed % 2:
            metadata.slow(rng)
            data.slow(rng)
        fs = await CatalogFileSystem.format(metadata, data, runtime, security=b"root")
        script = Script(rng, fs)
        for _ in range(3):
            for _ in range(60):
                await script.step()
                script.photograph()
            await script.compare()
            for file in script.held:
                fs.drop(file.node)
            script.held = []
            await fs.close()
            report = await check_catalog(metadata, data, runtime)
            assert report.problems == []
            fs = script.fs = await CatalogFileSystem.open(metadata, data, runtime)
            script.refresh()
            await script.compare()
        await fs.close()

    run_to_end(runtime, main())


@pytest.mark.parametrize("seed", range(14))
def test_after_a_power_cut_the_volume_is_as_it_was_at_some_moment_since_the_last_flush(seed):
    """storage/fs/port.py: After a crash the file system is as it was at some moment not earlier than the
    last flush; never metadata that exposes bytes which were not written."""
    rng = random.Random(1000 + seed)
    runtime = InlineRuntime(rng=rng)
    spaces: list[MemorySpace] = []
    scripts: list[Script] = []

    async def life(power: Power) -> None:
        metadata, data = spaces
        fs = await CatalogFileSystem.open(metadata, data, runtime)
        assert (await check_catalog(*spaces, runtime)).problems == []
        if scripts:
            await check_recovered(scripts[-1], fs)
        script = Script(rng, fs)
        await adopt(script, fs)
        scripts.append(script)
        power.left = rng.randrange(1, 150)
        try:
            for _ in range(STEPS_MAX):
                try:
                    await script.step()
                finally:
                    script.photograph()
        except StorageError:
            assert power.is_off

    async def begin() -> None:
        spaces[:] = [MemorySpace(METADATA_BYTES, runtime), MemorySpace(DATA_BYTES, runtime)]
        fs = await CatalogFileSystem.format(*spaces, runtime, security=b"root")
        await fs.close()

    run_to_end(runtime, begin())
    for _ in range(4):
        power = Power()
        for space in spaces:
            space.power = power
            space.keeps_versions = True
            if seed % 2:
                space.slow(rng)
        run_to_end(runtime, life(power))
        runtime = InlineRuntime(rng=rng)
        spaces = [space.power_cut(rng, runtime) for space in spaces]


async def adopt(script: Script, fs: CatalogFileSystem) -> None:
    """Take what a volume holds as the model's beginning: everything but the root's content is removed
    first."""
    for entry in fs.entries(fs.root(), None, 1000):
        remove(fs, fs.root(), entry.name)
    await fs.sync()
    script.photographs.clear()
    script.photograph()


def remove(fs: CatalogFileSystem, directory, name) -> None:
    entry = fs.lookup(directory, name)
    assert entry is not None
    if entry.node.data is None:
        for child in fs.entries(entry.node, None, 1000):
            remove(fs, entry.node, child.name)
    fs.unlink(directory, name)
