"""The server: configuration and the tables that outlive a connection. Source: [MS-SMB2] 3.3.1.5 Global.

`Server` runs alone, serves any `Volume`, and is driven from `smbsrv/io/`. It is the BreakSink of its volumes:
a break becomes a message to whichever live channel the holder has.
Invariants: an open in `opens` has a session and a tree, and stands in both their tables, or it is kept for a
client that is gone and has neither. A share's name compares without case.
Owner: the node (`cluster/`). No I/O.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from smbproto.security.encryption import CipherId
from smbproto.security.signing import SigningAlgorithm
from smbproto.status import Status, StatusError
from smbsrv.accounts import Accounts, NoAccounts
from smbsrv.connection import Connection, Driver
from smbsrv.guesses import Guesses, GuessLimits
from smbsrv.lease_table import LeaseTable, live_channel, ways_to
from smbsrv.limits import Limits, need
from smbsrv.notices import lease_break_message, oplock_break_message
from smbsrv.open import Open
from smbsrv.pipes.port import Pipe
from smbsrv.retelling import Retelling
from smbsrv.session import Session
from smbsrv.share import Share
from smbsrv.tree import TreeConnect
from storage.runtime import Runtime
from storage.volume import File, LeaseBreak, StorageError, Token

__all__ = ["Account", "Authenticator", "NetworkInterface", "Server", "ServerConfig", "Statistics"]

log = logging.getLogger("sofs.smb")


@dataclass(frozen=True, slots=True)
class Account:
    """A user as the account database knows it. Its hash is never shown."""

    name: str
    domain: str
    nt_hash: bytes
    token: Token

    def __repr__(self) -> str:
        return f"Account({self.domain}\\{self.name})"


class Authenticator(Protocol):
    """Port: the account database."""

    def lookup(self, user: str, domain: str) -> Account | None:
        """None: no such user, or not allowed to log on."""
        ...


@dataclass(frozen=True, slots=True)
class NetworkInterface:
    """One address clients may open further channels to ([MS-SMB2] 2.2.32.5 NETWORK_INTERFACE_INFO
    Response)."""

    index: int
    address: str
    link_speed_bps: int = 1_000_000_000
    is_rss: bool = True
    is_rdma: bool = False


@dataclass(slots=True)
class ServerConfig:
    """Defaults are those of a current Windows server: signing required, encryption offered, no guests."""

    name: str = "SOFS"
    domain: str = "WORKGROUP"
    comment: str = ""
    guid: bytes = bytes(16)
    dialects: tuple[int, ...] = (0x0202, 0x0210, 0x0300, 0x0302, 0x0311)
    signing_required: bool = True
    encrypt_data: bool = False
    reject_unencrypted_access: bool = True
    ciphers: tuple[CipherId, ...] = (
        CipherId.AES_128_GCM, CipherId.AES_128_CCM, CipherId.AES_256_GCM, CipherId.AES_256_CCM,
    )  # fmt: skip
    """By our preference; empty: encryption is not offered."""
    signing_algorithms: tuple[SigningAlgorithm, ...] = (
        SigningAlgorithm.AES_GMAC, SigningAlgorithm.AES_CMAC, SigningAlgorithm.HMAC_SHA256,
    )  # fmt: skip
    multichannel: bool = True
    leasing: bool = True
    directory_leasing: bool = True
    anonymous: Token | None = None
    """Who an anonymous client is; None: it is refused."""
    guest: Token | None = None
    """Who a client with an unknown user name is; None: it is refused."""
    interfaces: Sequence[NetworkInterface] = ()
    limits: Limits = field(default_factory=Limits)
    guesses: GuessLimits = field(default_factory=GuessLimits)


@dataclass(slots=True)
class Statistics:
    """Counters since the start; [MS-SRVS] 2.2.4.39 STAT_SERVER_0 and the administrator ask for them."""

    started_filetime: int = 0
    connections: int = 0
    sessions: int = 0
    opens: int = 0
    logon_failures: int = 0
    violations: int = 0
    bugs: int = 0
    bytes_read: int = 0
    bytes_written: int = 0


class Server:
    """See the module."""

    def __init__(self, config: ServerConfig, runtime: Runtime, authenticator: Authenticator) -> None:
        self.config = config
        self.limits = config.limits
        self.runtime = runtime
        self.authenticator = authenticator
        self.accounts: Accounts = NoAccounts()
        """What the pipes lsarpc and samr show."""
        self.shares: dict[str, Share] = {"ipc$": Share("IPC$", None, remark="Remote IPC")}
        self.sessions: dict[int, Session] = {}
        self.opens: dict[int, Open] = {}
        self.connections: dict[Connection, None] = {}
        self.clients: dict[bytes, dict[Connection, None]] = {}
        """Connections by ClientGuid, the oldest first ([MS-SMB2] 3.3.1.15 Per Client)."""
        self.leases = LeaseTable()
        self.retelling = Retelling()
        self.guesses = Guesses(config.guesses)
        self.pipes: dict[str, Callable[[Server, Session], Pipe]] = {}
        """Pipes of this server besides the RPC services, by lower-case name; the node adds its own."""
        self.create_guids: dict[tuple[bytes, bytes], Open] = {}
        """Opens by (ClientGuid, CreateGuid), those whose CREATE is not answered yet included ([MS-SMB2]
        3.3.5.9.10)."""
        self.is_stopping = False
        self.statistics = Statistics(started_filetime=runtime.filetime())
        self._volumes: list[object] = []
        self._next_open_id = 1
        self._next_connection_id = 1

    # shares

    def add_share(self, share: Share) -> None:
        """Serve it from now on; in place of one of the same name, whose connections go on as they are."""
        self.shares[share.name.casefold()] = share
        volume = share.volume
        if volume is not None and not any(known is volume for known in self._volumes):
            self._volumes.append(volume)
            volume.attach(self)

    def remove_share(self, name: str) -> Share | None:
        """No new connections to it; `disconnect_share` ends those there are. None: there was none."""
        return self.shares.pop(name.casefold(), None)

    def find_share(self, name: str) -> Share | None:
        return self.shares.get(name.casefold())

    async def disconnect_share(self, share: Share) -> None:
        """[MS-SMB2] 3.3.4.12 Server Application Requests Closing a Share: its tree connects end."""
        for session in list(self.sessions.values()):
            for tree in list(session.trees.values()):
                if tree.share is share:
                    await self.close_tree(tree)

    # connections and sessions

    def new_connection(self, driver: Driver, peer: str) -> Connection:
        """A transport was accepted. Raises: StatusError when there are too many."""
        need(len(self.connections) < self.limits.connections, "connections")
        number, self._next_connection_id = self._next_connection_id, self._next_connection_id + 1
        connection = Connection(self, driver, number, peer, self.runtime.now())
        self.connections[connection] = None
        self.statistics.connections += 1
        return connection

    def forget_client(self, connection: Connection) -> None:
        known = self.clients.get(connection.client_guid)
        if known is not None:
            known.pop(connection, None)
            if not known:
                del self.clients[connection.client_guid]

    def new_session(self, connection: Connection) -> Session:
        """An IN_PROGRESS session, known to the server and, through its channel, to this connection."""
        need(len(self.sessions) < self.limits.sessions, "sessions")
        session_id = 0
        while not session_id or session_id in self.sessions:
            session_id = int.from_bytes(self.runtime.random_bytes(4), "little")
        now = self.runtime.now()
        session = Session(session_id, connection.dialect, connection.client_guid, creation_s=now, idle_s=now)
        self.sessions[session_id] = session
        self.statistics.sessions += 1
        return session

    async def end_session(self, session: Session) -> None:
        """[MS-SMB2] 3.3.5.6 Receiving an SMB2 LOGOFF Request: its opens close but for durable ones, its trees
        end, no connection knows it."""
        self.sessions.pop(session.id, None)
        session.setups.clear()
        for connection in list(session.channels):
            connection.forget_session(session)
        session.channels.clear()
        await self._settle_opens(session)
        session.trees.clear()

    async def close_tree(self, tree: TreeConnect) -> None:
        """[MS-SMB2] 3.3.5.8 Receiving an SMB2 TREE_DISCONNECT Request."""
        tree.session.trees.pop(tree.id, None)
        for open in list(tree.opens.values()):
            await self._close_one_of_many(open)

    def sessions_lost(self, sessions: list[Session]) -> None:
        """Their last channel is gone: settle them in the background. At the end `shut_down` does it."""
        if self.is_stopping:
            return

        async def settle() -> None:
            for session in sessions:
                try:
                    await self.client_lost(session)
                except Exception:
                    self.statistics.bugs += 1
                    log.exception("closing the opens of %r failed", session)

        self.runtime.spawn(settle, "sessions lost")

    async def client_lost(self, session: Session) -> None:
        """[MS-SMB2] 3.3.7.1 Handling Loss of a Connection, when the last channel is gone: each open is kept
        or closed."""
        self.sessions.pop(session.id, None)
        await self._settle_opens(session)
        session.trees.clear()

    async def _settle_opens(self, session: Session) -> None:
        """Each open is kept for its client to come back, or closed."""
        for open in list(session.opens.values()):
            file = open.file
            if file is not None and file.client_lost():
                self._unbind(open)
                log.info("open kept path=%r id=%#x", open.path, open.persistent_id)
            else:
                await self._close_one_of_many(open)

    # opens

    def new_open(self, session: Session, tree: TreeConnect) -> Open:
        """A new Open in all tables; its `file` or `pipe` is for the caller to set. Raises: StatusError."""
        need(len(self.opens) < self.limits.opens, "opens of the server")
        need(len(session.opens) < self.limits.opens_per_session, "opens of a session")
        number, self._next_open_id = self._next_open_id, self._next_open_id + 1
        open = Open(number, number, session, tree, tree.share, client_guid=session.client_guid)
        self.opens[number] = open
        session.opens[number] = open
        tree.opens[number] = open
        self.statistics.opens += 1
        return open

    def adopt_open(self, open: Open, session: Session, tree: TreeConnect) -> None:
        """A kept open has its client back: a new volatile id in these tables ([MS-SMB2] 3.3.5.9.7,
        3.3.5.9.12)."""
        assert open.session is None and open.tree is None, "this open has a client"
        need(len(session.opens) < self.limits.opens_per_session, "opens of a session")
        open.volatile_id, self._next_open_id = self._next_open_id, self._next_open_id + 1
        open.session, open.tree = session, tree
        session.opens[open.volatile_id] = open
        tree.opens[open.volatile_id] = open

    def drop_open(self, open: Open) -> None:
        """Out of all tables; the file is for the caller to close. Idempotent."""
        self._unbind(open)
        self.opens.pop(open.persistent_id, None)
        self.retelling.settled(open.persistent_id)
        if open.lease_key:
            self.leases.discard(open)
            lease = (open.client_guid, open.lease_key)
            if not self.leases.opens_of(*lease):
                self.retelling.settled(lease)
        if open.create_guid and self.create_guids.get((open.client_guid, open.create_guid)) is open:
            del self.create_guids[open.client_guid, open.create_guid]

    async def close_open(self, open: Open) -> None:
        """[MS-SMB2] 3.3.4.17 Server Application Requests Closing an Open. Idempotent."""
        self.drop_open(open)
        if open.pipe is not None:
            open.pipe.close()
        if open.file is not None:
            await open.file.close()

    async def _close_one_of_many(self, open: Open) -> None:
        """Nobody waits for its status, and the others must close whatever befell this one."""
        try:
            await self.close_open(open)
        except (StatusError, StorageError) as error:
            log.warning("closing path=%r id=%#x failed: %s", open.path, open.persistent_id, error)

    def _unbind(self, open: Open) -> None:
        if open.session is not None:
            open.session.opens.pop(open.volatile_id, None)
        if open.tree is not None:
            open.tree.opens.pop(open.volatile_id, None)
        open.session = open.tree = None

    async def shut_down(self) -> None:
        """Close every open, kept ones too."""
        for session in list(self.sessions.values()):
            await self.end_session(session)
        for open in list(self.opens.values()):
            await self._close_one_of_many(open)

    # storage.volume.BreakSink

    def oplock_break(self, file: File, level: int, ack_required: bool) -> bool:
        """[MS-SMB2] 3.3.4.6 Object Store Indicates an Oplock Break."""
        open = file.context
        if not isinstance(open, Open):
            return False
        if open.file is None:  # a client knows of no break of what it was not granted yet
            open.held_breaks.append(lambda: self.oplock_break(file, level, ack_required))
            return True
        open.oplock_level = level
        connection = self._tell_oplock(open, level, ())
        if connection is None:
            # Its last channel is gone, and `client_lost` is about to keep or close it: that will be the
            # answer.
            return open.session is not None
        if ack_required:
            again = partial(self._tell_oplock, open, level)
            self.retelling.told(open.persistent_id, connection, again, self.runtime.now())
        return True

    def _tell_oplock(self, open: Open, level: int, tried: Collection[Connection]) -> Connection | None:
        channel = live_channel(open, tried)
        if channel is None:
            return None
        message = oplock_break_message(level, open.persistent_id, open.volatile_id)
        channel.connection.send_unsolicited(message, channel if _must_encrypt(open) else None)
        return channel.connection

    def lease_break(self, notice: LeaseBreak) -> bool:
        """[MS-SMB2] 3.3.4.7 Object Store Indicates a Lease Break. Opens whose last channel is gone will be
        kept or closed, which is the answer."""
        opens = self.leases.opens_of(notice.client_guid, notice.lease_key)
        if not opens:
            expected = self.leases.expected_by(notice.client_guid, notice.lease_key)
            if expected is not None:
                expected.held_breaks.append(lambda: self.lease_break(notice))
                return True
        connection = self._tell_lease(notice, ())
        if connection is None:
            return any(open.session is not None for open in opens)
        if notice.ack_required:
            lease = (notice.client_guid, notice.lease_key)
            again = partial(self._tell_lease, notice)
            self.retelling.told(lease, connection, again, self.runtime.now())
        return True

    def _tell_lease(self, notice: LeaseBreak, tried: Collection[Connection]) -> Connection | None:
        opens = self.leases.opens_of(notice.client_guid, notice.lease_key)
        sealed = {open.session.id for open in opens if open.session is not None and _must_encrypt(open)}
        for connection in ways_to(self.clients.get(notice.client_guid, ())) if opens else ():
            channel = next((one for id, one in connection.channels.items() if id in sealed), None)
            if (channel is not None or not sealed) and connection not in tried:
                connection.send_unsolicited(lease_break_message(notice), channel)
                return connection
        return None

    def open_purged(self, file: File) -> None:
        open = file.context
        if isinstance(open, Open):
            self.drop_open(open)

    # for the administrator

    def require_session(self, session_id: int) -> Session:
        """Raises: StatusError."""
        session = self.sessions.get(session_id)
        if session is None:
            raise StatusError(Status.NO_SUCH_LOGON_SESSION, f"no session {session_id:#x}")
        return session


def _must_encrypt(open: Open) -> bool:
    """[MS-SMB2] 3.3.4.1.4 Encrypting the Message, for what answers no request."""
    return (open.session is not None and open.session.encrypt_data) or (
        open.tree is not None and open.tree.encrypt
    )
