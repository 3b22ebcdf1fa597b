"""A byte stream over TCP, for a client. It tries without waiting first: a wait costs far more than the call.

Source: [MS-SMB2] 2.1 Transport: Direct TCP, port 445.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable

import trio

__all__ = ["PORT", "TcpStream", "open_tcp"]

PORT = 445
TURNS_WITHOUT_WAIT_MAX = 32  # how often in a row one task may find bytes ready before others get their turn


class TcpStream:
    """See `smbproto.endpoint.stream.ByteStream`."""

    def __init__(self, sock: socket.socket) -> None:
        """Takes the socket over; it is made non-blocking."""
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = sock
        self._turns = 0

    @property
    def peer(self) -> str:
        """Address of the other end."""
        return str(self._socket.getpeername()[0])

    async def receive_into(self, buffer: memoryview) -> int:
        while True:
            self._turns += 1
            if self._turns >= TURNS_WITHOUT_WAIT_MAX:
                self._turns = 0
                await trio.lowlevel.checkpoint()
            try:
                return self._socket.recv_into(buffer)
            except (BlockingIOError, InterruptedError):
                self._turns = 0
                await self._wait(trio.lowlevel.wait_readable)

    def send_nowait(self, data: memoryview) -> int:
        try:
            return self._socket.send(data)
        except (BlockingIOError, InterruptedError):
            return 0

    async def send_all(self, data: memoryview) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        while data:
            sent = self.send_nowait(data)
            data = data[sent:]
            if data:
                await self._wait(trio.lowlevel.wait_writable)

    async def _wait(self, ready: Callable[[socket.socket], Awaitable[None]]) -> None:
        try:
            await ready(self._socket)
        except trio.ClosedResourceError:
            raise ConnectionAbortedError("the stream was closed at this end") from None

    async def aclose(self) -> None:
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()
        await trio.lowlevel.checkpoint()


async def open_tcp(host: str, port: int = PORT) -> TcpStream:
    """Connect, trying the host's addresses as Trio does. Raises: OSError."""
    stream = await trio.open_tcp_stream(host, port)
    trio_socket = stream.socket
    return TcpStream(
        socket.socket(trio_socket.family, trio_socket.type, trio_socket.proto, trio_socket.detach())
    )
