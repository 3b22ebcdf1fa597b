"""The disk suite over files, files on tmpfs and simulated disks; and what only a file can do."""

from __future__ import annotations

import errno
import os
import random
import shutil
import subprocess
import tempfile

import pytest

from storage.errors import DiskFailed, PoolInUse
from storage.io import filedisk
from storage.io.filedisk import FileDisk
from storage.units import BLOCK_BYTES, DiskOffset
from tests.sim.disk import SimDisk
from tests.sim.runtime import InlineRuntime
from tests.suites.disk import SIZE, DiskSuite


class TestFileDisk(DiskSuite):
    @pytest.fixture(autouse=True)
    def setup(self, tmp_path):
        self.runtime = InlineRuntime()
        self.make = lambda: FileDisk.create(str(tmp_path / "disk"), SIZE, self.runtime)


class TestFileDiskOnTmpfs(DiskSuite):
    @pytest.fixture(autouse=True)
    def setup(self):
        if not os.path.isdir("/dev/shm"):
            pytest.skip("no tmpfs here")
        self.runtime = InlineRuntime()
        with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
            self.make = lambda: FileDisk.create(os.path.join(folder, "disk"), SIZE, self.runtime)
            yield


class TestBlockDevice(DiskSuite):
    @pytest.fixture(autouse=True)
    def setup(self, tmp_path):
        losetup = shutil.which("losetup", path=os.environ.get("PATH", "") + ":/sbin:/usr/sbin")
        backing = tmp_path / "backing"
        backing.write_bytes(b"")
        os.truncate(backing, SIZE)
        if losetup is None:
            pytest.skip("no losetup here")
        made = subprocess.run(
            [losetup, "-f", "--show", str(backing)], capture_output=True, text=True, timeout=10
        )
        if made.returncode:
            pytest.skip("loop devices cannot be made here")
        device = made.stdout.strip()
        self.runtime = InlineRuntime()
        self.make = lambda: FileDisk.open(device, self.runtime)
        yield
        subprocess.run([losetup, "-d", device], check=True, timeout=10)


class TestSimDisk(DiskSuite):
    @pytest.fixture(autouse=True)
    def setup(self):
        self.runtime = InlineRuntime()
        self.make = lambda: SimDisk("sim", SIZE, self.runtime)


class TestSimDiskThatBlocks(TestSimDisk):
    @pytest.fixture(autouse=True)
    def setup(self):
        self.runtime = InlineRuntime()
        self.make = lambda: SimDisk("sim", SIZE, self.runtime, blocks=True)


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "disk")


def test_a_second_server_on_the_same_disk_is_told_that_it_is_in_use(path):
    runtime = InlineRuntime()
    disk = FileDisk.create(path, SIZE, runtime)
    with pytest.raises(PoolInUse, match="in use by another server"):
        FileDisk.open(path, runtime)
    runtime.run(disk.close())
    runtime.run(FileDisk.open(path, runtime).close())


def test_a_missing_disk_says_so(path):
    with pytest.raises(DiskFailed, match="cannot be opened: No such file"):
        FileDisk.open(path, InlineRuntime())


def test_a_directory_is_no_disk(tmp_path):
    with pytest.raises(DiskFailed, match="Is a directory"):
        FileDisk.open(str(tmp_path), InlineRuntime())


def test_a_character_device_is_no_disk():
    with pytest.raises(DiskFailed, match="neither a file nor a block device"):
        FileDisk.open("/dev/null", InlineRuntime())


def test_reading_past_the_end_of_a_shortened_file_is_a_failure_not_zeros(path):
    runtime = InlineRuntime()
    disk = FileDisk.create(path, SIZE, runtime)
    os.truncate(path, BLOCK_BYTES)
    into = memoryview(bytearray(BLOCK_BYTES))
    assert not disk.read_now(DiskOffset(BLOCK_BYTES), [into])
    with pytest.raises(DiskFailed, match="the disk ends there"):
        runtime.run(disk.read(DiskOffset(BLOCK_BYTES), [into]))
    runtime.run(disk.close())


