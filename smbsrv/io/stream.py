"""A thin driver: one connection over any Trio stream, for tests, the simulation, and transports that are no
sockets.

One task reads and handles, one writes; jobs that wait have tasks in the same nursery. The pump makes the same
promises faster.
"""

from __future__ import annotations

from collections import deque

import trio

from smbsrv.connection import Connection
from smbsrv.io.jobs import JobRunner, log_end
from smbsrv.job import Job
from smbsrv.server import Server

__all__ = ["serve_stream"]

RECEIVE_BYTES = 256 << 10
UNSENT_BYTES_MAX = 16 << 20
STUCK_S = 0.8


async def serve_stream(server: Server, stream: trio.abc.Stream, peer: str = "memory") -> None:
    """Serve this one connection until it ends; closes the stream. Raises: StatusError when there are too
    many."""
    async with stream, trio.open_nursery() as nursery:
        driver = _StreamDriver(nursery)
        connection = server.new_connection(driver, peer)
        try:
            nursery.start_soon(driver.write, stream)
            await driver.read(stream, connection)
        finally:
            connection.lost()
            nursery.cancel_scope.cancel()


class _StreamDriver(JobRunner):
    """`smbsrv.connection.Driver`. Every receive buffer is a new one, so jobs may keep theirs."""

    def __init__(self, nursery: trio.Nursery) -> None:
        super().__init__(nursery)
        self._unsent: deque[bytes] = deque()
        self._unsent_bytes = 0
        self._moved_s = 0.0
        self._wake = trio.Event()
        self._drained = trio.Event()
        self._reading = trio.CancelScope()
        self._late: list[bytes] | None = None

    async def read(self, stream: trio.abc.Stream, connection: Connection) -> None:
        rest = b""
        with self._reading:
            while not connection.is_closing:
                try:
                    data = await stream.receive_some(RECEIVE_BYTES)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    return
                if not data:
                    return
                connection.received_s = connection.server.runtime.now()
                rest = await self._process(connection, rest + bytes(data))

    async def _process(self, connection: Connection, data: bytes) -> bytes:
        buffer = memoryview(bytearray(data))
        at = 0
        while True:
            self._late = []
            try:
                reached = connection.receive(buffer, at, len(buffer))
            except Exception as error:
                log_end(connection, error)
                connection.is_closing = True
                reached = len(buffer)
            finally:
                late, self._late = self._late, None
            if self.arena.end:
                self._append(bytes(self.arena.view[: self.arena.end]))
                self.arena.end = 0
            for frame in late:
                self._append(frame)
            while self._unsent_bytes > UNSENT_BYTES_MAX or not connection.may_read:
                self._drained = trio.Event()
                await self._drained.wait()
            if reached == at or connection.is_closing:
                return bytes(buffer[reached:])
            at = reached

    async def write(self, stream: trio.abc.Stream) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake = trio.Event()
                while self._unsent:
                    frame = self._unsent.popleft()
                    await stream.send_all(frame)
                    self._unsent_bytes -= len(frame)
                    self._moved_s = trio.current_time()
                    self._drained.set()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._reading.cancel()

    def _append(self, frame: bytes) -> None:
        if not self._unsent_bytes:
            self._moved_s = trio.current_time()
        self._unsent.append(frame)
        self._unsent_bytes += len(frame)
        self._wake.set()

    def send(self, connection: Connection, frame: memoryview) -> None:
        if self._late is not None:
            self._late.append(bytes(frame))
        else:
            self._append(bytes(frame))

    def is_stuck(self, connection: Connection) -> bool:
        return self._unsent_bytes > 0 and trio.current_time() - self._moved_s > STUCK_S

    def close(self, connection: Connection) -> None:
        connection.is_closing = True
        self._reading.cancel()

    def keep_memory(self, job: Job) -> None:
        """It keeps its buffer alive itself."""

    def release_memory(self, job: Job) -> None:
        self._drained.set()
