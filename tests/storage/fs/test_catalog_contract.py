"""The contract of a file system, over the catalog: on quick spaces, on slow ones, and mounted anew in
between."""

import random

from storage.fs.catalog import CatalogFileSystem
from storage.fs.check import check_catalog
from tests.sim.runtime import InlineRuntime
from tests.storage.fs.model import run_to_end
from tests.suites.filesystem import FileSystemContract
from tests.suites.memoryspace import MemorySpace

METADATA_BYTES = 16 << 20
DATA_BYTES = 64 << 20


class TestCatalog(FileSystemContract):
    def run(self, body):
        runtime = InlineRuntime()

        async def main():
            metadata, data = MemorySpace(METADATA_BYTES, runtime), MemorySpace(DATA_BYTES, runtime)
            fs = await CatalogFileSystem.format(metadata, data, runtime, label="contract")
            await body(fs)
            await fs.close()
            report = await check_catalog(metadata, data, runtime)
            assert report.problems == []

        run_to_end(runtime, main())


class TestCatalogOnSlowSpaces(FileSystemContract):
    """`*_now` often says that it would have to wait."""

    def run(self, body):
        rng = random.Random(5)
        runtime = InlineRuntime(rng=rng)

        async def main():
            metadata, data = MemorySpace(METADATA_BYTES, runtime), MemorySpace(DATA_BYTES, runtime)
            metadata.slow(rng)
            data.slow(rng)
            fs = await CatalogFileSystem.format(metadata, data, runtime, label="contract")
            await body(fs)
            await fs.close()
            report = await check_catalog(metadata, data, runtime)
            assert report.problems == []

        run_to_end(runtime, main())
