"""The pump: one Trio task serves all TCP connections, from an epoll descriptor of its own.

    poll(0) --nothing--> spin <= 50 us, then wait_readable(epoll) --+
      ^  ready links                                                |
      +--- recv_into -> Connection.receive ... -> one send ---------+   checkpoint every 300 us

The spin is cut by half whenever the client took much longer to send more, and is whole again once one did
not.

Trio waits for the epoll's descriptor, so a busy server makes no Trio step for a request. All links share one
receive buffer and one arena; a link owns memory only for the beginning of a frame, for one large frame, or
for what its client does not take.

Backpressure: a link with anything unsent, or with too many bytes of READs under way, is not read. Fairness:
about 1 MiB of responses a link and round. A buffer in which a detached job's message lies is given away until
the job is answered. Linux only. Times are `time.perf_counter` here (spin and budget) and the server's clock
elsewhere.

Measured trials: a wait_readable round trip costs 25-30 us of CPU, a poll of an own epoll 1; spinning halves
the latency of a client that sends one request at a time.
"""

from __future__ import annotations

import logging
import select
import socket
from collections import deque
from struct import Struct
from time import perf_counter
from typing import TYPE_CHECKING

import trio

from smbproto.endpoint.framing import LENGTH_BYTES
from smbproto.security.encryption import TAG_BYTES
from smbproto.status import StatusError
from smbsrv.connection import ARENA_BYTES, FLUSH_BYTES, Connection
from smbsrv.io.jobs import JobRunner, log_end

if TYPE_CHECKING:
    from smbsrv.job import Job
    from smbsrv.server import Server

__all__ = ["Pump"]

log = logging.getLogger("sofs.smb")

SPIN_S = 50e-6
SPIN_PAYS_S = 100e-6
"""A wait longer than this would not have been spared by spinning: the next spin is half as long."""
BUDGET_S = 300e-6
RECEIVE_BYTES = 256 << 10
LARGE_FRAME_BYTES = 64 << 10
"""A frame longer than this is received into memory of its own."""
EXPECT_LARGE_BYTES = 4096
"""First receive of a link whose last frame was large: its header and little more, so that little is moved."""
LARGE_RECEIVE_BYTES = 1 << 20
ROUND_BYTES = 1 << 20
SWAP_BYTES = 64 << 10
"""An unsent rest longer than this keeps the arena, and the pump takes another."""
SPARE_BUFFERS_MAX = 8
SPARE_BYTES_MAX = 64 << 20
SPARE_ARENAS_MAX = 4

STUCK_MS = 800
_tcp_info = Struct("=24xI28xI")
"""Of Linux's struct tcp_info: tcpi_unacked, tcpi_last_ack_recv (milliseconds)."""
_frame_length = Struct(">I").unpack_from
_BROKEN = select.EPOLLHUP | select.EPOLLERR


class _Buffer:
    """Receive memory; `users` are the jobs whose messages lie in it."""

    __slots__ = ("memory", "users", "view")

    def __init__(self, size_bytes: int) -> None:
        self.memory = bytearray(size_bytes)
        self.view = memoryview(self.memory)
        self.users = 0


class _Link:
    """One socket and what it owns."""

    __slots__ = (
        "connection", "expects_large", "fd", "has_frames", "is_current", "is_gone", "large", "large_end",
        "large_have", "late", "mask", "partial", "partial_since_s", "sock", "unsent", "unsent_bytes",
        "unsent_since_s",
    )  # fmt: skip

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.connection: Connection = None  # type: ignore[assignment]  # set at once by `add`
        self.mask = select.EPOLLIN
        self.partial = b""
        self.partial_since_s = 0.0
        self.has_frames = False
        """`partial` holds whole frames: they come before anything is read."""
        self.large: _Buffer | None = None
        self.large_have = self.large_end = 0
        self.expects_large = False
        self.unsent: deque[tuple[memoryview, bytearray | None]] = deque()
        """Frames, and the arena's memory where a frame lies in one that was given away."""
        self.unsent_bytes = 0
        self.unsent_since_s = 0.0
        self.late: list[memoryview] = []
        self.is_current = False
        self.is_gone = False


