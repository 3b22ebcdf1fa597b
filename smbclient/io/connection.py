"""The client's connection on Trio: one task receives, one sends what could not be sent at once.

      submit -> endpoint -> stream (at once, if it takes it) or -> write_loop -> stream
      stream -> read_loop -> endpoint -> Reply.wait

`Connection.open` runs both in a nursery, so neither outlives the `async with`. When the connection breaks,
every reply that is waited for raises CONNECTION_DISCONNECTED, with the reason. A request whose waiting is
cancelled is cancelled at the server; its late answer is dropped. Requests wait for credits in the order in
which they came.

Source: [MS-SMB2] 3.2.4.1 Sending Any Outgoing Message; 3.2.4.1.5 Sending Multi-Credit Requests; 3.2.5.1
Receiving Any Message.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Self

import trio

from smbproto.codec import Buffer
from smbproto.dtyp import filetime_from_unix_ns
from smbproto.endpoint.client import (
    Answer,
    BreakNotice,
    ClientEndpoint,
    Event,
    Negotiating,
    Pending,
    SessionReady,
    SessionRefused,
)
from smbproto.endpoint.client_frames import Outgoing
from smbproto.endpoint.client_negotiate import ClientConfig, Negotiated
from smbproto.endpoint.client_session import ClientSession
from smbproto.endpoint.stream import ByteStream
from smbproto.errors import ProtocolViolation, WireError
from smbproto.security.ntlm import NtlmInitiator
from smbproto.security.spnego import SpnegoInitiator
from smbproto.smb2.close import CloseRequest
from smbproto.smb2.create import CreateResponse
from smbproto.smb2.header import Command
from smbproto.smb2.oplock_break import LeaseBreakNotification, OplockBreakNotification
from smbproto.status import Status, StatusError

__all__ = ["Connection", "PendingReply"]

BreakHandler = Callable[[OplockBreakNotification | LeaseBreakNotification], None]


class PendingReply:
    """See `smbclient.port.Reply`."""

    __slots__ = ("_answer", "_connection", "_event", "_failure", "message_id", "opens_on")

    def __init__(self, connection: Connection, message_id: int, opens_on: tuple[int, bool] | None) -> None:
        """`opens_on`: of a CREATE, the tree and whether it is sealed."""
        self.opens_on = opens_on
        self._connection = connection
        self._answer: Answer | None = None
        self._failure: StatusError | None = None
        self._event: trio.Event | None = None
        self.message_id = message_id

    async def wait(self) -> tuple[int, memoryview]:
        if self._answer is None and self._failure is None:
            self._event = trio.Event()
            try:
                await self._event.wait()
            except trio.Cancelled:
                self.abandon()
                raise
        if self._failure is not None:
            raise self._failure
        assert self._answer is not None
        return self._answer.status, self._answer.message

    def abandon(self) -> None:
        if self._answer is None and self._failure is None:
            self._connection.abandon(self)

    def resolve(self, answer: Answer | None, failure: StatusError | None = None) -> None:
        self._answer, self._failure = answer, failure
        if self._event is not None:
            self._event.set()


class Connection:
    """One connection and the session on it. See `smbclient.port.Channel`."""

    def __init__(
        self,
        stream: ByteStream,
        config: ClientConfig,
        *,
        on_break: BreakHandler | None = None,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._stream = stream
        self._entropy = entropy
        self._endpoint = ClientEndpoint(config, entropy)
        self._on_break = on_break
        self._replies: dict[int, PendingReply] = {}
        self._late_opens: dict[int, tuple[int, bool]] = {}
        self._credit_queue: deque[tuple[int, trio.Event]] = deque()
        self._unsent: deque[memoryview] = deque()
        self._unsent_event = trio.Event()
        self._negotiated = trio.Event()
        self._session_event = trio.Event()
        self._session: ClientSession | None = None
        self._failure: StatusError | None = None

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        stream: ByteStream,
        config: ClientConfig,
        *,
        on_break: BreakHandler | None = None,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> AsyncIterator[Self]:
        """A negotiated connection. Closes the stream at the end. `entropy`: as many random bytes as asked.

        Raises: StatusError CONNECTION_DISCONNECTED, with what went wrong.
        """
        connection = cls(stream, config, on_break=on_break, entropy=entropy)
        try:
            async with trio.open_nursery() as nursery:
                try:
                    nursery.start_soon(connection._read_loop)
                    nursery.start_soon(connection._write_loop)
                    connection._endpoint.start()
                    connection._flush()
                    await connection._negotiated.wait()
                    connection._check()
                    yield connection
                finally:
                    connection._fail("the connection was closed at this end")
                    nursery.cancel_scope.cancel()
                    with trio.CancelScope(shield=True):
                        await stream.aclose()
        except BaseExceptionGroup as group:
            if len(group.exceptions) == 1:  # the caller's own error, which the nursery only wraps
                raise group.exceptions[0] from group.exceptions[0].__cause__
            raise

    @property
    def config(self) -> ClientConfig:
        return self._endpoint.config

    @property
    def negotiated(self) -> Negotiated:
        return self._endpoint.negotiated

    @property
    def session(self) -> ClientSession:
        assert self._session is not None, "nobody has logged in"
        return self._session

    @property
    def is_broken(self) -> bool:
        return self._failure is not None

    async def login(
        self,
        user: str,
        password: str | None,
        domain: str = "",
        *,
        hash_nt: bytes | None = None,
        previous_session_id: int = 0,
    ) -> None:
        """Set up the session. An empty user is anonymous. Raises: StatusError LOGON_FAILURE and others."""
        assert self._session is None, "one session a connection"
        await self._credits(1)
        initiator = self._initiator(user, password, domain, hash_nt)
        session = self._endpoint.begin_session(initiator, previous_session_id)
        self._flush()
        await self._session_event.wait()
        self._check()
        if self._session is not session:
            raise StatusError(Status.LOGON_FAILURE, f"the session for {user!r} was refused")

    async def renew(
        self, user: str, password: str | None, domain: str = "", *, hash_nt: bytes | None = None
    ) -> None:
        """Prove again who we are, as NETWORK_SESSION_EXPIRED asks for. Raises: StatusError; the session is
        then over."""
        await self._credits(1)
        self._session_event = trio.Event()
        self._endpoint.renew_session(self.session, self._initiator(user, password, domain, hash_nt))
        self._flush()
        await self._session_event.wait()
        self._check()

    def _initiator(
        self, user: str, password: str | None, domain: str, hash_nt: bytes | None
    ) -> SpnegoInitiator:
        ntlm = NtlmInitiator(
            user,
            password,
            domain,
            entropy=self._entropy,
            filetime=filetime_from_unix_ns(time.time_ns()),
            hash_nt=hash_nt,
            target_name=f"cifs/{self.config.server_name}" if self.config.server_name else "",
        )
        return SpnegoInitiator(ntlm)

    def credits_free(self) -> int:
        return 0 if self._credit_queue else self._endpoint.credits

    def credits_owned(self) -> int:
        return self._endpoint.credits_owned

    def give_up(self, why: str) -> None:
        self._fail(why)

    async def submit(
        self,
        command: int,
        body: Buffer,
        payload: Buffer = b"",
        *,
        tree_id: int,
        sealed: bool,
        charge: int = 1,
    ) -> PendingReply:
        await self._credits(charge)
        message_id = self._endpoint.request(
            command, body, payload, session=self.session, tree_id=tree_id, sealed=sealed, charge=charge
        )
        opens_on = (tree_id, sealed) if command == Command.CREATE else None
        reply = self._replies[message_id] = PendingReply(self, message_id, opens_on)
        self._flush()
        return reply

    async def submit_related(self, requests: Sequence[Outgoing], *, sealed: bool) -> Sequence[PendingReply]:
        await self._credits(sum(request.charge for request in requests))
        ids = self._endpoint.compound(requests, session=self.session, sealed=sealed, related=True)
        replies = [PendingReply(self, message_id, None) for message_id in ids]
        self._replies.update(zip(ids, replies, strict=True))
        self._flush()
        return replies

    def abandon(self, reply: PendingReply) -> None:
        """Cancel that request at the server; nobody waits for its answer. What it opens all the same is
        closed."""
        if self._replies.pop(reply.message_id, None) is not None and self._failure is None:
            if reply.opens_on is not None:
                self._late_opens[reply.message_id] = reply.opens_on
            self._endpoint.cancel(reply.message_id)
            self._flush()

    def _close_late(self, answer: Answer) -> None:
        """The server opened a file for somebody who has stopped waiting."""
        tree_id, sealed = self._late_opens.pop(answer.message_id)
        if answer.status == Status.SUCCESS and self._endpoint.credits:
            request = CloseRequest(file_id=CreateResponse.decode_untrusted(answer.message).file_id)
            self._endpoint.request(
                Command.CLOSE, request.encode(), session=self.session, tree_id=tree_id, sealed=sealed
            )

    async def _credits(self, charge: int) -> None:
        """Wait until `charge` credits are free for the caller, who must use them without awaiting before."""
        self._check()
        if self._credit_queue or self._endpoint.credits < charge:
            ticket = (charge, trio.Event())
            self._credit_queue.append(ticket)
            try:
                await ticket[1].wait()
            finally:
                if ticket in self._credit_queue:
                    self._credit_queue.remove(ticket)
                self._serve_credit_queue()
            self._check()
            if self._endpoint.credits < charge:
                await self._credits(charge)

    def _serve_credit_queue(self) -> None:
        """Wake the first who waits, if there is enough for it; it wakes the next when it has sent."""
        while self._credit_queue and self._credit_queue[0][0] <= self._endpoint.credits:
            _, event = self._credit_queue.popleft()
            event.set()
            return

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _flush(self) -> None:
        """Send what the endpoint has; what the stream does not take at once is left to `_write_loop`."""
        for frame in self._endpoint.take_output():
            if self._unsent:
                self._unsent.append(frame)
                continue
            try:
                sent = self._stream.send_nowait(frame)
            except OSError as error:
                self._fail(f"sending failed: {error}")
                return
            if sent < len(frame):
                self._unsent.append(frame[sent:])
        if self._unsent:
            self._unsent_event.set()

    async def _write_loop(self) -> None:
        while True:
            await self._unsent_event.wait()
            while self._unsent:
                try:
                    await self._stream.send_all(self._unsent[0])
                except OSError as error:
                    self._fail(f"sending failed: {error}")
                    return
                self._unsent.popleft()
            self._unsent_event = trio.Event()

    async def _read_loop(self) -> None:
        endpoint = self._endpoint
        try:
            while True:
                count = await self._stream.receive_into(endpoint.receive_buffer())
                if not count:
                    self._fail("the server closed the connection")
                    return
                for event in endpoint.received(count):
                    self._handle(event)
                self._flush()
                self._serve_credit_queue()
        except OSError as error:
            self._fail(f"receiving failed: {error}")
        except (ProtocolViolation, WireError) as error:
            self._fail(f"the server broke the protocol: {error}")
            await self._stream.aclose()

    def _handle(self, event: Event) -> None:
        if isinstance(event, Answer):
            reply = self._replies.pop(event.message_id, None)
            if reply is not None:
                reply.resolve(event)
            elif event.message_id in self._late_opens:
                self._close_late(event)
        elif isinstance(event, Pending):
            pass
        elif isinstance(event, BreakNotice):
            if self._on_break is not None:
                self._on_break(event.notice)
        elif isinstance(event, Negotiating):
            self._negotiated.set()
        elif isinstance(event, SessionReady):
            self._session = event.session
            self._session_event.set()
        elif isinstance(event, SessionRefused):
            self._failure = event.error
            self._session_event.set()
        else:
            self._fail("the server closed the session")

    def _fail(self, why: str) -> None:
        """The connection is of no further use."""
        if self._failure is None:
            self._failure = StatusError(Status.CONNECTION_DISCONNECTED, why)
        replies, self._replies = self._replies, {}
        for reply in replies.values():
            reply.resolve(None, self._failure)
        queue, self._credit_queue = self._credit_queue, deque()
        for _, event in queue:
            event.set()
        self._negotiated.set()
        self._session_event.set()
