"""A connection between a client and a server: two pairs of memory streams, and a task each way that carries
bytes.

    client_end  <->  [carry: delays, pieces of any size, stalls]  <->  server_end

`cut` resets it: what is under way is lost, and both ends learn of it, the server perhaps later (a half-open
connection). `stall_until` stops one direction for a while (a clogged path, a slow reader); nothing is lost
then.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import trio

from smbproto.io.memory import MemoryStream, memory_stream_pair
from smbsrv.connection import Connection

PIECE_BYTES = 1 << 16
CAPACITY_BYTES = 1 << 18


class ServerEnd(trio.abc.Stream):
    """A Trio stream over a memory stream's end; its errors are Trio's."""

    def __init__(self, stream: MemoryStream) -> None:
        self._stream = stream

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        buffer = bytearray(max_bytes or PIECE_BYTES)
        count = await self._stream.receive_into(memoryview(buffer))
        return bytes(buffer[:count])

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        try:
            await self._stream.send_all(memoryview(data))
        except OSError as error:
            raise trio.BrokenResourceError(str(error)) from error

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        await self._stream.aclose()


class Wire:
    """One connection. `run` carries until one end closes or `cut` is called."""

    def __init__(self, rng: random.Random, delay_s: float) -> None:
        self._rng = rng
        self._delay_s = delay_s
        self.client_end, self._near = memory_stream_pair(CAPACITY_BYTES)
        self._far, server_end = memory_stream_pair(CAPACITY_BYTES)
        self.server_end = ServerEnd(server_end)
        self.done = trio.Event()
        self.stall_until = [0.0, 0.0]
        """By direction: 0 to the server, 1 to the client."""
        self.on_cut: Callable[[], None] | None = None
        """Called once, before the server can know."""
        self.served_by: Connection | None = None
        """What the server made of it."""
        self._half_open_s = 0.0
        self._scope = trio.CancelScope()

    async def run(self) -> None:
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._carry, self._near, self._far, 0)
                    nursery.start_soon(self._carry, self._far, self._near, 1)
        finally:
            self.done.set()
            with trio.CancelScope(shield=True):
                await self._near.aclose()
            try:
                await trio.sleep(self._half_open_s)
            finally:
                with trio.CancelScope(shield=True):
                    await self._far.aclose()

    def cut(self, half_open_s: float = 0.0) -> None:
        """The client learns of it now, the server so much later."""
        self._half_open_s = half_open_s
        if self.on_cut is not None:
            self.on_cut()
            self.on_cut = None
        self._scope.cancel()
        self.done.set()

    async def _carry(self, source: MemoryStream, target: MemoryStream, direction: int) -> None:
        buffer = memoryview(bytearray(PIECE_BYTES))
        while True:
            size = PIECE_BYTES if self._rng.random() < 0.7 else self._rng.randint(1, 200)
            count = await source.receive_into(buffer[:size])
            if not count:
                self.cut()
                return
            await trio.sleep(self._rng.expovariate(1 / self._delay_s))
            # The moment may move on while it is waited for.
            while trio.current_time() < self.stall_until[direction]:  # noqa: ASYNC110
                await trio.sleep_until(self.stall_until[direction])
            try:
                await target.send_all(buffer[:count])
            except OSError:
                self.cut()
                return
