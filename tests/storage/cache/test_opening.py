"""What a cache finds in its journal when it is opened, and what it must not believe.

docs/formats/journal.md, "Reading": "The first that isn't so ends the journal: it, and all behind it, was
never flushed. Why both: sequence numbers tell an earlier lap of the ring; epochs tell what lay behind a torn
record when an earlier life ended."
"""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import pytest

from storage.cache.cache import WriteBackCache
from storage.cache.limits import CacheLimits
from storage.errors import DiskFailed, LabelCorrupt, PoolFull, SlabLost
from storage.units import SpaceOffset
from tests.storage.cache.rig import IDENTITY, SIZE, Rig
from tests.suites.memoryspace import MemorySpace, Power

VECTORS = Path(__file__).parents[2] / "vectors"
QUIET = replace(CacheLimits(), idle_s=1e6)
"""Nothing is destaged."""
A, B, C, D = (bytes([letter]) * 4096 for letter in b"ABCD")


class Failing(MemorySpace):
    """Its writes fail on demand."""

    error: Exception | None = None

    def _write(self, offset, data, fresh):
        if self.error is not None:
            raise self.error
        super()._write(offset, data, fresh)


def quiet(seed: int = 1) -> Rig:
    rig = Rig(seed)
    rig.limits = QUIET
    return rig


async def put(cache: WriteBackCache, block: int, data: bytes) -> None:
    await cache.write(SpaceOffset(block * 4096), [data])
    await cache.flush()


async def get(cache: WriteBackCache, block: int) -> bytes:
    into = bytearray(4096)
    await cache.read(SpaceOffset(block * 4096), memoryview(into))
    return bytes(into)


def record_places(journal: MemorySpace) -> list[int]:
    blocks = range(0, journal.size_bytes, 4096)
    return [at for at in blocks if bytes(journal._view[at : at + 8]) == b"SOFSWBCR"]


def test_what_lay_behind_a_torn_record_never_comes_back() -> None:
    rig = quiet()

    async def first() -> None:
        cache = rig.make()
        await cache.open()
        for block, data in ((1, A), (2, B), (3, C)):
            await put(cache, block, data)

    async def second() -> None:
        cache = rig.make()
        await cache.open()
        assert [await get(cache, block) for block in (1, 2, 3)] == [A, bytes(4096), bytes(4096)]
        await put(cache, 4, D)  # its record lies where the torn one was, and ends where the third begins

    async def third() -> None:
        cache = rig.make()
        await cache.open()
        found = [await get(cache, block) for block in (1, 2, 3, 4)]
        assert found == [A, bytes(4096), bytes(4096), D]

    rig.runtime.run(first())
    torn = record_places(rig.journal)[1]
    rig.journal._view[torn : torn + 512] = bytes(512)
    for life in (second, third):
        rig.cut()
        rig.runtime.run(life())


@pytest.mark.parametrize("size", [4096, 300_000])
def test_a_cache_left_full_is_read_at_the_next_opening(size: int) -> None:
    rig = quiet()

    async def first() -> None:
        cache = rig.make()
        await cache.open()
        for at in range(0, 400_000, 8192):
            await rig.write(cache, at, rig.rng.randbytes(4096))
        await cache.close(destage=False)
        assert rig.space.writes == 0

    async def second() -> None:
        rig.limits = replace(QUIET, memory_bytes=32768, young_bytes=32768, spill_bytes=32768)
        cache = rig.make()
        await cache.open()
        assert await rig.content(cache) == rig.model.now
        await rig.write(cache, 4000, rig.rng.randbytes(size))
        assert await rig.content(cache) == rig.model.now
        await cache.close()
        assert bytes(rig.space._view) == rig.model.now
        status = cache.status()
        assert (status.state, status.dirty_bytes, status.memory_bytes) == ("Closed", 0, 0)

    rig.runtime.run(first())
    rig.cut()
    rig.runtime.run(second())


