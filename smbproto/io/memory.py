"""A pair of byte streams in memory: the two ends of a connection in one process, for simulations and tests.

Each direction holds at most `capacity_bytes`; who sends more waits until the other end has received.
"""

from __future__ import annotations

import trio

__all__ = ["MemoryStream", "memory_stream_pair"]

CAPACITY_BYTES = 1 << 20
RECEIVE_BYTES = 65536


class StreamBroken(trio.BrokenResourceError, BrokenPipeError):
    """The other end is closed: in the words of Trio and in those of the operating system."""


class _Pipe:
    """One direction."""

    __slots__ = ("_capacity", "_data", "_readable", "_writable", "closed")

    def __init__(self, capacity_bytes: int) -> None:
        self._capacity = capacity_bytes
        self._data = bytearray()
        self._readable = trio.Event()
        self._writable = trio.Event()
        self.closed = False

    def put(self, data: memoryview) -> int:
        if self.closed:
            raise StreamBroken("the other end of the memory stream is closed")
        taken = min(len(data), self._capacity - len(self._data))
        self._data += data[:taken]
        if taken:
            self._readable.set()
        return taken

    def take(self, buffer: memoryview) -> int:
        taken = min(len(buffer), len(self._data))
        buffer[:taken] = self._data[:taken]
        del self._data[:taken]
        if taken:
            self._writable.set()
        return taken

    async def wait_readable(self) -> None:
        if not self._data and not self.closed:
            self._readable = trio.Event()
            await self._readable.wait()

    async def wait_writable(self) -> None:
        if len(self._data) >= self._capacity and not self.closed:
            self._writable = trio.Event()
            await self._writable.wait()

    def close(self) -> None:
        self.closed = True
        self._readable.set()
        self._writable.set()


class MemoryStream(trio.abc.Stream):
    """One end: a `smbproto.endpoint.stream.ByteStream`, and a Trio stream for servers that want one.

    What was sent before the other end closed can still be received.
    """

    def __init__(self, incoming: _Pipe, outgoing: _Pipe) -> None:
        self._incoming, self._outgoing = incoming, outgoing

    async def receive_into(self, buffer: memoryview) -> int:
        await trio.lowlevel.checkpoint()
        await self._incoming.wait_readable()
        return self._incoming.take(buffer)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        buffer = bytearray(RECEIVE_BYTES if max_bytes is None else max_bytes)
        count = await self.receive_into(memoryview(buffer))
        return bytes(buffer[:count])

    def send_nowait(self, data: memoryview) -> int:
        return self._outgoing.put(data)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        view = memoryview(data)
        while view:
            view = view[self._outgoing.put(view) :]
            await self._outgoing.wait_writable()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()
        await self._outgoing.wait_writable()

    async def aclose(self) -> None:
        self._outgoing.close()
        self._incoming.close()
        await trio.lowlevel.checkpoint()


def memory_stream_pair(capacity_bytes: int = CAPACITY_BYTES) -> tuple[MemoryStream, MemoryStream]:
    """Two connected streams."""
    one, other = _Pipe(capacity_bytes), _Pipe(capacity_bytes)
    return MemoryStream(one, other), MemoryStream(other, one)
