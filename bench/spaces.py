"""`python -m bench spaces [--quick] [--kinds GLOB] [--rebuild] [--encode]`

Spaces of every kind in this process, on files in memory (so: our CPU, not a disk's speed). A row is one kind
in one state; columns are MiB/s or thousands a second, CPU us a MiB or an operation, and bytes that reached
the disks per byte written. Writes are flushed: bulk ones at the end, small ones every 32; "sync" flushes
each. `--encode`: Reed-Solomon alone. `--rebuild`: how much of what paced disks give a rebuild uses.
"""

from __future__ import annotations

import argparse
import fnmatch
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trio
import trio.testing

from bench.disks import MeasuredDisk
from cluster.io.runtime import TrioRuntime
from interop.peers import tmpfs_folder
from storage.io.filedisk import FileDisk
from storage.pool.jobs.pace import QueueDepth
from storage.pool.metadata import MediaType
from storage.pool.pool import Pool
from storage.space.parity.codec import Codec
from storage.space.port import Space
from storage.units import SpaceOffset

MIB = 1 << 20
BLOCK = 4096


@dataclass(frozen=True, slots=True)
class Kind:
    name: str
    resiliency: str
    disks: int
    columns: int
    cache_bytes: int | None = 0


KINDS = (
    Kind("simple", "simple", 3, 3),
    Kind("mirror", "mirror", 4, 2),
    Kind("mirror + cache", "mirror", 4, 2, 64 * MIB),
    Kind("three-way", "three-way-mirror", 6, 2),
    Kind("three-way + cache", "three-way-mirror", 6, 2, 64 * MIB),
    Kind("parity 2+1", "parity", 3, 3, 32 * MIB),
    Kind("parity 4+1", "parity", 5, 5, 32 * MIB),
    Kind("dual parity 2+2", "dual-parity", 4, 4, 32 * MIB),
    Kind("dual parity 4+2", "dual-parity", 6, 6, 32 * MIB),
)
STATES = ("healthy", "degraded", "rebuild")


@dataclass(slots=True)
class Cell:
    """What one load took. `amount`: MiB or operations."""

    amount: float
    elapsed_s: float
    cpu_s: float
    written_per_byte: float

    def text(self, is_bulk: bool, is_write: bool) -> str:
        rate = self.amount / self.elapsed_s
        head = f"{rate:6.0f} MiB/s" if is_bulk else f"{rate / 1000:6.1f} k/s"
        text = f"{head} {self.cpu_s / self.amount * 1e6:6.0f} us"
        return text + (f" x{self.written_per_byte:4.1f}" if is_write else "")


