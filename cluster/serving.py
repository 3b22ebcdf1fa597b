"""The SMB server of a node: built from its configuration, given its shares, accounts, pipes and network
interfaces.

`Serving` is the only one that knows both `smbsrv.Server` and the node's configuration. It decides nothing
about files; about shares it turns names of users and groups into SIDs and rights.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import cluster.admin.calls  # noqa: F401  (declares every call)
from cluster.accounts import EVERYONE, GUEST_GROUP, NETWORK, RID_GUEST
from cluster.admin.pipe import PIPE_NAME, AdminPipe
from cluster.config import NodeConfig, ShareConfig
from cluster.errors import ConfigError
from cluster.io.interfaces import host_interfaces
from smbsrv.guesses import GuessLimits
from smbsrv.server import Account, NetworkInterface, Server, ServerConfig
from smbsrv.session import Session
from smbsrv.share import Share
from storage.volume import Token, Volume

if TYPE_CHECKING:
    from cluster.node import Node

LOGON_DELAY_S_MAX = 10.0
DIALECTS = {"2.0.2": 0x0202, "2.1": 0x0210, "3.0": 0x0300, "3.0.2": 0x0302, "3.1.1": 0x0311}

RIGHTS = {
    "full": 0x001F01FF,
    "change": 0x001301BF,
    "read": 0x001200A9,
}
"""Access masks of the three rights that share permissions have in Windows: Full Control, Change, Read."""


class NodeAccounts:
    """`smbsrv.server.Authenticator` over the node's accounts."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def lookup(self, user: str, domain: str) -> Account | None:
        """The domain is not compared: a standalone server has one account database, whatever the client
        calls it."""
        found = self._node.accounts.find(user)
        if found is None or found.disabled:
            return None
        token = self._node.accounts.token(found)
        return Account(found.name, self._node.settings.name, bytes.fromhex(found.nt_hash), token)


class Serving:
    """See the module. Made with its node; `run` serves until it is cancelled."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.server = Server(server_config(node), node.runtime, NodeAccounts(node))
        self.server.pipes[PIPE_NAME] = self.admin_pipe
        self.server.accounts = node.accounts
        self.is_running = False
        self._listening: tuple[str, int] | None = None

    def add(self, share: ShareConfig, volume: Volume) -> None:
        """Serve a share from now on."""
        self.server.add_share(
            Share(
                share.name,
                volume,
                path=share.path,
                remark=share.remark,
                is_read_only=share.read_only,
                encrypt_data=share.encrypt,
                access_based_enumeration=share.access_based_enumeration,
                access=self._rights(share),
            )
        )

    def _rights(self, share: ShareConfig) -> dict[str, int]:
        rights: dict[str, int] = {}
        for who, right in share.access.items():
            sid = who if who.startswith("S-1-") else self._node.accounts.sid_by_name(who)
            if sid is None:
                raise ConfigError(f"share {share.name}: there is no user or group {who!r}")
            rights[sid] = RIGHTS[right]
        return rights

    async def remove(self, name: str) -> None:
        """Stop serving it; connections to it end."""
        share = self.server.remove_share(name)
        if share is not None:
            await self.server.disconnect_share(share)

    def listening(self, address: str, port: int) -> None:
        """Told by the driver once the sockets are there."""
        self.is_running = True
        self._listening = (address, port)

    def stopped(self) -> None:
        self.is_running = False

    def address(self) -> str:
        """Where a local client reaches the server; a wildcard is told as the loopback address."""
        address = self._listening[0] if self._listening else self._node.settings.bind[0]
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)

    def port(self) -> int:
        return self._listening[1] if self._listening else self._node.settings.port

    def admin_pipe(self, server: Server, session: Session) -> AdminPipe:
        """Opens the pipe `sofs` for a session. Raises: StatusError ACCESS_DENIED."""
        assert session.token is not None
        return AdminPipe(self._node, session.token)


def server_config(node: Node) -> ServerConfig:
    """Raises: ConfigError."""
    settings = node.settings
    accounts = node.accounts
    return ServerConfig(
        name=settings.name.upper()[:15],
        domain=settings.workgroup.upper()[:15],
        guid=hashlib.sha256(accounts.machine_sid.encode()).digest()[:16],
        dialects=dialects_of(settings),
        signing_required=settings.require_signing,
        anonymous=accounts.anonymous_token() if settings.allow_anonymous else None,
        guest=guest_token(accounts.sid_of(RID_GUEST)) if settings.allow_guest else None,
        interfaces=interfaces_of(settings),
        guesses=guesses_of(settings),
    )


def guesses_of(settings: NodeConfig) -> GuessLimits:
    """Raises: ConfigError for a delay that is none. Past it, clients would give up before they are
    answered."""
    delay_s = settings.failed_logon_delay_s
    if not 0 <= delay_s <= LOGON_DELAY_S_MAX:
        raise ConfigError(f"a delay of {delay_s} s after failed logons: 0 (none) to {LOGON_DELAY_S_MAX}")
    return GuessLimits(period_s=delay_s)


def dialects_of(settings: NodeConfig) -> tuple[int, ...]:
    """Raises: ConfigError for a dialect that does not exist, or an empty range."""
    for text in (settings.dialect_min, settings.dialect_max):
        if text not in DIALECTS:
            raise ConfigError(f"{text!r} is no dialect; there are {', '.join(DIALECTS)}")
    low, high = DIALECTS[settings.dialect_min], DIALECTS[settings.dialect_max]
    chosen = tuple(d for d in DIALECTS.values() if low <= d <= high)
    if not chosen:
        raise ConfigError(f"no dialect lies between {settings.dialect_min} and {settings.dialect_max}")
    return chosen


def guest_token(sid: str) -> Token:
    """[MS-SMB2] 3.3.5.5.3: who a client with an unknown user is where guests are let in."""
    return Token(sid, frozenset({sid, GUEST_GROUP, EVERYONE, NETWORK}), sid, GUEST_GROUP, name="Guest")


def interfaces_of(settings: NodeConfig) -> tuple[NetworkInterface, ...]:
    """What multichannel clients are told: the configured addresses, or those of the host. Raises:
    ConfigError."""
    if not settings.interfaces:
        return host_interfaces(settings.bind)
    found: list[NetworkInterface] = []
    for index, text in enumerate(settings.interfaces, start=1):
        address, _, speed = text.partition(",")
        if speed and not speed.isdecimal():
            raise ConfigError(f"interface {text!r}: write ADDRESS or ADDRESS,MBPS")
        found.append(NetworkInterface(index, address, int(speed or 1000) * 1_000_000))
    return tuple(found)