class Pump(JobRunner):
    """A driver (`smbsrv.connection.Driver`). `add` gives it a connected socket; `serve` serves until it is
    cancelled."""

    def __init__(
        self, server: Server, nursery: trio.Nursery, *, spin_s: float = SPIN_S, budget_s: float = BUDGET_S
    ) -> None:
        super().__init__(nursery)
        self.server = server
        self._spin_s, self._budget_s = spin_s, budget_s
        self._epoll = select.epoll()
        self._links: dict[int, _Link] = {}
        self._by_connection: dict[Connection, _Link] = {}
        self._backlog: dict[_Link, None] = {}
        self._buffer = _Buffer(RECEIVE_BYTES + TAG_BYTES)
        self._processing: _Buffer | None = None
        self._spare: list[_Buffer] = []
        self._spare_bytes = 0
        self._spare_arenas: list[bytearray] = []
        self._kept: dict[Job, _Buffer] = {}
        self._now = server.runtime.now()

    # links

    def add(self, sock: socket.socket, peer: str) -> Connection | None:
        """Serve this connected socket, which is the pump's from now on. None: there are too many, it is
        closed."""
        sock.setblocking(False)
        link = _Link(sock)
        try:
            link.connection = self.server.new_connection(self, peer)
        except StatusError as error:
            log.warning("refused peer=%s: %s", peer, error)
            sock.close()
            return None
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._links[link.fd] = link
        self._by_connection[link.connection] = link
        self._epoll.register(link.fd, link.mask)
        log.info("connected connection=%d peer=%s", link.connection.id, peer)
        return link.connection

    def _drop(self, link: _Link) -> None:
        if link.is_gone:
            return
        link.is_gone = True
        connection = link.connection
        if not self._epoll.closed:
            self._epoll.unregister(link.fd)
        del self._links[link.fd]
        del self._by_connection[connection]
        self._backlog.pop(link, None)
        link.sock.close()
        link.unsent.clear()
        link.partial = b""
        link.large = None
        connection.lost()
        log.info("disconnected connection=%d peer=%s", connection.id, connection.peer)

    def close(self, connection: Connection) -> None:
        connection.is_closing = True
        link = self._by_connection.get(connection)
        if link is not None and not link.is_current:
            self._drop(link)

    def close_all(self) -> None:
        for link in list(self._links.values()):
            self._drop(link)

    def _watch(self, link: _Link) -> None:
        """Tell the epoll what this link is ready for."""
        if link.is_gone or self._epoll.closed:
            return
        mask = 0
        if link.unsent:
            mask = select.EPOLLOUT
        elif not link.has_frames and link.connection.may_read:
            mask = select.EPOLLIN
        if mask != link.mask:
            link.mask = mask
            self._epoll.modify(link.fd, mask)

    # the loop

    async def serve(self) -> None:
        """The loop, until it is cancelled; then nothing is added or dropped through the epoll any more."""
        with self._epoll:
            await self._loop()

    async def _loop(self) -> None:
        poll, spin_s, budget_s = self._epoll.poll, self._spin_s, self._budget_s
        links, backlog, clock = self._links, self._backlog, self.server.runtime.now
        descriptor = self._epoll.fileno()
        tick = last = perf_counter()
        while True:
            events = poll(0)
            if not events and not backlog:
                parked = perf_counter()
                if self.has_begun or parked - last >= spin_s:
                    self.has_begun = False
                    await trio.lowlevel.wait_readable(descriptor)
                    tick = perf_counter()
                    spin_s = self._spin_s if tick - parked < SPIN_PAYS_S else spin_s / 2
                continue
            self._now = clock()
            # The links, not their descriptors: one that is closed here may be another's after a checkpoint.
            for link, mask in [(links[fd], mask) for fd, mask in events]:
                if not link.is_gone:
                    self._attend(link, mask)
                if perf_counter() - tick > budget_s:
                    await trio.lowlevel.checkpoint()
                    tick = perf_counter()
            if backlog:
                for link in list(backlog):
                    if backlog.pop(link, True) is None:
                        self._attend(link, 0)
            last = perf_counter()
            if last - tick > budget_s:
                await trio.lowlevel.checkpoint()
                tick = perf_counter()

    def _attend(self, link: _Link, mask: int) -> None:
        """One link's turn; 0: it has frames set aside. A bug in it is the end of it alone."""
        try:
            if mask & _BROKEN:
                self._drop(link)
            elif mask & select.EPOLLOUT and link.unsent:
                self._flush(link)
            elif mask & select.EPOLLIN:
                self._read(link)
            elif not mask:
                self._resume(link)
        except Exception as error:
            log_end(link.connection, error)
            self._drop(link)

    # in

    def _read(self, link: _Link) -> None:
        if link.large is not None:
            self._read_large(link)
            return
        if link.has_frames:
            return
        buffer = self._buffer
        view = buffer.view
        have = len(link.partial)
        if have:
            view[:have] = link.partial
        stop = have + EXPECT_LARGE_BYTES if link.expects_large else RECEIVE_BYTES
        try:
            count = link.sock.recv_into(view[have:stop])
        except BlockingIOError:
            return
        except OSError:
            count = 0
        if not count:
            self._drop(link)
            return
        link.partial = b""
        link.expects_large = False
        self._process(link, buffer, have + count)
        if buffer.users:
            self._buffer = self._take_buffer(RECEIVE_BYTES + TAG_BYTES)

    def _read_large(self, link: _Link) -> None:
        """More of a large frame, straight to where it will be used."""
        buffer = link.large
        assert buffer is not None
        stop = min(link.large_end, link.large_have + LARGE_RECEIVE_BYTES)
        try:
            count = link.sock.recv_into(buffer.view[link.large_have : stop])
        except BlockingIOError:
            return
        except OSError:
            count = 0
        if not count:
            self._drop(link)
            return
        link.large_have += count
        if link.large_have < link.large_end:
            return
        link.large = None
        self._process(link, buffer, link.large_end)
        link.expects_large = True
        if not buffer.users:
            self._give_back(buffer)

    def _resume(self, link: _Link) -> None:
        """Go on with frames that were set aside."""
        if link.is_gone or not link.has_frames:
            return
        buffer = self._buffer
        have = len(link.partial)
        buffer.view[:have] = link.partial
        link.partial = b""
        link.has_frames = False
        self._process(link, buffer, have)
        if buffer.users:
            self._buffer = self._take_buffer(RECEIVE_BYTES + TAG_BYTES)

    def _process(self, link: _Link, buffer: _Buffer, have: int) -> None:
        """Handle the frames in `buffer`, send the responses, set aside what is left."""
        connection, arena, view = link.connection, self.arena, buffer.view
        connection.received_s = self._now
        at = sent = 0
        failed = is_full = False
        self._processing = buffer
        link.is_current = True
        try:
            while True:
                at = connection.receive(view, at, have)
                is_full = arena.end >= FLUSH_BYTES
                sent += arena.end
                if arena.end:
                    self._send_arena(link)
                if not is_full or link.unsent or link.is_gone or sent >= ROUND_BYTES:
                    break
        except Exception as error:
            log_end(connection, error)
            failed = True
            if arena.end:
                self._send_arena(link)
        finally:
            self._processing = None
            link.is_current = False
        if link.late:
            late, link.late = link.late, []
            for frame in late:
                self._send(link, frame)
        if failed or connection.is_closing or link.is_gone:
            self._drop(link)
            return
        self._set_aside(link, view, at, have, is_full)

    def _set_aside(self, link: _Link, view: memoryview, at: int, have: int, is_full: bool) -> None:
        left = have - at
        link.has_frames = False
        if left:
            link.partial_since_s = self._now
            length = 0
            if left >= LENGTH_BYTES:
                length = LENGTH_BYTES + _frame_length(view, at)[0]
            if length and left >= length:
                link.has_frames = True
            if length > LARGE_FRAME_BYTES and left < length <= self._frame_max(link):
                large = self._take_buffer(length + TAG_BYTES)
                large.view[:left] = view[at:have]
                link.large, link.large_have, link.large_end = large, left, length
            else:
                link.partial = bytes(view[at:have])
        if link.has_frames and not link.unsent and link.connection.may_read:
            self._backlog[link] = None
        self._watch(link)

    def _frame_max(self, link: _Link) -> int:
        return LENGTH_BYTES + link.connection.endpoint.frame_max_bytes

    # memory

    def _take_buffer(self, size_bytes: int) -> _Buffer:
        """Spare memory of at least this size, and not much more; else new."""
        for index, buffer in enumerate(self._spare):
            if size_bytes <= len(buffer.memory) <= 2 * size_bytes:
                del self._spare[index]
                self._spare_bytes -= len(buffer.memory)
                return buffer
        return _Buffer(size_bytes)

    def _give_back(self, buffer: _Buffer) -> None:
        size = len(buffer.memory)
        if len(self._spare) < SPARE_BUFFERS_MAX and self._spare_bytes + size <= SPARE_BYTES_MAX:
            self._spare.append(buffer)
            self._spare_bytes += size

    def keep_memory(self, job: Job) -> None:
        buffer = self._processing
        assert buffer is not None, "a job began outside a link's turn"
        if job.keeps_memory():
            buffer.users += 1
            self._kept[job] = buffer

    def release_memory(self, job: Job) -> None:
        buffer = self._kept.pop(job, None)
        if buffer is not None:
            buffer.users -= 1
            if not buffer.users and buffer is not self._buffer and buffer is not self._processing:
                self._give_back(buffer)
        link = self._by_connection.get(job.connection)
        if link is not None and not link.mask:
            self._unblock(link)

    # out

    def is_stuck(self, connection: Connection) -> bool:
        link = self._by_connection.get(connection)
        if link is None:
            return True
        if link.unsent:
            return self._now - link.unsent_since_s > STUCK_MS / 1000
        info = link.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _tcp_info.size)
        unacknowledged, silent_ms = _tcp_info.unpack(info)
        return bool(unacknowledged) and silent_ms >= STUCK_MS

    def send(self, connection: Connection, frame: memoryview) -> None:
        link = self._by_connection.get(connection)
        if link is None:
            return
        if link.is_current:
            link.late.append(frame)
        else:
            self._send(link, frame)

    def _send(self, link: _Link, frame: memoryview) -> None:
        if link.is_gone:
            return
        count = 0
        if not link.unsent:
            try:
                count = link.sock.send(frame)
            except BlockingIOError:
                count = 0
            except OSError:
                self.close(link.connection)
                return
        if count < len(frame):
            self._keep_unsent(link, frame[count:])

    def _send_arena(self, link: _Link) -> None:
        arena = self.arena
        end, arena.end = arena.end, 0
        try:
            count = link.sock.send(arena.view[:end])
        except BlockingIOError:
            count = 0
        except OSError:
            link.connection.is_closing = True
            return
        if count == end:
            return
        if end - count > SWAP_BYTES:
            self._keep_unsent(link, arena.view[count:end], arena.buffer)
            arena.buffer = self._spare_arenas.pop() if self._spare_arenas else bytearray(ARENA_BYTES)
            arena.view = memoryview(arena.buffer)
        else:
            self._keep_unsent(link, memoryview(bytes(arena.view[count:end])))

    def _keep_unsent(self, link: _Link, rest: memoryview, memory: bytearray | None = None) -> None:
        if not link.unsent:
            link.unsent_since_s = self._now
        link.unsent.append((rest, memory))
        link.unsent_bytes += len(rest)
        self._watch(link)

    def _flush(self, link: _Link) -> None:
        """The client takes again."""
        unsent = link.unsent
        while unsent:
            frame, memory = unsent[0]
            try:
                count = link.sock.send(frame)
            except BlockingIOError:
                return
            except OSError:
                self._drop(link)
                return
            link.unsent_bytes -= count
            link.unsent_since_s = self._now
            if count < len(frame):
                unsent[0] = frame[count:], memory
                return
            unsent.popleft()
            if memory is not None and len(self._spare_arenas) < SPARE_ARENAS_MAX:
                self._spare_arenas.append(memory)
        self._unblock(link)

    def _unblock(self, link: _Link) -> None:
        """Nothing is in the way of reading any more, perhaps."""
        if link.is_gone or self._epoll.closed:
            return
        if link.has_frames and not link.unsent and link.connection.may_read:
            self._backlog[link] = None
            self._epoll.modify(link.fd, select.EPOLLOUT)  # wakes the loop if it waits
            link.mask = select.EPOLLOUT
        else:
            self._watch(link)

    # timers

    def tick(self, now: float) -> None:
        """Drop links that take or send nothing for too long."""
        self._now = now
        limits = self.server.limits
        for link in list(self._links.values()):
            if link.unsent and now - link.unsent_since_s > limits.unsent_s:
                reason = "takes no responses"
            elif (
                (link.partial or link.large)
                and not link.has_frames
                and (now - max(link.partial_since_s, link.connection.received_s) > limits.partial_frame_s)
            ):
                reason = "leaves a frame unfinished"
            else:
                continue
            log.warning(
                "dropped connection=%d peer=%s: it %s", link.connection.id, link.connection.peer, reason
            )
            self._drop(link)
