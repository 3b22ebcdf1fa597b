"""Several clients of real bytes at one server, on a clock moved by hand.

`World` is a server with the shares "data", "secret" (encrypted) and "ca" (continuously available) on one
volume. `world.client(n)` gives a `Client` with a session and a tree connect. `client.ask` sends one request
and returns its last answer, after interim ones; `client.start` does not wait. What the server says unasked
is in `client.notices`. `world.advance(seconds)` moves time and lets everything that waits go on.

Source of the cases: Microsoft's FileServer test suite ("WPTS" and a case's name in a docstring), read for
what it expects; [MS-SMB2], [MS-FSA], [MS-FSCC] for why.
"""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from smbproto import dtyp, fscc
from smbproto.codec import FileId
from smbproto.io.eager import WAIT, detach, run_inline
from smbproto.smb2 import contexts as wire
from smbproto.smb2.change_notify import ChangeNotifyRequest
from smbproto.smb2.close import CloseRequest
from smbproto.smb2.create import CreateContext, CreateRequest, CreateResponse
from smbproto.smb2.header import UNSOLICITED_MESSAGE_ID, Command
from smbproto.smb2.ioctl import IoctlRequest, IoctlResponse
from smbproto.smb2.lock import LockElement, LockRequest
from smbproto.smb2.oplock_break import (
    LeaseBreakAcknowledgment,
    LeaseBreakNotification,
    OplockBreakAcknowledgment,
    OplockBreakNotification,
    decode_from_server_untrusted,
)
from smbproto.smb2.query_directory import QueryDirectoryRequest, QueryDirectoryResponse
from smbproto.smb2.query_info import QueryInfoRequest, QueryInfoResponse
from smbproto.smb2.set_info import SetInfoRequest
from smbproto.status import Status
from smbsrv.server import Server, ServerConfig
from smbsrv.share import Share
from storage.objectstore.volume import ObjectStoreVolume
from tests.smbsrv.wire import Accounts, Peer, Response, Site, StillRuntime
from tests.suites.memoryfs import MemoryFileSystem

R, H, W = 1, 2, 4
RH, RW, RWH = R | H, R | W, R | W | H
NONE, LEVEL_II, EXCLUSIVE, BATCH, LEASE = 0x00, 0x01, 0x08, 0x09, 0xFF
SHARE_NONE, SHARE_R, SHARE_W, SHARE_D, SHARE_ALL = 0, 1, 2, 4, 7
DEFAULT_ACCESS = dtyp.GENERIC_READ | dtyp.GENERIC_WRITE | dtyp.DELETE
NO_FILE = FileId(0xFFFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF)
FILE, FILESYSTEM, SECURITY, QUOTA = 1, 2, 3, 4

Notice: TypeAlias = OplockBreakNotification | LeaseBreakNotification


class SteppedRuntime(StillRuntime):
    """Keeps background tasks, and steps them when asked."""

    def __init__(self) -> None:
        super().__init__()
        self.tasks: list[Any] = []

    async def sleep(self, seconds: float) -> None:
        until = self.time_s + seconds
        while self.time_s < until:
            await detach(WAIT)

    def spawn(self, work: Callable[[], Awaitable[None]], name: str) -> None:
        def task() -> Generator[Any, Any, None]:  # no coroutine, which would complain if it is never begun
            yield from work().__await__()

        self.tasks.append(task())  # begun later: this may be called from what runs inline

    def step(self) -> None:
        tasks, self.tasks = self.tasks, []
        for task in tasks:
            kind, _ = run_inline(task)
            if kind is not None:
                self.tasks.append(task)


