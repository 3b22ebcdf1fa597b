"""What a request may cost, counted and not timed: calls of the operating system, large allocations.

Times depend on the machine; these numbers do not. Whoever raises one says why (docs/performance.md).
"""

from __future__ import annotations

import os
import socket
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from smbproto.codec import FileId
from smbproto.smb2.close import CloseRequest
from smbproto.smb2.header import Command
from smbproto.smb2.read import ReadRequest
from smbproto.smb2.write import WriteRequest
from smbproto.status import Status
from smbsrv.share import Share
from storage.io.hostfs.filesystem import HostFileSystem
from storage.objectstore.volume import ObjectStoreVolume
from tests.smbsrv.io.live import in_thread, live, socket_peer
from tests.smbsrv.wire import Peer, Site

CALLS = (
    "close", "fstat", "fsync", "ftruncate", "getxattr", "lstat", "mkdir", "open", "preadv", "pwrite",
    "rename", "scandir", "setxattr", "stat", "statvfs", "unlink", "utime",
)  # fmt: skip
BATCH = 32
LARGE_BYTES = 64 << 10


class HostSite(Site):
    """`Site` on a directory of the host."""

    def __init__(self, folder: Path, **config: Any) -> None:
        super().__init__(**config)
        self.volume = ObjectStoreVolume(HostFileSystem(folder, self.runtime), self.runtime)
        self.server.add_share(Share("data", self.volume))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each function of `os` that is a system call was called."""
    counted: Counter[str] = Counter()

    def counting(name: str) -> Callable[..., object]:
        real = getattr(os, name)

        def call(*arguments: object, **more: object) -> object:
            counted[name] += 1
            return real(*arguments, **more)

        return call

    for name in CALLS:
        monkeypatch.setattr(os, name, counting(name))
    return counted


def opened(site: Site, size: int, **options: Any) -> tuple[Peer, FileId]:
    """A logged-on peer and a file of that many bytes, read and written once."""
    peer = site.logged_on(credits=600, **options)
    file_id = peer.create("file")
    peer.send(Command.ECHO, b"\4\0\0\0")
    for _ in range(2):
        assert peer.write(file_id, bytes(size)).status == Status.SUCCESS
        peer.read_bytes(file_id, size)
    return peer, file_id


def frames(peer: Peer, file_id: FileId, command: int, length: int, count: int = BATCH) -> bytes:
    if command == Command.READ:
        body = ReadRequest(file_id=file_id, length=length, offset=0).encode()
    else:
        body = WriteRequest(file_id=file_id, offset=0, data=bytes(length)).encode()
    charge = max(1, -(-length // 65536))
    return b"".join(peer.frame(peer.message(command, body, charge=charge)) for _ in range(count))


@pytest.mark.parametrize("is_sealing", [False, True])
@pytest.mark.parametrize(("command", "call"), [(Command.READ, "preadv"), (Command.WRITE, "pwrite")])
def test_a_read_or_write_is_one_call_of_the_host(
    tmp_path: Path, calls: Counter[str], command: int, call: str, is_sealing: bool
) -> None:
    peer, file_id = opened(HostSite(tmp_path), 65536)
    peer.is_sealing = is_sealing
    data = frames(peer, file_id, command, 4096)
    calls.clear()
    assert len(peer.push(data)) == BATCH
    assert calls == Counter({call: BATCH})


def peak_bytes(peer: Peer, data: bytes) -> int:
    """The most that was allocated at once, on top of what there was, while the server handled `data`."""
    memory = memoryview(bytearray(data + bytes(16)))
    arena, at = peer.driver.arena, 0
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        while at < len(data):
            reached = peer.connection.receive(memory, at, len(data))
            assert reached > at and not peer.driver.sent, "answered by way of a task or of memory of its own"
            at, arena.end = reached, 0
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("is_sealing", [False, True])
@pytest.mark.parametrize("command", [Command.READ, Command.WRITE])
@pytest.mark.parametrize(("length", "count"), [(4096, 4 * BATCH), (1 << 20, 4)])
def test_no_read_or_write_allocates_much(
    tmp_path: Path, command: int, length: int, count: int, is_sealing: bool
) -> None:
    """Data goes from the receive buffer to the file and from the file into the arena, never through memory
    of a request's own."""
    peer, file_id = opened(HostSite(tmp_path), length)
    peer.is_sealing = is_sealing
    data = frames(peer, file_id, command, length, count)
    assert peak_bytes(peer, data) < LARGE_BYTES


def test_small_files_cost_few_calls(tmp_path: Path, calls: Counter[str]) -> None:
    """Names are looked up at each open, as others may change the directory; two attributes are stored."""
    peer = HostSite(tmp_path).logged_on()
    peer.close(peer.create("folder", create_options=1))

    def create(index: int) -> None:
        file_id = peer.create(rf"folder\file{index}")
        assert peer.write(file_id, bytes(1000)).status == Status.SUCCESS
        assert peer.close(file_id).status == Status.SUCCESS

    create(0)
    calls.clear()
    create(1)
    assert sum(calls.values()) <= 13, calls
    calls.clear()
    file_id = peer.create(r"folder\file1", desired_access=0x80, create_disposition=1)
    peer.close(file_id)
    assert sum(calls.values()) <= 4, calls
    calls.clear()
    file_id = peer.create(r"folder\file1", desired_access=0x80, create_disposition=1)
    peer.close(file_id)
    assert sum(calls.values()) == calls["lstat"] == 2, calls


class CountingSocket(socket.socket):
    """Counts what the pump asks of it."""

    asked: Counter[str] = Counter()

    def recv_into(self, *arguments: Any) -> int:
        self.asked["recv"] += 1
        return super().recv_into(*arguments)

    def send(self, *arguments: Any) -> int:
        self.asked["send"] += 1
        return super().send(*arguments)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Of the sockets that the listener accepts."""
    monkeypatch.setattr(socket, "socket", CountingSocket)
    CountingSocket.asked.clear()
    yield CountingSocket.asked


def test_a_batch_is_received_and_answered_by_one_call_each(asked: Counter[str]) -> None:
    """32 requests of 4 KiB that came together: one recv, one send."""

    async def main() -> None:
        async with live() as site:

            def talk() -> None:
                peer = socket_peer(site, credits=600)
                file_id = peer.create("f")
                peer.send(Command.ECHO, b"\4\0\0\0")
                assert peer.write(file_id, bytes(4096)).status == Status.SUCCESS
                for command in (Command.READ, Command.WRITE):
                    least: Counter[str] = Counter(recv=99, send=99)
                    for _ in range(5):  # TCP may hand a batch over in pieces; once in five it does not
                        data = frames(peer, file_id, command, 4096)
                        asked.clear()
                        peer.socket.sendall(data)
                        for _ in range(BATCH):
                            assert peer.next()[0].status == Status.SUCCESS
                        least = min(least, Counter(asked), key=lambda found: sum(found.values()))
                    assert 1 <= least["recv"] <= 3 and 1 <= least["send"] <= 3, least
                peer.send(Command.CLOSE, CloseRequest(file_id=file_id).encode())

            await in_thread(talk)

    trio.run(main)
