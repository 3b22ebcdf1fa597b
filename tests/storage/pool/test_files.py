"""Pools on files, under Trio, as the server runs them; and a pool of version 1, which must still open."""

from __future__ import annotations

import gzip
import os
import random
from pathlib import Path

import pytest
import trio

from cluster.io.runtime import TrioRuntime
from storage.errors import PoolInUse
from storage.io.filedisk import FileDisk
from storage.pool.pool import Pool
from storage.space.mirror import MirrorSpace
from storage.units import SpaceOffset
from tests.sim.runtime import InlineRuntime
from tests.sim.world import check_copies, read_all

SLAB = 1 << 20
VECTORS = Path(__file__).parents[2] / "vectors"


def run(work) -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            runtime = TrioRuntime(nursery)
            await work(runtime)
            nursery.cancel_scope.cancel()

    trio.run(main)


def drop(pool: Pool) -> None:
    """As if the process had been killed, after its tasks are gone: the descriptors close, nothing else."""
    for member in pool._core.members.values():
        os.close(member.disk.inner._fd)
        member.disk.inner._fd = -1


@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize("kind", ["mirror", "three-way-mirror", "parity", "dual-parity", "cached"])
def test_a_pool_on_files_comes_back_as_it_was(tmp_path: Path, clean: bool, kind: str) -> None:
    rng = random.Random(3)
    model = bytearray(6 * SLAB)

    paths = [str(tmp_path / f"disk{number}") for number in range(4)]
    pools: list[Pool] = []

    async def write(runtime: TrioRuntime) -> None:
        disks = [FileDisk.create(path, 32 << 20, runtime) for path in paths]
        pool = await Pool.create(disks, "tank", runtime=runtime, slab_bytes=SLAB)
        resiliency, cache = (kind, None) if kind != "cached" else ("mirror", 4 << 20)
        columns = {"mirror": 2, "cached": 2, "parity": 3, "dual-parity": 4}.get(kind, 1)
        space = await pool.create_space(
            "s", resiliency, len(model), columns=columns, write_cache_bytes=cache
        )
        for _ in range(40):
            offset = rng.randrange(len(model))
            data = rng.randbytes(min(len(model) - offset, rng.choice((1, 4096, 50_000, 2_000_000))))
            if not space.write_now(SpaceOffset(offset), [data]):
                await space.write(SpaceOffset(offset), [data])
            model[offset : offset + len(data)] = data
        if clean:
            await pool.close()
        else:
            await space.flush()
            pools.append(pool)

    async def read(runtime: TrioRuntime) -> None:
        disks = [FileDisk.open(path, runtime) for path in reversed(paths)]
        pool = await Pool.open(disks, runtime)
        again = pool.space("s")
        assert await read_all(again) == model
        if isinstance(again, MirrorSpace):
            await check_copies(again)
        with pytest.raises(PoolInUse):
            FileDisk.open(paths[0], runtime)
        await pool.close()

    run(write)
    for pool in pools:
        drop(pool)
    run(read)


def test_thin_files_take_what_was_written_and_give_it_back(tmp_path: Path) -> None:
    async def work(runtime: TrioRuntime) -> None:
        disks = [FileDisk.create(str(tmp_path / f"disk{number}"), 64 << 20, runtime) for number in range(2)]
        pool = await Pool.create(disks, "tank", runtime=runtime, slab_bytes=4 << 20)
        space = await pool.create_space("s", "mirror", 48 << 20)

        def taken() -> int:
            return sum(os.stat(disk.name).st_blocks * 512 for disk in disks)

        empty = taken()
        assert empty < 4 << 20
        await space.write(SpaceOffset(0), [os.urandom(16 << 20)])
        await space.flush()
        assert taken() - empty > 32 << 20
        assert space.usage().footprint_bytes == 32 << 20
        await space.trim(SpaceOffset(0), 16 << 20)
        await space.flush()
        assert taken() - empty < 2 << 20
        assert space.usage().allocated_bytes == 0
        await pool.close()

    run(work)


def test_a_writer_that_is_cancelled_leaves_blocks_whole(tmp_path: Path) -> None:
    """Each block reads as before or after; the space goes on."""

    async def work(runtime: TrioRuntime) -> None:
        disks = [FileDisk.create(str(tmp_path / f"disk{number}"), 32 << 20, runtime) for number in range(2)]
        pool = await Pool.create(disks, "tank", runtime=runtime, slab_bytes=SLAB)
        space = await pool.create_space("s", "mirror", 16 << 20)
        assert isinstance(space, MirrorSpace)
        for steps in range(12):
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    for number in range(4):
                        nursery.start_soon(
                            space.write, SpaceOffset(number * SLAB), [bytes([steps + 1]) * SLAB]
                        )
                    nursery.start_soon(space.flush)
                    for _ in range(steps):
                        await trio.lowlevel.checkpoint()
                    scope.cancel()
            content = await read_all(space)
            for block in range(0, 4 * SLAB, 4096):
                assert len(set(content[block : block + 4096])) == 1
        await space.write(SpaceOffset(0), [b"z" * SLAB])
        await space.flush()
        assert (await read_all(space))[:SLAB] == b"z" * SLAB
        await check_copies(space)
        assert not space.claims and not space.allocating
        await pool.close()

    run(work)