class World(Site):
    """See the module."""

    def __init__(self, **config: Any) -> None:
        config.setdefault("guid", bytes(range(16)))
        self.steps = SteppedRuntime()
        self.runtime = self.steps
        self.clients: list[Client] = []
        self.server = Server(ServerConfig(**config), self.runtime, Accounts())
        self.volume = ObjectStoreVolume(MemoryFileSystem(), self.runtime)
        self.server.add_share(Share("data", self.volume))
        self.server.add_share(Share("secret", self.volume, encrypt_data=True))
        self.server.add_share(Share("ca", self.volume, is_continuously_available=True))

    def client(self, number: int = 1, *, share: str = "data", user: str = "ana", **options: Any) -> Client:
        """A client with a session. `number` is its ClientGuid; several of one number are one client."""
        client = self.connection(number, **options)
        client.negotiate()
        assert client.log_on(user).status == Status.SUCCESS
        client.tree_connect(share)
        return client

    def connection(self, number: int = 1, **options: Any) -> Client:
        """A connection on which nothing was said yet."""
        options.setdefault("client_guid", bytes([number]) * 16)
        client = Client(self, **options)
        self.clients.append(client)
        return client

    def settle(self) -> None:
        """Let all that waits go on while it gets anywhere."""
        for _ in range(3):
            for client in self.clients:
                client.driver.go_on()
            self.steps.step()
        for client in self.clients:
            client.sort(client.late())

    def advance(self, seconds: float) -> None:
        self.runtime.time_s += seconds
        self.settle()


@dataclass
class Opened:
    """What a CREATE answered."""

    answer: CreateResponse

    @property
    def id(self) -> FileId:
        return self.answer.file_id

    @property
    def tags(self) -> list[bytes]:
        return [one.name for one in self.answer.contexts]

    def data(self, tag: bytes) -> bytes:
        return next(one.data for one in self.answer.contexts if one.name == tag)

    @property
    def lease(self) -> wire.Lease | wire.LeaseV2:
        return wire.decode_lease_untrusted(self.data(wire.SMB2_CREATE_REQUEST_LEASE))

    @property
    def caching(self) -> int:
        return self.lease.lease_state

    @property
    def durable(self) -> wire.DurableHandleResponseV2:
        return wire.DurableHandleResponseV2.decode_untrusted(self.data(b"DH2Q"))


