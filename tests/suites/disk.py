"""What every `storage.disk.Disk` does: subclass `DiskSuite`, with `make` set (see test_disks.py)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from storage.disk import Disk
from storage.units import BLOCK_BYTES, DiskOffset
from tests.sim.runtime import InlineRuntime

SIZE = 4 << 20


class DiskSuite:
    """`make()` gives a new disk of SIZE bytes each time; `runtime` is the one it uses."""

    runtime: InlineRuntime
    make: Callable[[], Disk]

    @pytest.fixture
    def disk(self):
        disk = self.make()
        yield disk
        self.runtime.run(disk.close())

    def test_it_knows_its_name_and_size(self, disk):
        assert disk.size_bytes == SIZE and disk.name

    def test_a_write_that_returned_is_visible_to_every_later_read(self, disk):
        data = bytes(range(256)) * 32

        async def work():
            await disk.write(DiskOffset(8192), [data[:4096], memoryview(data)[4096:]])
            for read in (disk.read, None):
                into = bytearray(8192)
                if read is not None:
                    await read(DiskOffset(8192), [memoryview(into)])
                else:
                    disk.read_blocking(DiskOffset(8192), [memoryview(into)[:4096], memoryview(into)[4096:]])
                assert into == data

        self.runtime.run(work())

    def test_inline_calls_do_all_or_say_false(self, disk):
        data = b"\x17" * BLOCK_BYTES

        async def work():
            if not disk.write_now(DiskOffset(0), [data]):
                await disk.write(DiskOffset(0), [data])
            into = bytearray(BLOCK_BYTES)
            if not disk.read_now(DiskOffset(0), [memoryview(into)]):
                await disk.read(DiskOffset(0), [memoryview(into)])
            assert into == data

        self.runtime.run(work())

    def test_large_transfers_at_the_end_of_the_disk(self, disk):
        length = 2 << 20
        data = bytes(range(1, 255)) * (length // 254 + 1)
        data = data[:length]

        async def work():
            await disk.write(DiskOffset(SIZE - length), [data])
            into = bytearray(length)
            await disk.read(DiskOffset(SIZE - length), [memoryview(into)])
            assert into == data

        self.runtime.run(work())

    def test_flush_and_trim_end_and_neighbours_of_a_trim_stay(self, disk):
        async def work():
            await disk.write(DiskOffset(0), [b"a" * 3 * BLOCK_BYTES])
            await disk.flush()
            await disk.trim(DiskOffset(BLOCK_BYTES), BLOCK_BYTES)
            await disk.flush()
            into = bytearray(3 * BLOCK_BYTES)
            await disk.read(DiskOffset(0), [memoryview(into)])
            assert into[:BLOCK_BYTES] == into[2 * BLOCK_BYTES :] == b"a" * BLOCK_BYTES

        self.runtime.run(work())
