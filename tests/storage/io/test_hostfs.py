"""A directory of the host behind the file-system port: the contract, and what is peculiar to a host that
others use too."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from storage.errors import DiskFailed, HostExhausted, HostRefused, StorageError
from storage.fs.port import ExtendedAttribute, FileSystem
from storage.io.hostfs.attributes import pack_eas, unpack_eas
from storage.io.hostfs.filesystem import HostFileSystem
from storage.io.hostfs.names import to_wire
from tests.sim.runtime import InlineRuntime
from tests.suites.filesystem import Body, FileSystemContract, data_of, listed, make, write


class TestHostFileSystem(FileSystemContract):
    """The contract, on the file system that holds the temporary files of this machine."""

    def run(self, body: Body) -> None:
        folder = tempfile.mkdtemp(prefix="sofs-hostfs-")
        runtime = InlineRuntime()

        async def main() -> None:
            fs: FileSystem = HostFileSystem(folder, runtime)
            await body(fs)
            await fs.close()

        try:
            runtime.run(main())
        finally:
            shutil.rmtree(folder)


def host(path: Path) -> HostFileSystem:
    return HostFileSystem(path, InlineRuntime())


def test_a_file_made_by_others_is_found_without_case(tmp_path: Path) -> None:
    fs = host(tmp_path)
    assert listed(fs, fs.root()) == []
    (tmp_path / "Read.Me").write_text("x")
    found = fs.lookup(fs.root(), "READ.ME")
    assert found is not None and found.name == "Read.Me"
    assert data_of(found.node).size_bytes == 1


def test_a_file_replaced_by_others_is_seen_as_it_is_now(tmp_path: Path) -> None:
    fs = host(tmp_path)
    (tmp_path / "a").write_text("x")
    assert fs.lookup(fs.root(), "a") is not None
    (tmp_path / "b").write_text("longer")
    os.replace(tmp_path / "b", tmp_path / "a")
    found = fs.lookup(fs.root(), "a")
    assert found is not None and data_of(found.node).size_bytes == 6
    assert fs.lookup(fs.root(), "b") is None


def test_symbolic_links_and_special_files_of_the_host_are_not_shown(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("secret")
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "way-out").symlink_to(outside)
    (shared / "up").symlink_to(tmp_path, target_is_directory=True)
    os.mkfifo(shared / "pipe")
    fs = host(shared)
    assert listed(fs, fs.root()) == []
    assert fs.lookup(fs.root(), "way-out") is None
    assert fs.lookup(fs.root(), "up") is None


def test_names_that_smb_reserves_are_shown_in_the_private_range(tmp_path: Path) -> None:
    (tmp_path / "a:b?").write_text("x")
    fs = host(tmp_path)
    assert listed(fs, fs.root()) == ["a\uf022b\uf025"]
    assert fs.lookup(fs.root(), "a\uf022b\uf025") is not None
    assert to_wire(b"\xff\xfe") is None


@pytest.mark.parametrize("name", ["..", ".", "", "../x", "a/b", "a\0b"])
def test_no_name_leads_out_of_the_directory(tmp_path: Path, name: str) -> None:
    fs = host(tmp_path)
    with pytest.raises(StorageError):
        make(fs, fs.root(), name)
    node = make(fs, fs.root(), "file")
    with pytest.raises(StorageError):
        fs.link(node, fs.root(), name)
    with pytest.raises(StorageError):
        fs.rename(fs.root(), "file", fs.root(), name)


def test_attributes_survive_in_another_server(tmp_path: Path) -> None:
    first = host(tmp_path)
    node = make(first, first.root(), "file")
    first.hold(node)
    node.attributes |= 0x2
    node.created = 131_000_000_000_000_000
    first.changed(node)
    first.drop(node)
    second = host(tmp_path)
    found = second.lookup(second.root(), "file")
    assert found is not None
    assert found.node.attributes & 0x2
    assert found.node.created == 131_000_000_000_000_000


def test_a_held_file_that_others_removed_can_still_be_written(tmp_path: Path) -> None:
    runtime = InlineRuntime()
    fs = HostFileSystem(tmp_path, runtime)
    node = make(fs, fs.root(), "file")
    fs.hold(node)
    runtime.run(write(fs, data_of(node), 0, b"before"))
    (tmp_path / "file").unlink()
    runtime.run(write(fs, data_of(node), 6, b"after"))
    assert data_of(node).size_bytes == 11
    fs.drop(node)


def test_a_damaged_ea_list_loses_only_its_tail() -> None:
    eas = [ExtendedAttribute(b"ONE", b"1"), ExtendedAttribute(b"TWO", b"22", 0x80)]
    packed = pack_eas(eas)
    assert unpack_eas(packed) == eas
    assert unpack_eas(packed[:-1]) == eas[:1]


def test_many_new_names_store_their_directory_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Creating, using and dropping files costs a directory nothing but that its time stamps are looked at."""
    calls: list[tuple[str, object]] = []

    def counted(name: str) -> Callable[..., object]:
        real = getattr(os, name)

        def call(target: object, *rest: object, **more: object) -> object:
            calls.append((name, target))
            return real(target, *rest, **more)

        return call

    for name in ("setxattr", "utime", "lstat"):
        monkeypatch.setattr(os, name, counted(name))
    runtime = InlineRuntime()
    fs = HostFileSystem(tmp_path, runtime)

    async def main() -> None:
        folder = fs.make(
            fs.root(), "d", is_directory=True, attributes=0, now=133_000_000_000_000_000, security=b""
        )
        fs.hold(folder)
        fs.drop(folder)
        stores = [name for name, path in calls if path == bytes(tmp_path / "d") and name != "lstat"]
        assert stores == []
        calls.clear()
        for index in range(20):
            entry = fs.lookup(fs.root(), "d")
            assert entry is not None and entry.node is folder and fs.lookup(folder, f"f{index}") is None
            fs.hold(folder)
            made = fs.make(
                folder, f"f{index}", is_directory=False, attributes=0x20, now=folder.created, security=b"s"
            )
            fs.hold(made)
            folder.written += 1
            fs.changed(folder)
            fs.drop(made)
            fs.drop(folder)
        on_folder = [name for name, path in calls if path == bytes(tmp_path / "d")]
        assert "setxattr" not in on_folder and "utime" not in on_folder
        assert on_folder.count("lstat") <= 4 * 20
        await runtime.sleep(2.0)

    runtime.run(main())
    written = os.stat(tmp_path / "d").st_mtime_ns // 100 + 116444736000000000
    assert written == 133_000_000_000_000_020, "stored by itself, a moment later"