@dataclass
class Client(Peer):
    """See the module."""

    answers: dict[int, list[Response]] = field(default_factory=dict)
    notices: list[Notice] = field(default_factory=list)

    @property
    def world(self) -> World:
        assert isinstance(self.site, World)
        return self.site

    def sort(self, responses: Sequence[Response]) -> None:
        for one in responses:
            if one.header.message_id == UNSOLICITED_MESSAGE_ID:
                notice = decode_from_server_untrusted(one.message, notification=True)
                assert isinstance(notice, (OplockBreakNotification, LeaseBreakNotification))
                self.notices.append(notice)
            else:
                self.answers.setdefault(one.header.message_id, []).append(one)

    def start(self, command: int, body: bytes, **fields: Any) -> int:
        """Send it; its message id, for `result`."""
        number = int(fields.get("message_id", self.message_id))
        self.sort(self.push(self.frame(self.message(command, body, **fields))))
        self.world.settle()
        return number

    def result(self, number: int) -> Response | None:
        """The last answer to that request, None while there is only an interim one, or none."""
        self.world.settle()
        found = self.answers.get(number, [])
        return found[-1] if found and found[-1].status != Status.PENDING else None

    def ask(self, command: int, body: bytes, **fields: Any) -> Response:
        response = self.result(self.start(command, body, **fields))
        assert response is not None, "the request still waits"
        return response

    def send(self, command: int, body: bytes, **fields: Any) -> Response:
        """As a `Peer` does, with what others are told on the way."""
        return self.ask(command, body, **fields)

    def chain(self, *parts: tuple[int, bytes], related: bool = True) -> list[Response]:
        """A compound; the last answer of each part, in order."""
        first = self.message_id
        self.sort(self.compound(*parts, related=related))
        self.world.settle()
        found = [self.result(first + index) for index in range(len(parts))]
        assert all(one is not None for one in found), "a part still waits"
        return [one for one in found if one is not None]

    def lose(self) -> None:
        """The connection breaks."""
        self.connection.is_closing = True
        self.connection.lost()
        self.world.clients.remove(self)
        self.world.settle()

    # files

    @staticmethod
    def create_body(
        name: str,
        *contexts: tuple[bytes, bytes],
        access: int = DEFAULT_ACCESS,
        disposition: int = fscc.FILE_OPEN_IF,
        options: int = 0,
        share: int = SHARE_ALL,
        attributes: int = 0,
        oplock: int | None = None,
    ) -> bytes:
        leased = any(tag == wire.SMB2_CREATE_REQUEST_LEASE for tag, _ in contexts)
        return CreateRequest(
            requested_oplock_level=oplock if oplock is not None else LEASE if leased else NONE,
            impersonation_level=2,
            desired_access=access,
            file_attributes=attributes,
            share_access=share,
            create_disposition=disposition,
            create_options=options,
            name=name,
            contexts=tuple(CreateContext(*one) for one in contexts),
        ).encode()

    def try_open(self, name: str, *contexts: tuple[bytes, bytes], flags: int = 0, **more: Any) -> Response:
        return self.ask(Command.CREATE, self.create_body(name, *contexts, **more), flags=flags)

    def open(self, name: str, *contexts: tuple[bytes, bytes], flags: int = 0, **more: Any) -> Opened:
        return opened(self.try_open(name, *contexts, flags=flags, **more))

    def opening(self, name: str, *contexts: tuple[bytes, bytes], **more: Any) -> int:
        """A CREATE that may have to wait; its message id."""
        return self.start(Command.CREATE, self.create_body(name, *contexts, **more))

    def directory(self, name: str, *contexts: tuple[bytes, bytes], **more: Any) -> Opened:
        options = more.pop("options", 0) | fscc.FILE_DIRECTORY_FILE
        return self.open(name, *contexts, options=options, **more)

    def shut(self, file: Opened, flags: int = 0) -> Response:
        return self.ask(Command.CLOSE, CloseRequest(flags=flags, file_id=file.id).encode())

    def put(self, name: str, data: bytes = b"") -> None:
        """A file with this content."""
        file = self.open(name)
        if data:
            assert self.write(file.id, data).status == Status.SUCCESS
        self.shut(file)

    # caching

    def acknowledge(self, key: bytes, state: int) -> Response:
        body = LeaseBreakAcknowledgment(lease_key=key, lease_state=state).encode()
        return self.ask(Command.OPLOCK_BREAK, body)

    def acknowledge_oplock(self, file: Opened, level: int) -> Response:
        return self.ask(
            Command.OPLOCK_BREAK, OplockBreakAcknowledgment(oplock_level=level, file_id=file.id).encode()
        )

    def lease_break(self) -> tuple[bytes, int, int, int]:
        """The oldest notice: key, from, to, flags. There must be one."""
        notice = self.notices.pop(0)
        assert isinstance(notice, LeaseBreakNotification), notice
        return notice.lease_key, notice.current_lease_state, notice.new_lease_state, notice.flags

    def oplock_break(self) -> tuple[FileId, int]:
        notice = self.notices.pop(0)
        assert isinstance(notice, OplockBreakNotification), notice
        return notice.file_id, notice.oplock_level

    # metadata

    def query(
        self, file: Opened, info_class: int, room: int = 65536, *, kind: int = FILE, **more: Any
    ) -> tuple[Status, bytes]:
        body = QueryInfoRequest(
            info_type=kind, file_info_class=info_class, output_buffer_length=room, file_id=file.id, **more
        )
        response = self.ask(Command.QUERY_INFO, body.encode())
        if response.status not in (Status.SUCCESS, Status.BUFFER_OVERFLOW):
            return response.status, b""
        return response.status, bytes(QueryInfoResponse.decode_untrusted(response.message).output)

    def set(self, file: Opened, info_class: int, data: bytes, *, kind: int = FILE, more: int = 0) -> Status:
        body = SetInfoRequest(
            info_type=kind,
            file_info_class=info_class,
            buffer=data,
            additional_information=more,
            file_id=file.id,
        )
        return self.ask(Command.SET_INFO, body.encode()).status

    def list(
        self, file: Opened, info_class: int, pattern: str = "*", flags: int = 0, room: int = 65536
    ) -> tuple[Status, bytes]:
        body = QueryDirectoryRequest(
            file_information_class=info_class,
            flags=flags,
            file_id=file.id,
            file_name=pattern,
            output_buffer_length=room,
        )
        response = self.ask(Command.QUERY_DIRECTORY, body.encode())
        if response.status not in (Status.SUCCESS, Status.BUFFER_OVERFLOW):
            return response.status, b""
        return response.status, bytes(QueryDirectoryResponse.decode_untrusted(response.message).output)

    def ioctl(
        self, code: int, data: bytes = b"", file: FileId | Opened = NO_FILE, room: int = 65536, flags: int = 1
    ) -> tuple[Status, bytes]:
        file_id = file.id if isinstance(file, Opened) else file
        body = IoctlRequest(ctl_code=code, file_id=file_id, input=data, max_output_response=room, flags=flags)
        response = self.ask(Command.IOCTL, body.encode())
        if response.status not in (Status.SUCCESS, Status.BUFFER_OVERFLOW):
            return response.status, b""
        return response.status, bytes(IoctlResponse.decode_untrusted(response.message).output)

    def lock_body(self, file: Opened, *locks: tuple[int, int, int], sequence: int = 0) -> bytes:
        elements = tuple(LockElement(*one) for one in locks)
        return LockRequest(locks=elements, lock_sequence=sequence, file_id=file.id).encode()

    def lock(self, file: Opened, *locks: tuple[int, int, int], sequence: int = 0, flags: int = 0) -> Status:
        return self.ask(Command.LOCK, self.lock_body(file, *locks, sequence=sequence), flags=flags).status

    def watch(self, file: Opened, completion_filter: int, *, tree: bool = False, room: int = 4096) -> int:
        body = ChangeNotifyRequest(
            flags=int(tree),
            output_buffer_length=room,
            file_id=file.id,
            completion_filter=completion_filter,
        )
        return self.start(Command.CHANGE_NOTIFY, body.encode())


