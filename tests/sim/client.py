"""A client of the simulation: one connection at a time, what it believes it caches, and its answers to
breaks.

Beliefs are dropped before the server is told (close, acknowledgment, unlock), and the moment a connection is
cut; they are taken up when the answer arrived. So whatever two clients believe at once, the server has
promised to both.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import trio

from smbclient.session import Session
from smbclient.tree import Tree
from smbproto import fscc
from smbproto.codec import FileId, Message
from smbproto.endpoint.client_negotiate import ClientConfig
from smbproto.smb2 import contexts as ctx
from smbproto.smb2.close import CloseRequest
from smbproto.smb2.create import (
    SMB2_LEASE_WRITE_CACHING,
    SMB2_OPLOCK_LEVEL_BATCH,
    SMB2_OPLOCK_LEVEL_EXCLUSIVE,
    SMB2_OPLOCK_LEVEL_LEASE,
    CreateContext,
    CreateRequest,
    CreateResponse,
)
from smbproto.smb2.header import Command
from smbproto.smb2.write import WriteRequest
from smbproto.status import Status, StatusError
from tests.sim.breaks import BreakAnswers
from tests.sim.handles import (
    KEPT_S,
    LOST,
    QUIET_S,
    SHARE_ALL,
    Dirty,
    Handle,
    Lost,
    SimConnection,
    SimLease,
)  # fmt: skip
from tests.sim.model import ModelFile, ModelStream
from tests.sim.node import PASSWORD, USER, SimNode
from tests.sim.opening import check_node, durable_contexts, durable_version, wire_name

if TYPE_CHECKING:
    from smbsrv.connection import Connection as ServerConnection
    from tests.sim.simulation import Simulation
    from tests.sim.wire import Wire


class SimClient(BreakAnswers):
    """See the module. `run` keeps it connected while the simulation goes on."""

    def __init__(self, sim: Simulation, number: int, rng: random.Random) -> None:
        self.sim = sim
        self.number = number
        self.rng = rng
        self.guid = rng.randbytes(16)
        dialects = (
            (0x0300, 0x0302, 0x0311) if sim.plan.encrypt else (0x0202, 0x0210, 0x0300, 0x0302, 0x0311, 0x0311)
        )
        self.dialect = rng.choice(dialects)
        self.generation = 0
        self.connection: SimConnection
        self.tree: Tree
        self.wire: Wire | None = None
        self.node: SimNode
        self._lost: list[tuple[SimNode, ServerConnection]] = []
        self.leases: dict[bytes, SimLease] = {}
        self.handles: dict[Handle, None] = {}
        self.oplock_breaks: dict[FileId, list[tuple[int, int]]] = {}
        self.dirty: dict[ModelStream, list[Dirty]] = {}
        """Writes that our users think done, and that the server has not heard of: WRITE caching lets us."""
        self.left_at_s: dict[ModelFile, float] = {}
        """When an open of ours last ended."""
        self._up = trio.Event()
        self._session_id = 0
        self._nursery: trio.Nursery

    # -- life ----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            while True:
                try:
                    await self._live()
                except StatusError as error:
                    if error.status not in (*LOST, Status.USER_SESSION_DELETED):
                        raise
                self.cut()
                await trio.sleep(self.rng.uniform(0.01, 0.5))

    async def _live(self) -> None:
        node = self.node = await self.sim.serving()
        wire = self.wire = node.connect()
        wire.on_cut = self.cut
        config = ClientConfig(
            client_guid=self.guid,
            server_name="sim",
            dialects=tuple(d for d in (0x0202, 0x0210, 0x0300, 0x0302, 0x0311) if d <= self.dialect),
            require_encryption=False,
        )
        async with SimConnection.open(
            wire.client_end, config, on_break=self._broken, entropy=self.rng.randbytes
        ) as connection:
            previous = self._session_id if self.rng.random() < 0.5 else 0
            await connection.login(USER, PASSWORD, previous_session_id=previous)
            session = Session(connection, "sim")
            self.tree = await session.tree("data")
            self.connection = connection
            self._session_id = connection.session.session_id
            self.generation += 1
            self._up.set()
            await wire.done.wait()

    def cut(self) -> None:
        """The connection is gone: nothing is believed any more."""
        if self._up.is_set():
            self._up = trio.Event()
        if self.wire is not None and self.wire.served_by is not None:
            lost = (self.node, self.wire.served_by)
            self._lost.append(lost)
            for handle in self.handles:
                if handle.is_lingering:
                    handle.file.zombies.append(lost)
        self.wire = None
        for lease in self.leases.values():
            lease.stream.caching.pop(lease, None)
            lease.handles = 0
        self.leases.clear()
        for handle in self.handles:
            handle.stream.caching.pop(handle, None)
            handle.was_kept = handle.may_be_kept and not self._has_company(handle)
            handle.cut_at_s = trio.current_time()
            for lock in handle.locks:
                if lock in handle.stream.locks:
                    handle.stream.locks.remove(lock)
        self.oplock_breaks.clear()
        for cached in self.dirty.values():
            for dirty in cached:
                dirty.op.withdraw()  # lost with the connection, as our users would be told
        self.dirty.clear()

    def _has_company(self, handle: Handle) -> bool:
        """Another client has the file open, or had it a moment ago: its writes may have broken what we
        hold."""
        now = trio.current_time()
        for client in self.sim.clients:
            if client is not self and (
                any(one.file is handle.file for one in client.handles)
                or now - client.left_at_s.get(handle.file, -QUIET_S) < QUIET_S
            ):
                return True
        return False

    @property
    def is_up(self) -> bool:
        return self._up.is_set()

    async def connected(self) -> int:
        while not self._up.is_set():
            await self._up.wait()
        return self.generation

    async def quiet(self) -> None:
        """Until nothing that was asked on lost connections can happen any more."""
        await trio.sleep(0.2)
        while any(up.is_up and not up.is_quiet(by) for up, by in self._lost):  # noqa: ASYNC110
            await trio.sleep(0.05)
        self._lost.clear()

    async def laid(self, file: ModelFile) -> None:
        """Until nobody's lingering open of the file is left on a lost connection, which no gate knows of."""
        while any(up.is_up and not up.is_quiet(by) for up, by in file.zombies):  # noqa: ASYNC110
            await trio.sleep(0.05)
        file.zombies.clear()

    async def quiet_if_lost(self) -> None:
        if self._lost:
            await self.quiet()

    # -- requests ------------------------------------------------------------------------------------------

    async def call(
        self,
        command: Command,
        request: Message,
        *,
        generation: int,
        also: tuple[Status, ...] = (),
        payload: int = 0,
    ) -> tuple[Status, memoryview, int]:
        """Status, message and the order in which it arrived. Raises: Lost, StatusError."""
        if generation != self.generation or not self._up.is_set():
            raise Lost
        connection = self.connection
        charge = max(1, -(-payload // 65536)) if connection.negotiated.is_large_mtu else 1
        try:
            reply = await connection.submit(
                command, request.encode(), tree_id=self.tree.tree_id, sealed=self.tree.sealed, charge=charge
            )
            status, message = await reply.wait()
        except StatusError as error:
            if error.status in LOST:
                raise Lost from error
            raise
        order = connection.answered_at.pop(reply.message_id)
        self.sim.trace(self.number, command, status, len(message))
        if status != Status.SUCCESS and status not in also:
            raise StatusError(Status(status), f"client {self.number}: {request}")
        return Status(status), message, order

    async def guarded(self, work: Callable[[], Any]) -> Any:
        """Run a call of the client library; its lost connection is ours."""
        try:
            return await work()
        except StatusError as error:
            if error.status in LOST:
                raise Lost from error
            raise

    # -- opens ---------------------------------------------------------------------------------------------

    async def create(
        self,
        path: str,
        file: ModelFile,
        *,
        access: int,
        disposition: int = fscc.FILE_OPEN,
        options: int = 0,
        share: int = SHARE_ALL,
        oplock: int = 0,
        lease_state: int = -1,
        durable: bool = False,
        also: tuple[Status, ...] = (),
        stream: str = "",
    ) -> Handle | Status:
        """Open; beliefs are taken up. A status of `also` is handed back. Raises: Lost, StatusError."""
        generation, guid = self.generation, self.rng.randbytes(16) if self.dialect >= 0x0300 else b""
        wanted = [CreateContext(ctx.SMB2_CREATE_QUERY_ON_DISK_ID), *durable_contexts(durable, guid)]
        lease = self._lease_for(file, stream) if lease_state >= 0 and self.dialect >= 0x0210 else None
        if lease is not None:
            oplock = SMB2_OPLOCK_LEVEL_LEASE
            wanted.append(self._lease_context(lease, lease_state))
            lease.handles += 1
        request = CreateRequest(
            requested_oplock_level=oplock,
            desired_access=access,
            share_access=share,
            create_disposition=disposition,
            create_options=options,
            name=wire_name(path, stream),
            contexts=tuple(wanted),
        )
        began = self.sim.clock.tick()
        status, message, order = await self._call_create(request, file, lease, generation, also)
        if status != Status.SUCCESS:
            self._lease_left(lease)
            return status
        response = CreateResponse.decode_untrusted(message)
        found = {context.name: context.data for context in response.contexts}
        check_node(file, found, path)
        handle = Handle(
            self,
            generation,
            file,
            file.streams[stream],
            path,
            response.file_id,
            access,
            response.end_of_file,
            is_through=bool(options & fscc.FILE_WRITE_THROUGH),
            lease=lease,
            create_guid=guid,
            life=self.node,
            stream_name=stream,
            opens_then=-1 if file.opening else file.opens,
            share=share,
            opened_at=self.sim.clock.tick(),
        )
        self._check_sharing(handle, began)
        handle.durable = durable_version(found)
        self.handles[handle] = None
        self._granted(handle, response.oplock_level, found, order)
        return handle

    async def _call_create(
        self,
        request: CreateRequest,
        file: ModelFile,
        lease: SimLease | None,
        generation: int,
        also: tuple[Status, ...],
    ) -> tuple[Status, memoryview, int]:
        file.opens += 1
        file.opening += 1
        try:
            return await self.call(Command.CREATE, request, generation=generation, also=also)
        except BaseException as error:
            self._lease_left(lease)
            if isinstance(error, Lost):
                await self.quiet()  # until then the server may do it
            raise
        finally:
            file.opening -= 1

    def _check_sharing(self, handle: Handle, began: int) -> None:
        """Whoever had the stream open all the while shares it with this open, and the other way round."""
        for other in [other for client in self.sim.clients for other in client.handles]:
            beside = other.stream is handle.stream and other.is_certain and other.opened_at < began
            alone = beside and other.excludes(handle.access, handle.share)
            assert not alone, f"{handle} was opened beside {other}"

    def _granted(self, handle: Handle, level: int, found: dict[bytes, bytes], order: int) -> None:
        if handle.generation != self.generation or not self._up.is_set():
            return
        if handle.lease is not None:
            data = found.get(ctx.SMB2_CREATE_REQUEST_LEASE)
            assert data is not None, f"{handle.path}: a lease was asked for, and none is answered"
            answer = ctx.decode_lease_untrusted(data)
            assert answer.lease_key == handle.lease.key
            state = answer.lease_state
            is_breaking = bool(answer.lease_flags & ctx.SMB2_LEASE_FLAG_BREAK_IN_PROGRESS)
            handle.lease.granted(order, state, is_breaking, self.sim.clock.tick())
            self.believe(handle.stream, handle.lease, handle.lease.state)
            return
        for at, new in self.oplock_breaks.pop(handle.file_id, ()):
            if at > order:
                level = min(level, new)
        handle.level = level
        writes = level in (SMB2_OPLOCK_LEVEL_BATCH, SMB2_OPLOCK_LEVEL_EXCLUSIVE)
        self.believe(handle.stream, handle, SMB2_LEASE_WRITE_CACHING if writes else 0)

    def believe(self, stream: ModelStream, holder: object, state: int) -> None:
        """No two clients hold WRITE caching at once."""
        if state & SMB2_LEASE_WRITE_CACHING:
            others = [other for other in stream.caching if other is not holder]
            self.sim.count("write caching granted")
            assert not others, f"WRITE caching is granted to {holder} while {others} hold it"
            stream.caching[holder] = state
        else:
            stream.caching.pop(holder, None)

    def _lease_for(self, file: ModelFile, stream: str) -> SimLease:
        key = bytes([self.number + 1]) + file.number.to_bytes(7, "big") + stream.encode()[:8].ljust(8, b"\0")
        lease = self.leases.get(key)
        if lease is None:
            version = 2 if self.dialect >= 0x0300 and self.rng.random() < 0.8 else 1
            lease = self.leases[key] = SimLease(key, version, file.streams[stream])
        return lease

    def _same_lease(self, old: SimLease) -> SimLease:
        """The lease of an open that is reclaimed, on the new connection."""
        lease = self.leases.setdefault(old.key, SimLease(old.key, old.version, old.stream))
        if lease is not old:
            lease.handles += 1
        return lease

    def _lease_context(self, lease: SimLease, state: int) -> CreateContext:
        if lease.version == 2:
            data = ctx.LeaseV2(lease_key=lease.key, lease_state=state).encode()
        else:
            data = ctx.Lease(lease_key=lease.key, lease_state=state).encode()
        return CreateContext(ctx.SMB2_CREATE_REQUEST_LEASE, data)

    def _lease_left(self, lease: SimLease | None) -> None:
        if lease is not None and self.leases.get(lease.key) is lease:
            lease.handles -= 1
            if not lease.handles:
                lease.stream.caching.pop(lease, None)
                del self.leases[lease.key]

    def forget(self, handle: Handle) -> None:
        """It is closed, or given up."""
        self.left_at_s[handle.file] = trio.current_time()
        handle.is_open = False
        self.handles.pop(handle, None)
        handle.stream.caching.pop(handle, None)
        for lock in handle.locks:
            if lock in handle.stream.locks:
                handle.stream.locks.remove(lock)
        lease = handle.lease
        if lease is not None and not any(other.lease is lease for other in self.handles):
            # A CREATE with this key may be under way, but if it comes after the CLOSE the lease is another.
            lease.state = 0
            lease.stream.caching.pop(lease, None)
        self._lease_left(lease)

    async def close(self, handle: Handle) -> None:
        """Raises: Lost."""
        await self.write_back(handle.stream)
        if not handle.is_open:
            return
        self.forget(handle)
        await self.call(Command.CLOSE, CloseRequest(file_id=handle.file_id), generation=handle.generation)

    async def reclaim(self, handle: Handle) -> bool:
        """After a lost connection: the open again, or False if the server has none. Raises: Lost."""
        generation = await self.connected()
        if not handle.durable:
            self.forget(handle)
            return False
        if handle.durable == 2:
            data = ctx.DurableHandleReconnectV2(
                file_id=handle.file_id, create_guid=handle.create_guid
            ).encode()
            wanted = [CreateContext(ctx.SMB2_CREATE_DURABLE_HANDLE_RECONNECT_V2, data)]
        else:
            data = ctx.DurableHandleReconnect(file_id=handle.file_id).encode()
            wanted = [CreateContext(ctx.SMB2_CREATE_DURABLE_HANDLE_RECONNECT, data)]
        oplock = handle.level
        if handle.lease is not None:
            oplock = SMB2_OPLOCK_LEVEL_LEASE
            handle.lease = self._same_lease(handle.lease)
            wanted.append(self._lease_context(handle.lease, 0x7))
        request = CreateRequest(
            requested_oplock_level=oplock,
            desired_access=handle.access,
            share_access=SHARE_ALL,
            create_disposition=fscc.FILE_OPEN,
            name=wire_name(handle.path, handle.stream_name),
            contexts=tuple(wanted),
        )
        status, message, order = await self.call(
            Command.CREATE,
            request,
            generation=generation,
            also=(Status.OBJECT_NAME_NOT_FOUND, Status.FILE_NOT_AVAILABLE),
        )
        if status != Status.SUCCESS:
            self.sim.count("reclaim refused")
            untouched = (
                handle.was_kept and handle.opens_then == handle.file.opens and handle.life is self.node
            )
            assert not untouched or trio.current_time() - handle.cut_at_s > KEPT_S, (
                f"{handle} is gone, though nobody else came near it"
            )
            self.forget(handle)
            return False
        self.sim.count("reclaimed")
        response = CreateResponse.decode_untrusted(message)
        handle.generation = generation
        handle.file_id = response.file_id
        for lock in handle.locks:
            for other in handle.stream.locks:
                assert not other.conflicts(lock.start, lock.end, handle, lock.exclusive), (
                    f"{handle.path}: a lock was given to another while the open that has it was kept"
                )
            handle.stream.locks.append(lock)
        found = {context.name: context.data for context in response.contexts}
        self._granted(handle, response.oplock_level, found, order)
        return True

    async def write_back(self, stream: ModelStream) -> None:
        """Send what is cached. Raises: Lost."""
        while self.dirty.get(stream):
            dirty = self.dirty[stream].pop(0)
            if not self.dirty[stream]:
                del self.dirty[stream]
            dirty.op.ended = None  # until it is answered it may be seen or not
            request = WriteRequest(offset=dirty.offset, data=dirty.data, file_id=dirty.handle.file_id)
            try:
                status, _, _ = await self.call(
                    Command.WRITE,
                    request,
                    generation=dirty.handle.generation,
                    payload=len(dirty.data),
                    also=(Status.FILE_LOCK_CONFLICT, Status.DISK_FULL),
                )
            except Lost:
                dirty.op.is_certain = False
                await self.quiet()
                dirty.op.lost(self.sim.clock.tick())
                raise
            self.sim.count("written back")
            if status == Status.SUCCESS:
                dirty.op.answered(self.sim.clock.tick())
            else:
                dirty.op.withdraw()

    def let_linger(self, handle: Handle) -> None:
        """HANDLE caching: keep it open for a while after its user has closed it, unless it is broken."""
        handle.is_lingering = True
        self._nursery.start_soon(self._linger, handle)

    async def _linger(self, handle: Handle) -> None:
        with trio.move_on_after(self.rng.expovariate(1 / 0.5)):
            await handle.broken.wait()
            self.sim.count("lingering opens broken")
        handle.check_cached_reads(trio.current_time())
        if handle.is_open:
            try:
                await self.close(handle)
            except Lost:
                self.forget(handle)