def test_reads_of_another_thread_see_whole_blocks_while_the_loop_writes(tmp_path: Path) -> None:
    async def work(runtime: TrioRuntime) -> None:
        disks = [FileDisk.create(str(tmp_path / f"disk{number}"), 32 << 20, runtime) for number in range(2)]
        pool = await Pool.create(disks, "tank", runtime=runtime, slab_bytes=SLAB)
        space = await pool.create_space("s", "mirror", 4 << 20)
        await space.write(SpaceOffset(0), [bytes(65536)])
        reads: list[int] = []

        def read() -> None:
            into = bytearray(65536)
            while len(reads) < 20:
                space.read_blocking(SpaceOffset(0), memoryview(into))
                assert all(len(set(into[at : at + 4096])) == 1 for at in range(0, 65536, 4096))
                reads.append(1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(runtime.blocking, read)
            while len(reads) < 20:
                for number in range(50):
                    assert space.write_now(SpaceOffset(number % 16 * 4096), [bytes([number]) * 4096])
                await trio.lowlevel.checkpoint()
        await space.flush()
        await pool.close()

    run(work)


def golden_content() -> bytes:
    rng = random.Random(2026)
    return b"".join(bytes([rng.randrange(256)]) * 1000 for _ in range(100))


@pytest.mark.parametrize("version", [1])
def test_a_pool_of_each_older_version_still_opens(tmp_path: Path, version: int) -> None:
    runtime = InlineRuntime()
    paths = []
    for number in range(3):
        image = gzip.decompress((VECTORS / f"pool-v{version}-disk{number}.img.gz").read_bytes())
        paths.append(str(tmp_path / f"disk{number}"))
        Path(paths[-1]).write_bytes(image)

    async def work() -> None:
        pool = await Pool.open([FileDisk.open(path, runtime) for path in paths], runtime)
        assert (pool.name, pool.space_names) == ("golden", ["thin", "fixed"])
        content = golden_content()
        thin, fixed = pool.space("thin"), pool.space("fixed")
        assert isinstance(thin, MirrorSpace) and isinstance(fixed, MirrorSpace)
        assert (await read_all(thin))[5000 : 5000 + len(content)] == content
        assert (await read_all(fixed))[: len(content)] == content
        kinds = [(one.resiliency, one.provisioning, one.columns) for one in pool.status().spaces]
        assert kinds == [("mirror", "thin", 1), ("simple", "fixed", 2)]
        await check_copies(thin)
        await pool.close()

    runtime.run(work())


def test_a_pool_of_version_2_opens_with_all_that_it_knows(tmp_path: Path) -> None:
    """Made without a clean shutdown: a slab was moving, a job ran, one disk's copies were stale, the
    journals held
    what wasn't written in place yet."""
    runtime = InlineRuntime()
    paths = []
    for number in range(6):
        image = gzip.decompress((VECTORS / f"pool-v2-disk{number}.img.gz").read_bytes())
        paths.append(str(tmp_path / f"disk{number}"))
        Path(paths[-1]).write_bytes(image)
    content = golden_content()

    async def work() -> None:
        pool = await Pool.open([FileDisk.open(path, runtime) for path in paths], runtime)
        status = pool.status()
        assert (pool.name, pool.space_names) == ("golden two", ["three", "dual", "cached", "slow"])
        assert (status.version, status.thin_alert_percent, status.retire_delay_s) == (2, 80, 60)
        assert (status.retire_missing, status.repair_queue_depth) == ("Always", 8)
        assert [disk.media for disk in status.disks] == ["HDD"] * 4 + ["SSD"] * 2
        assert (status.disks[0].usage, status.disks[3].fault_domain) == ("Hot Spare", "rack/chassis/node")
        kinds = [(one.resiliency, one.columns, one.write_cache_bytes > 0) for one in status.spaces]
        assert kinds == [
            ("three-way-mirror", 1, False),
            ("dual-parity", 4, True),
            ("mirror", 3, True),
            ("simple", 4, False),
        ]
        assert all(one.health == "Healthy" for one in status.spaces)
        for name in pool.space_names:
            expected = bytearray(5000) + content
            expected[9000:12000] = content[:3000]
            into = bytearray(len(expected))
            await pool.space(name).read(SpaceOffset(0), memoryview(into))
            if name == "three":
                expected[100:121] = b"while disk 1 was away"
            assert into == expected, name
        (job,) = pool._core.state.jobs.values()
        assert (job.job_id, job.kind, job.state, job.checkpoint) == (7, 2, 5, b"checkpoint")
        await pool.close()

    runtime.run(work())