def test_what_is_known_of_a_file_stays_until_others_change_it(tmp_path: Path) -> None:
    """The object store's state hangs on a node that nobody holds, but never over a change of the host's."""
    (tmp_path / "f").write_bytes(b"x")
    fs = host(tmp_path)
    first = fs.lookup(fs.root(), "f")
    assert first is not None
    fs.hold(first.node)
    first.node.state = "known"
    fs.drop(first.node)
    again = fs.lookup(fs.root(), "f")
    assert again is not None and again.node.state == "known"
    os.setxattr(tmp_path / "f", "user.sofs.sd", b"another descriptor")
    changed = fs.lookup(fs.root(), "f")
    assert changed is not None and changed.node.state is None
    assert fs.security(changed.node) == b"another descriptor"


# a host that refuses


def refusing(number: int) -> Callable[..., object]:
    def refuse(*_: object, **__: object) -> object:
        raise OSError(number, os.strerror(number))
    return refuse


@pytest.mark.parametrize(("number", "kind"), [
    (errno.EACCES, HostRefused), (errno.EROFS, HostRefused), (errno.EMFILE, HostExhausted),
    (errno.EIO, DiskFailed),
])  # fmt: skip
def test_what_the_host_refuses_is_a_storage_error_that_says_what_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[StorageError]
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"x")
    fs = HostFileSystem(tmp_path, InlineRuntime())
    folder, file = fs.lookup(fs.root(), "folder"), fs.lookup(fs.root(), "file")
    assert folder is not None and file is not None and file.node.data is not None
    for call in ("open", "scandir", "mkdir", "unlink", "statvfs"):
        monkeypatch.setattr(os, call, refusing(number))
    into = memoryview(bytearray(1))
    for work in (
        lambda: fs.entries(folder.node, None, 10), lambda: fs.is_empty(folder.node), fs.usage,
        lambda: fs.read_now(file.node.data, 0, into), lambda: fs.unlink(fs.root(), "file"),
        lambda: fs.make(fs.root(), "n", is_directory=True, attributes=0, now=0, security=b""),
    ):  # fmt: skip
        with pytest.raises(kind):
            work()


def test_a_file_that_may_not_be_read_is_listed_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its extended attributes cannot be read either: it shows without them."""
    (tmp_path / "secret").write_bytes(b"abc")
    monkeypatch.setattr(os, "getxattr", refusing(errno.EACCES))
    fs = HostFileSystem(tmp_path, InlineRuntime())
    (entry,) = fs.entries(fs.root(), None, 10)
    assert entry.name == "secret" and entry.node.data is not None and entry.node.data.size_bytes == 3


def test_a_file_whose_attributes_cannot_be_stored_is_closed_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    fs = HostFileSystem(tmp_path, InlineRuntime())
    entry = fs.lookup(fs.root(), "file")
    assert entry is not None and entry.node.data is not None
    before = set(os.listdir("/proc/self/fd"))
    for number in (errno.EACCES, errno.EIO):
        fs.hold(entry.node)
        assert fs.read_now(entry.node.data, 0, memoryview(bytearray(3)))
        fs.changed(entry.node)
        with monkeypatch.context() as patch:
            patch.setattr(os, "setxattr", refusing(number))
            if number == errno.EIO:
                with pytest.raises(DiskFailed):
                    fs.drop(entry.node)
            else:
                fs.drop(entry.node)
        assert set(os.listdir("/proc/self/fd")) == before
