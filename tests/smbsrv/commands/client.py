"""A client without a wire: requests go straight to their handlers, over an object store in memory.

`Client.create(...)` and its kin build the message, run the handler and decode the answer; a refusal is the
StatusError itself. Handlers that wait are stepped by the simulation's runtime.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from smbproto import dtyp, fscc
from smbproto.codec import FileId
from smbproto.endpoint.framing import Arena
from smbproto.smb2.create import CreateContext, CreateRequest, CreateResponse
from smbproto.smb2.header import SMB2_FLAGS_REPLAY_OPERATION, Command, Header
from smbproto.smb2.ioctl import IoctlRequest, IoctlResponse
from smbproto.smb2.query_directory import QueryDirectoryRequest, QueryDirectoryResponse
from smbproto.smb2.query_info import QueryInfoRequest, QueryInfoResponse
from smbproto.smb2.set_info import SetInfoRequest
from smbproto.status import Status, StatusError
from smbsrv.connection import Connection
from smbsrv.handlers import HANDLERS
from smbsrv.open import Open
from smbsrv.request import Reply, Request
from smbsrv.server import Server, ServerConfig
from smbsrv.session import Session, SessionState
from smbsrv.share import Share
from smbsrv.tree import TreeConnect
from storage.objectstore.volume import ObjectStoreVolume
from storage.volume import Token
from tests.sim.runtime import InlineRuntime
from tests.suites.memoryfs import MemoryFileSystem

RWD = fscc.FILE_SHARE_READ | fscc.FILE_SHARE_WRITE | fscc.FILE_SHARE_DELETE
ALL_CAPABILITIES = 0x7F
NO_FILE = FileId(0xFFFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF)


def token(user: str = "S-1-5-21-1-2-3-1001", *, admin: bool = True) -> Token:
    groups = {user, "S-1-1-0", "S-1-5-11", "S-1-5-32-545"} | ({"S-1-5-32-544"} if admin else set())
    privileges = {"SeRestorePrivilege", "SeBackupPrivilege", "SeSecurityPrivilege"} if admin else set()
    return Token(user, frozenset(groups), user, "S-1-5-21-1-2-3-513", frozenset(privileges), "ana")


class NoAccounts:
    """Nobody logs on here: sessions are made by hand."""

    def lookup(self, user: str, domain: str) -> None:
        return None


class NullDriver:
    """Keeps what would be sent."""

    def __init__(self) -> None:
        self.arena = Arena(1 << 16)
        self.sent: list[bytes] = []

    def detach(self, job: object, work: object) -> None:
        raise AssertionError("requests go straight to their handlers")

    def send(self, connection: object, frame: memoryview) -> None:
        self.sent.append(bytes(frame))

    def is_stuck(self, connection: object) -> bool:
        return False

    def close(self, connection: object) -> None:
        raise AssertionError("nothing ends a connection here")


class World:
    """One server with a share "data" on a volume in memory."""

    def __init__(self, **config: Any) -> None:
        self.runtime = InlineRuntime()
        self.server = Server(ServerConfig(**config), self.runtime, NoAccounts())
        self.fs = MemoryFileSystem()
        self.volume = ObjectStoreVolume(self.fs, self.runtime)
        self.share = Share("data", self.volume)
        self.server.add_share(self.share)

    def client(self, number: int = 1, *, who: Token | None = None, dialect: int = 0x0311) -> Client:
        return Client(self, number, who or token(), dialect)


class Client:
    """One connection, session and tree connect."""

    def __init__(self, world: World, number: int, who: Token, dialect: int) -> None:
        self.world = world
        self.server = world.server
        self.driver = NullDriver()
        self.connection: Connection = self.server.new_connection(self.driver, f"test-{number}")
        self.connection.dialect = dialect
        self.connection.client_guid = bytes([number]) * 16
        self.connection.server_capabilities = ALL_CAPABILITIES
        self.connection.supports_multi_credit = dialect > 0x0202
        self.connection.max_transact_size = 8 << 20
        self.session: Session = self.server.new_session(self.connection)
        self.session.state = SessionState.VALID
        self.session.token = who
        self.tree = self.connect(world.share)
        self.is_replay = False

    def connect(self, share: Share, maximal_access: int = dtyp.FILE_ALL_ACCESS) -> TreeConnect:
        number = self.session.next_tree_id
        self.session.next_tree_id += 1
        tree = TreeConnect(number, self.session, share, maximal_access)
        self.session.trees[number] = tree
        self.tree = tree
        return tree

    def request(self, command: Command, body: bytes) -> Request:
        header = Header(command=command, credit_charge=128, session_id=self.session.id, tree_id=self.tree.id)
        flags = SMB2_FLAGS_REPLAY_OPERATION if self.is_replay else 0
        message = memoryview(header.encode() + body)
        request = Request(self.server, self.connection, message, command, 1, flags, 128)
        request.session, request.tree = self.session, self.tree
        return request

    async def send(self, command: Command, body: bytes) -> Reply:
        result = await HANDLERS[command](self.request(command, body))
        return result if isinstance(result, Reply) else Reply(result)

    def run(self, command: Command, body: bytes) -> Reply:
        return self.world.runtime.run(self.send(command, body))

    def lost(self) -> None:
        """The connection breaks."""
        self.world.runtime.run(self.server.client_lost(self.session))

    # commands

    def create(
        self,
        name: str,
        *,
        access: int = dtyp.FILE_ALL_ACCESS,
        disposition: int = fscc.FILE_OPEN_IF,
        options: int = 0,
        share: int = RWD,
        attributes: int = 0,
        oplock: int = 0,
        impersonation: int = 2,
        contexts: Sequence[tuple[bytes, bytes]] = (),
    ) -> CreateResponse:
        body = CreateRequest(
            requested_oplock_level=oplock,
            impersonation_level=impersonation,
            desired_access=access,
            file_attributes=attributes,
            share_access=share,
            create_disposition=disposition,
            create_options=options,
            name=name,
            contexts=tuple(CreateContext(*one) for one in contexts),
        ).encode()
        reply = self.run(Command.CREATE, body)
        return CreateResponse.decode_untrusted(bytes(64) + bytes(reply.body))

    def directory(self, name: str, **more: Any) -> CreateResponse:
        return self.create(name, options=fscc.FILE_DIRECTORY_FILE, **more)

    def open_of(self, file_id: FileId) -> Open:
        return self.session.opens[file_id.volatile]

    def write(self, file_id: FileId, data: bytes, offset: int = 0) -> None:
        file = self.open_of(file_id).file
        assert file is not None
        self.world.runtime.run(file.write(offset, memoryview(data)))

    def close(self, file_id: FileId) -> None:
        self.world.runtime.run(self.server.close_open(self.open_of(file_id)))

    def query(
        self, file_id: FileId, info_type: int, info_class: int, room: int = 65536, **more: Any
    ) -> tuple[int, bytes]:
        body = QueryInfoRequest(
            info_type=info_type,
            file_info_class=info_class,
            output_buffer_length=room,
            file_id=file_id,
            **more,
        ).encode()
        reply = self.run(Command.QUERY_INFO, body)
        return reply.status, bytes(QueryInfoResponse.decode_untrusted(bytes(64) + bytes(reply.body)).output)

    def set(self, file_id: FileId, info_type: int, info_class: int, data: bytes, additional: int = 0) -> None:
        body = SetInfoRequest(
            info_type=info_type,
            file_info_class=info_class,
            buffer=data,
            additional_information=additional,
            file_id=file_id,
        ).encode()
        self.run(Command.SET_INFO, body)

    def list(
        self, file_id: FileId, info_class: int, pattern: str = "*", flags: int = 0, room: int = 65536
    ) -> tuple[int, bytes]:
        body = QueryDirectoryRequest(
            file_information_class=info_class,
            flags=flags,
            file_id=file_id,
            file_name=pattern,
            output_buffer_length=room,
        ).encode()
        reply = self.run(Command.QUERY_DIRECTORY, body)
        return reply.status, bytes(
            QueryDirectoryResponse.decode_untrusted(bytes(64) + bytes(reply.body)).output
        )

    def ioctl(
        self, code: int, data: bytes = b"", file_id: FileId = NO_FILE, room: int = 65536, flags: int = 1
    ) -> tuple[int, bytes]:
        body = IoctlRequest(
            ctl_code=code, file_id=file_id, input=data, max_output_response=room, flags=flags
        ).encode()
        reply = self.run(Command.IOCTL, body)
        return reply.status, bytes(IoctlResponse.decode_untrusted(bytes(64) + bytes(reply.body)).output)


def refused(status: Status) -> Any:
    """`with refused(Status.ACCESS_DENIED): ...`"""
    return _Refused(status)


class _Refused:
    def __init__(self, status: Status) -> None:
        self.status = status

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: object, trace: object) -> bool:
        assert isinstance(error, StatusError), f"{self.status.name} was expected, {error!r} came"
        assert error.status == self.status, f"{self.status.name} was expected, {error} came"
        return True