def opened(response: Response | None) -> Opened:
    assert response is not None, "the CREATE still waits"
    assert response.status == Status.SUCCESS, response.status.name
    return Opened(CreateResponse.decode_untrusted(response.message))


# create contexts


def lease_v1(state: int, key: bytes = b"k" * 16) -> tuple[bytes, bytes]:
    return b"RqLs", wire.Lease(lease_key=key, lease_state=state).encode()


def lease_v2(
    state: int, key: bytes = b"k" * 16, *, epoch: int = 0, parent: bytes = b""
) -> tuple[bytes, bytes]:
    flags = wire.SMB2_LEASE_FLAG_PARENT_LEASE_KEY_SET if parent else 0
    body = wire.LeaseV2(
        lease_key=key,
        lease_state=state,
        epoch=epoch,
        lease_flags=flags,
        parent_lease_key=parent or bytes(16),
    )
    return b"RqLs", body.encode()


DHNQ = (b"DHnQ", bytes(16))
GUID = bytes(range(16))


def dhnc(file: Opened) -> tuple[bytes, bytes]:
    return b"DHnC", wire.DurableHandleReconnect(file_id=file.id).encode()


def dh2q(guid: bytes = GUID, *, persistent: bool = False, timeout_ms: int = 0) -> tuple[bytes, bytes]:
    flags = wire.SMB2_DHANDLE_FLAG_PERSISTENT if persistent else 0
    body = wire.DurableHandleRequestV2(timeout_ms=timeout_ms, create_guid=guid, flags=flags)
    return b"DH2Q", body.encode()


def dh2c(file: Opened, guid: bytes = GUID, *, persistent: bool = False) -> tuple[bytes, bytes]:
    flags = wire.SMB2_DHANDLE_FLAG_PERSISTENT if persistent else 0
    body = wire.DurableHandleReconnectV2(file_id=file.id, create_guid=guid, flags=flags)
    return b"DH2C", body.encode()


def app(instance: bytes = b"i" * 16) -> tuple[bytes, bytes]:
    return wire.SMB2_CREATE_APP_INSTANCE_ID, wire.AppInstanceId(app_instance_id=instance).encode()


def version(high: int, low: int) -> tuple[bytes, bytes]:
    body = wire.AppInstanceVersion(app_instance_version_high=high, app_instance_version_low=low)
    return wire.SMB2_CREATE_APP_INSTANCE_VERSION, body.encode()


# buffers


def rename(name: str, *, replace: bool = False) -> bytes:
    """[MS-FSCC] 2.4.43.2 FileRenameInformation for SMB2; 2.4.27.2 FileLinkInformation is the same."""
    text = name.encode("utf-16-le")
    return bytes([replace]) + bytes(15) + len(text).to_bytes(4, "little") + text


def basic(
    *, created: int = 0, accessed: int = 0, written: int = 0, changed: int = 0, attributes: int = 0
) -> bytes:
    """[MS-FSCC] 2.4.7 FileBasicInformation; 0: unchanged, -1: held from now on, -2: no longer held."""
    return struct.pack("<qqqqI4x", created, accessed, written, changed, attributes)
