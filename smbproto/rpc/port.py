"""Port: what the services of IPC$ ask of the server that they describe. `smbsrv/pipes/host.py` answers.

Sources: [MS-SRVS] 3.1.1 Abstract Data Model, [MS-SAMR] 3.1.1, [MS-LSAT] 3.1.1: as much of it as file servers
have.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class ShareView(NamedTuple):
    """[MS-SRVS] 2.2.4.23 SHARE_INFO_2 and its kin. `type`: STYPE_*; `descriptor`: self-relative, or b""."""

    name: str
    type: int
    remark: str
    path: str
    max_uses: int
    current_uses: int
    flags: int
    descriptor: bytes
    is_hidden: bool = False


class SessionView(NamedTuple):
    """[MS-SRVS] 2.2.4.13 SESSION_INFO_1, 2.2.4.15 SESSION_INFO_10, 2.2.4.16 SESSION_INFO_502."""

    client: str
    user: str
    opens: int
    active_s: int
    idle_s: int


class FileView(NamedTuple):
    """[MS-SRVS] 2.2.4.7 FILE_INFO_3."""

    id: int
    permissions: int
    locks: int
    path: str
    user: str


class UserView(Protocol):
    """An account, as the account database has it."""

    @property
    def name(self) -> str: ...
    @property
    def rid(self) -> int: ...
    @property
    def full_name(self) -> str: ...
    @property
    def comment(self) -> str: ...
    @property
    def is_admin(self) -> bool: ...
    @property
    def disabled(self) -> bool: ...


class Accounts(Protocol):
    """The account database: the machine's SID and its users. `users` is in order of RID."""

    machine_sid: str

    def users(self) -> Sequence[UserView]: ...
    def find(self, name: str) -> UserView | None:
        """By name, without case."""
        ...


class Caller(NamedTuple):
    """Who is at the other end of the pipe."""

    name: str
    domain: str
    sid: str
    is_admin: bool
    is_anonymous: bool


class Host(Protocol):
    """The server. `name` is also the name of its account domain; `workgroup` is what it belongs to."""

    name: str
    workgroup: str
    comment: str
    caller: Caller
    accounts: Accounts

    def shares(self) -> Sequence[ShareView]: ...
    def sessions(self) -> Sequence[SessionView]: ...
    def files(self) -> Sequence[FileView]: ...
    def filetime(self) -> int: ...
    def uptime_s(self) -> int: ...
