"""A real server on loopback in this process, and peers with sockets or streams, which talk in threads of
their own."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import trio
import trio.lowlevel

from cluster.io.runtime import TrioRuntime
from smbsrv.io.listener import serve
from smbsrv.server import Server, ServerConfig
from smbsrv.share import Share
from storage.objectstore.volume import ObjectStoreVolume
from tests.smbsrv.wire import Accounts, Peer, Response, Site
from tests.suites.memoryfs import MemoryFileSystem

T = TypeVar("T")

GUID = bytes(range(16))


class LiveSite(Site):
    """`Site` over the real runtime. Made inside `trio.run`."""

    def __init__(self, nursery: trio.Nursery, **config: Any) -> None:
        self.runtime = TrioRuntime(nursery)  # type: ignore[assignment]  # not the still one
        self.server = Server(ServerConfig(guid=GUID, **config), self.runtime, Accounts())
        self.volume = ObjectStoreVolume(MemoryFileSystem(), self.runtime)
        self.server.add_share(Share("data", self.volume))
        self.server.add_share(Share("secret", self.volume, encrypt_data=True))
        self.port = 0
        self.sockets: list[socket.socket] = []

    def dial(self) -> socket.socket:
        """A connected socket, closed with the site."""
        made = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        self.sockets.append(made)
        return made


class SocketPeer(Peer):
    """Its frames go over TCP; `push` waits for one frame of answers."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.connection.lost()  # the base class's own, which nothing goes through
        self.socket = self.site.dial()  # type: ignore[attr-defined]  # a LiveSite

    def receive(self) -> bytes:
        head = self._exactly(4)
        return head + self._exactly(int.from_bytes(head, "big"))

    def _exactly(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            piece = self.socket.recv(count - len(data))
            if not piece:
                raise EOFError("the server hung up")
            data += piece
        return bytes(data)

    def push(self, frame: bytes) -> list[Response]:
        self.socket.sendall(frame)
        return self._responses(self.receive())

    def next(self) -> list[Response]:
        return self._responses(self.receive())

    def _raw(self, frame: bytes) -> bytes:
        self.socket.sendall(frame)
        return self.receive()


class StreamPeer(SocketPeer):
    """The same over a Trio stream, from a thread."""

    def __init__(self, site: Site, stream: trio.abc.Stream, **options: Any) -> None:
        self.stream = stream
        self.buffered = b""
        super().__init__(site, **options)

    def __post_init__(self) -> None:
        Peer.__post_init__(self)
        self.connection.lost()
        self.socket = self  # type: ignore[assignment]

    def sendall(self, data: bytes) -> None:
        trio.from_thread.run(self.stream.send_all, data)

    def recv(self, count: int) -> bytes:
        if not self.buffered:
            self.buffered = bytes(trio.from_thread.run(self.stream.receive_some, 65536))
        piece, self.buffered = self.buffered[:count], self.buffered[count:]
        return piece


@asynccontextmanager
async def live(**config: Any) -> AsyncIterator[LiveSite]:
    async with trio.open_nursery() as nursery:
        site = LiveSite(nursery, **config)
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        site.port = listeners[0].socket.getsockname()[1]
        serving = trio.CancelScope()

        async def run(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
            with serving:
                await serve(site.server, listeners, task_status=task_status)

        await nursery.start(run)
        try:
            with trio.fail_after(30):
                yield site
        finally:
            for made in site.sockets:
                made.close()
            serving.cancel()
            await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()


async def in_thread(talk: Callable[[], T]) -> T:
    return await trio.to_thread.run_sync(talk, abandon_on_cancel=True)


def socket_peer(site: Site, *, share: str = "data", **options: Any) -> SocketPeer:
    """Connected, logged on, with a tree connect. Call it in a thread."""
    peer = SocketPeer(site, **options)
    peer.negotiate()
    peer.log_on()
    peer.tree_connect(share)
    return peer