class Bench:
    def __init__(self, runtime: TrioRuntime, folder: Path, kind: Kind, size: int) -> None:
        self.runtime = runtime
        self.folder = folder
        self.kind = kind
        self.size = size
        self.rng = random.Random(1)
        self.data = memoryview(os.urandom(MIB))
        self.into = memoryview(bytearray(MIB))
        self.disks: list[MeasuredDisk] = []
        self.pool: Pool
        self.space: Space

    async def make(self, spare: int = 1, bytes_per_s: float | None = None) -> None:
        count = self.kind.disks + spare
        for number in range(count):
            disk = FileDisk.create(
                str(self.folder / f"disk{number}"), 2 * self.size + 256 * MIB, self.runtime
            )
            self.disks.append(MeasuredDisk(disk, bytes_per_s))
        media = [MediaType.HDD] * count
        self.pool = await Pool.create(
            self.disks, "bench", runtime=self.runtime, slab_bytes=4 * MIB, media=media
        )
        self.space = await self.pool.create_space(
            "s",
            self.kind.resiliency,
            self.size,
            columns=self.kind.columns,
            write_cache_bytes=self.kind.cache_bytes,
        )

    async def end(self) -> None:
        await self.pool.jobs.stop()
        await self.pool.close()

    def written(self) -> int:
        return sum(disk.written_bytes for disk in self.disks)

    def read(self) -> int:
        return sum(disk.read_bytes for disk in self.disks)

    async def measure(self, work: Callable[[], Awaitable[int]], is_bulk: bool) -> Cell:
        """`work` returns the bytes it moved."""
        written = self.written()
        begin, cpu = time.perf_counter(), time.process_time()
        count = await work()
        elapsed, cpu = time.perf_counter() - begin, time.process_time() - cpu
        return Cell(count / (MIB if is_bulk else BLOCK), elapsed, cpu, (self.written() - written) / count)

    # -- loads ---------------------------------------------------------------------------------------------

    async def write_all(self, fresh: bool = False) -> int:
        for at in range(0, self.size, MIB):
            offset = SpaceOffset(at)
            if not self.space.write_now(offset, (self.data,), fresh):
                await self.space.write(offset, (self.data,), fresh)
            await trio.lowlevel.checkpoint()
        await self.space.flush()
        return self.size

    async def read_all(self) -> int:
        for at in range(0, self.size, MIB):
            if not self.space.read_now(SpaceOffset(at), self.into):
                await self.space.read(SpaceOffset(at), self.into)
            await trio.lowlevel.checkpoint()
        return self.size

    def random_write(self, count: int, every: int) -> Callable[[], Awaitable[int]]:
        async def work() -> int:
            block = self.data[:BLOCK]
            for number in range(1, count + 1):
                offset = SpaceOffset(self.rng.randrange(self.size // BLOCK) * BLOCK)
                if not self.space.write_now(offset, (block,)):
                    await self.space.write(offset, (block,))
                if number % every == 0:
                    await self.space.flush()
            await self.space.flush()
            return count * BLOCK

        return work

    def random_read(self, count: int) -> Callable[[], Awaitable[int]]:
        async def work() -> int:
            block = self.into[:BLOCK]
            for number in range(count):
                offset = SpaceOffset(self.rng.randrange(self.size // BLOCK) * BLOCK)
                if not self.space.read_now(offset, block):
                    await self.space.read(offset, block)
                if number % 64 == 0:
                    await trio.lowlevel.checkpoint()
            return count * BLOCK

        return work

    async def rows(self, state: str, count: int) -> dict[str, str]:
        cells: dict[str, str] = {}
        if state == "healthy":
            cells["new 1M"] = (await self.measure(lambda: self.write_all(True), True)).text(True, True)
        if state != "rebuild":
            cells["rewrite 1M"] = (await self.measure(self.write_all, True)).text(True, True)
        cells["read 1M"] = (await self.measure(self.read_all, True)).text(True, False)
        cells["read 4k"] = (await self.measure(self.random_read(2 * count), False)).text(False, False)
        cells["write 4k"] = (await self.measure(self.random_write(count, 32), False)).text(False, True)
        cells["sync 4k"] = (await self.measure(self.random_write(count // 4, 1), False)).text(False, True)
        return cells


def show(name: str, state: str, cells: dict[str, str]) -> None:
    sys.stdout.write(f"{name:18s} {state:9s} " + "  ".join(f"{k} {v}" for k, v in cells.items()) + "\n")
    sys.stdout.flush()


async def run_kind(kind: Kind, folder: Path, size: int, count: int) -> None:
    async with trio.open_nursery() as nursery:
        bench = Bench(TrioRuntime(nursery), folder, kind, size)
        await bench.make()
        show(kind.name, "healthy", await bench.rows("healthy", count))
        if kind.resiliency != "simple":
            bench.disks[0].give_up("taken away for the bench")
            show(kind.name, "degraded", await bench.rows("degraded", count))
            await bench.pool.retire_disk(0)
            job = await bench.pool.jobs.repair()
            cells = await bench.rows("rebuild", count)
            is_over = bench.pool.jobs.status(job).percent
            show(kind.name, "rebuild", {**cells, "rebuilt meanwhile": f"{is_over} %"})
            await bench.pool.jobs.wait(job)
        await bench.end()
        nursery.cancel_scope.cancel()


async def run_rebuild(kind: Kind, folder: Path, size: int, bytes_per_s: float) -> None:
    """One disk of `kind` is lost and retired; how much of what the busiest disk gives does the rebuild use?
    What is rebuilt is read back (verified), so its disk moves it twice. Time is simulated: only the disks
    take any, so the machine's load doesn't count; our own time stands beside it."""
    async with trio.open_nursery() as nursery:
        bench = Bench(TrioRuntime(nursery), folder, kind, size)
        await bench.make(bytes_per_s=bytes_per_s)
        await bench.write_all(True)
        bench.disks[0].give_up("taken away for the bench")
        await bench.write_all()
        bench.pool.jobs.set_speed(QueueDepth.VERY_HIGH)
        await bench.pool.retire_disk(0)
        before = [(disk.read_bytes, disk.written_bytes) for disk in bench.disks]
        begin, cpu = trio.current_time(), time.process_time()
        status = await bench.pool.jobs.wait(await bench.pool.jobs.repair())
        elapsed, cpu = trio.current_time() - begin, time.process_time() - cpu
        pairs = list(zip(bench.disks, before, strict=True))
        moved = [disk.read_bytes - read + disk.written_bytes - written for disk, (read, written) in pairs]
        rebuilt = sum(disk.written_bytes - written for disk, (_, written) in pairs) / MIB
        given = elapsed * bytes_per_s / 100
        sys.stdout.write(
            f"{kind.name:18s} rebuild   {status.state} {rebuilt:5.0f} MiB in {elapsed:5.2f} s: "
            f"{rebuilt / elapsed:5.0f} MiB/s; busiest disk at {max(moved) / given:3.0f} %, "
            f"all at {sum(moved) / given / (len(moved) - 1):3.0f} % of {bytes_per_s / MIB:.0f} MiB/s; "
            f"our own time {cpu / rebuilt * 1e6:6.0f} us a MiB\n"
        )
        sys.stdout.flush()
        await bench.end()
        nursery.cancel_scope.cancel()


def encode() -> None:
    for data, parities in ((4, 2), (2, 2), (6, 2), (4, 1)):
        codec = Codec(data, parities)
        blocks = [np.frombuffer(os.urandom(MIB), dtype=np.uint64) for _ in range(data)]
        codec.encode(blocks)
        best = float("inf")
        for _ in range(200):
            begin = time.perf_counter()
            codec.encode(blocks)
            best = min(best, time.perf_counter() - begin)
        sys.stdout.write(f"encode {data}+{parities}: {data * MIB / best / 1e9:5.2f} GB of data a second\n")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bench spaces", description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--kinds", default="*", help="kinds whose name matches this pattern")
    parser.add_argument("--encode", action="store_true")
    parser.add_argument("--rebuild", action="store_true")
    parser.add_argument("--disk-mib-s", type=float, default=150.0, help="speed of a paced disk")
    options = parser.parse_args(arguments)
    if options.encode:
        encode()
        return 0
    size, count = (64 * MIB, 1000) if options.quick else (256 * MIB, 8000)
    scratch = Path(tmpfs_folder("bench"))
    try:
        for kind in KINDS:
            if not fnmatch.fnmatch(kind.name, options.kinds) or (
                options.rebuild and kind.resiliency == "simple"
            ):
                continue
            folder = Path(tempfile.mkdtemp(dir=scratch))
            if options.rebuild:
                clock = trio.testing.MockClock(autojump_threshold=0)
                trio.run(run_rebuild, kind, folder, size, options.disk_mib_s * MIB, clock=clock)
            else:
                trio.run(run_kind, kind, folder, size, count)
            shutil.rmtree(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return 0