@pytest.mark.parametrize("damage", ["both marks", "another's", "shrunk"])
def test_a_journal_that_cannot_be_believed_is_an_error_and_not_a_new_one(damage: str) -> None:
    rig = quiet()

    async def first() -> None:
        cache = rig.make()
        await cache.open()
        await put(cache, 1, A)
        await cache.close(destage=False)

    async def second() -> None:
        with pytest.raises(LabelCorrupt):
            identity = IDENTITY + (damage == "another's")
            await WriteBackCache(rig.journal, rig.backing(), rig.runtime, identity=identity).open()

    rig.runtime.run(first())
    rig.cut()
    if damage == "both marks":
        rig.journal._view[20] ^= 1
        rig.journal._view[4096 + 20] ^= 1
    elif damage == "shrunk":
        smaller = MemorySpace(rig.journal.size_bytes // 2, rig.runtime, Power())
        smaller._view[:] = rig.journal._view[: smaller.size_bytes]
        rig.journal = smaller
    rig.runtime.run(second())


def test_blocks_beyond_the_space_are_refused_at_opening() -> None:
    rig = quiet()

    async def first() -> None:
        cache = rig.make()
        await cache.open()
        await put(cache, SIZE // 4096 - 1, A)
        await cache.close(destage=False)

    async def second() -> None:
        rig.space = MemorySpace(SIZE // 2, rig.runtime, rig.power)
        with pytest.raises(LabelCorrupt):
            await rig.make().open()

    rig.runtime.run(first())
    rig.cut()
    rig.runtime.run(second())


@pytest.mark.parametrize("can_abandon", [True, False])
def test_a_journal_that_fails_is_written_through_or_writes_are_refused(can_abandon: bool) -> None:
    """Going on without the journal is right only if it is never replayed afterwards."""
    rig = quiet()
    rig.journal = journal = Failing(rig.journal.size_bytes, rig.runtime, rig.power)
    abandoned = []

    async def abandon() -> None:
        assert bytes(rig.space._view[4096:12288]) == A + B, "first all is safe, then the journal is given up"
        abandoned.append(True)

    async def main() -> None:
        cache = WriteBackCache(
            journal,
            rig.backing(),
            rig.runtime,
            identity=IDENTITY,
            limits=QUIET,
            abandon=abandon if can_abandon else None,
        )
        await cache.open()
        await put(cache, 1, A)
        await cache.write(SpaceOffset(8192), [B])
        journal.error = DiskFailed("the SSDs are gone")
        if can_abandon:
            await cache.flush()
            await cache.write(SpaceOffset(12290), [C[:4000]])
            await cache.flush()
            assert bytes(rig.space._view[12290:16290]) == C[:4000]
            await cache.trim(SpaceOffset(4096), 4096)
            await cache.close()
        else:
            for _ in range(2):
                with pytest.raises(DiskFailed):
                    await cache.flush()
            assert not cache.write_now(SpaceOffset(0), [C])
            with pytest.raises(DiskFailed):
                await cache.write(SpaceOffset(0), [C])
            assert cache.status().state == "Failed"
            assert [await get(cache, block) for block in (1, 2)] == [A, B], "reads go on"
            with pytest.raises(DiskFailed):
                await cache.close()
        assert bool(abandoned) is can_abandon

    rig.runtime.run(main())


def test_a_space_that_fails_to_take_the_blocks_is_told_when_the_journal_is_full_and_nothing_is_lost() -> None:
    rig = Rig(3)
    rig.limits = replace(rig.limits, idle_s=0.1, retry_s=0.5)
    rig.space = space = Failing(SIZE, rig.runtime, rig.power)
    space.error = PoolFull("no slab is left")

    async def main() -> None:
        cache = rig.make()
        await cache.open()
        with pytest.raises(PoolFull):
            for at in range(0, SIZE, 4096):
                await rig.write(cache, at, rig.rng.randbytes(4096))
                await cache.flush()
        assert at > SIZE // 8
        rig.model.now[at : at + 4096] = bytes(4096)
        assert "no slab is left" in cache.status().trouble
        assert await rig.content(cache) == rig.model.now
        space.error = None
        await rig.runtime.sleep(10)
        assert cache.status().dirty_bytes == 0 and not cache.status().trouble
        await rig.write(cache, at, rig.rng.randbytes(4096))
        await cache.close()
        assert bytes(space._view) == rig.model.now

    rig.runtime.run(main())


class Lame(MemorySpace):
    """One part of it is lost."""

    lost = range(0)

    def _write(self, offset, data, fresh):
        if offset in self.lost:
            raise SlabLost(f"byte {offset}")
        super()._write(offset, data, fresh)


def test_a_part_that_is_lost_behind_does_not_hold_up_the_rest() -> None:
    """What can't be moved on is carried along in the journal, and read from there."""
    rig = Rig(6)
    rig.limits = replace(rig.limits, idle_s=0.1, retry_s=0.5)
    rig.space = space = Lame(SIZE, rig.runtime, rig.power)
    space.lost = range(65536, 131072)

    async def main() -> None:
        cache = rig.make()
        await cache.open()
        for at in range(0, SIZE, 8192):
            await rig.write(cache, at, rig.rng.randbytes(4096))
            await cache.flush()
        for _ in range(600):
            at = 131072 + rig.rng.randrange(400) * 4096
            await rig.write(cache, at, rig.rng.randbytes(4096))
            await cache.flush()
        await rig.runtime.sleep(30)
        assert cache.status().dirty_bytes == 8 * 4096 and "byte" in cache.status().trouble
        assert await rig.content(cache) == rig.model.now
        with pytest.raises(SlabLost):
            await cache.close()

    async def again() -> None:
        cache = rig.make()
        await cache.open()
        assert await rig.content(cache) == rig.model.now
        await cache.close()
        assert bytes(rig.space._view) == rig.model.now

    rig.runtime.run(main())
    rig.cut()
    rig.runtime.run(again())


def test_without_room_behind_new_data_is_refused_and_old_data_is_still_overwritten() -> None:
    """docs/design-spaces.md, thin spaces: at exhaustion writes fail with a clear status, nothing is lost;
    what
    is trimmed makes room again."""
    rig = Rig(4)
    rig.space.available_bytes = 512 << 10

    async def main() -> None:
        cache = rig.make()
        await cache.open()
        with pytest.raises(PoolFull):
            for at in range(0, SIZE, 4096):
                await rig.write(cache, at, rig.rng.randbytes(4096), fresh=True)
                await rig.runtime.sleep(0.1)
        rig.model.now[at : at + 4096] = bytes(4096)
        assert 512 << 10 < at < 1 << 20
        for old in range(0, 400 << 10, 64 << 10):
            await rig.write(cache, old, rig.rng.randbytes(4096))
        await cache.flush()
        assert await rig.content(cache) == rig.model.now
        rig.space.available_bytes += SIZE
        await rig.trim(cache, 1 << 20, 65536)
        await rig.runtime.sleep(20)
        assert cache.status().dirty_bytes == 0
        await rig.write(cache, at, rig.rng.randbytes(4096), fresh=True)
        await cache.close()
        assert await rig.content(cache) == rig.model.now

    rig.runtime.run(main())


def test_a_journal_of_version_1_still_opens() -> None:
    """tests/vectors/journal-v1.img.gz: written by the first program that had journals; its last record is
    torn,
    a bulk write voided one block, and nothing was moved on."""
    image = gzip.decompress((VECTORS / "journal-v1.img.gz").read_bytes())
    rig = quiet()
    rig.journal._view[:] = image

    async def main() -> None:
        cache = rig.make()
        await cache.open()
        found = [await get(cache, block) for block in (1, 2, 3, 100, 101, 5)]
        assert found == [B, A, C, D, bytes(4096), bytes(4096)]
        await cache.close()
        assert bytes(rig.space._view[4096:16384]) == B + A + C

    rig.runtime.run(main())