def test_after_a_failed_flush_nothing_is_tried_again(path, monkeypatch):
    """storage/disk.py: "A flush that failed is never retried: raise DiskFailed and use the disk no more." """
    runtime = InlineRuntime()
    disk = FileDisk.create(path, SIZE, runtime)

    def broken(fd):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(filedisk.os, "fdatasync", broken)
    with pytest.raises(DiskFailed, match="flush"):
        runtime.run(disk.flush())
    monkeypatch.undo()
    for attempt in (
        lambda: runtime.run(disk.flush()),
        lambda: disk.read_now(DiskOffset(0), [memoryview(bytearray(BLOCK_BYTES))]),
        lambda: disk.write_now(DiskOffset(0), [bytes(BLOCK_BYTES)]),
    ):
        with pytest.raises(DiskFailed):
            attempt()
    runtime.run(disk.close())


def test_trim_gives_the_space_back_to_the_host(path):
    runtime = InlineRuntime()
    disk = FileDisk.create(path, SIZE, runtime)
    runtime.run(disk.write(DiskOffset(0), [os.urandom(1 << 20)]))
    runtime.run(disk.flush())
    before = os.stat(path).st_blocks
    runtime.run(disk.trim(DiskOffset(0), 1 << 20))
    assert os.stat(path).st_blocks < before
    runtime.run(disk.close())


def test_writes_over_a_mebibyte_are_not_done_inline(path):
    runtime = InlineRuntime()
    disk = FileDisk.create(path, SIZE, runtime)
    assert not disk.write_now(DiskOffset(0), [bytes((1 << 20) + BLOCK_BYTES)])
    assert disk.write_now(DiskOffset(0), [bytes(1 << 20)])
    runtime.run(disk.close())


def test_a_simulated_power_cut_mixes_old_and_new_sectors_of_unflushed_writes_only():
    runtime = InlineRuntime()
    disk = SimDisk("sim", SIZE, runtime)
    runtime.run(disk.write(DiskOffset(0), [b"f" * 65536]))
    runtime.run(disk.flush())
    runtime.run(disk.write(DiskOffset(0), [b"u" * 32768]))
    seen = set()
    for seed in range(8):
        twin = SimDisk("twin", SIZE, runtime)
        twin.durable[:], twin.unflushed = disk.durable, list(disk.unflushed)
        twin.power_cut(random.Random(seed))
        assert set(twin.content[32768:65536]) == {ord("f")}
        seen.add(bytes(twin.content[:32768:512]))
        assert all(len(set(twin.content[at : at + 512])) == 1 for at in range(0, 32768, 512))
    assert len(seen) > 2


def test_a_file_that_was_deleted_or_replaced_is_not_there_and_one_moved_back_is(tmp_path):
    path, aside = tmp_path / "disk", tmp_path / "aside"
    disk = FileDisk.create(str(path), SIZE, InlineRuntime())
    assert disk.is_there()
    path.rename(aside)
    assert not disk.is_there()
    path.write_bytes(b"another")
    assert not disk.is_there()
    aside.replace(path)
    assert disk.is_there()


def test_a_disk_that_was_given_up_says_why_at_every_call(tmp_path):
    runtime = InlineRuntime()
    disk = FileDisk.create(str(tmp_path / "disk"), SIZE, runtime)
    disk.give_up("its file is gone")
    for call in (disk.flush(), disk.write(DiskOffset(0), [bytes(BLOCK_BYTES)])):
        with pytest.raises(DiskFailed, match="its file is gone"):
            runtime.run(call)
    assert disk.failure is not None and "its file is gone" in disk.failure


class _ClosesMeanwhile(InlineRuntime):
    """While a thread works somebody closes the disk."""

    async def blocking(self, work):
        await self.disk.close()
        return work()


def test_a_disk_is_closed_when_the_last_call_in_a_thread_has_ended(tmp_path):
    """Else the thread would write to whatever file has the descriptor next."""
    runtime = _ClosesMeanwhile()
    disk = runtime.disk = FileDisk.create(str(tmp_path / "disk"), SIZE, runtime)
    runtime.run(disk.write(DiskOffset(0), [b"x" * BLOCK_BYTES]))
    again = FileDisk.open(str(tmp_path / "disk"), InlineRuntime())  # the lock is free
    into = bytearray(BLOCK_BYTES)
    again.read_blocking(DiskOffset(0), [memoryview(into)])
    assert into == b"x" * BLOCK_BYTES
