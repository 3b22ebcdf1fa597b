"""Users and groups of a node: who may log on, with which SIDs and rights.

Kept in STATE/users.json (mode 0600): NT hashes, never passwords. A user's token has the account's SID, the
domain-users group of the machine, the well-known groups of a network logon, and BUILTIN\\Users or
BUILTIN\\Administrators. Source: [MS-DTYP] 2.4.2.4 Well-Known SID Structures; [MS-SAMR] 3.1.4.2 (RIDs from
1000 on). Pure: no I/O; randomness comes in.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cluster.errors import AlreadyExists, ConfigError, NotFound, OperatorError
from smbproto.security.legacy import nt_hash
from storage.volume import Token

RID_FIRST = 1000
RID_ADMINISTRATOR = 500
RID_GUEST = 501
RID_DOMAIN_USERS = 513
USERS_MAX = 10_000
NAME_MAX = 64
"""Characters. Longer than Windows' 20, which only old tools enforce."""

ADMINISTRATORS = "S-1-5-32-544"
USERS = "S-1-5-32-545"
EVERYONE = "S-1-1-0"
NETWORK = "S-1-5-2"
AUTHENTICATED_USERS = "S-1-5-11"
ANONYMOUS = "S-1-5-7"
GUEST_GROUP = "S-1-5-32-546"

_ALWAYS = frozenset({"SeChangeNotifyPrivilege"})
_ADMIN = _ALWAYS | {
    "SeBackupPrivilege",
    "SeRestorePrivilege",
    "SeSecurityPrivilege",
    "SeTakeOwnershipPrivilege",
    "SeManageVolumePrivilege",
    "SeCreateSymbolicLinkPrivilege",
}


@dataclass(slots=True)
class UserRecord:
    """One account, as stored. `nt_hash` is 32 hexadecimal digits."""

    name: str
    rid: int
    nt_hash: str
    full_name: str = ""
    comment: str = ""
    is_admin: bool = False
    disabled: bool = False

    def __repr__(self) -> str:
        return f"UserRecord({self.name!r}, rid={self.rid}, is_admin={self.is_admin})"


@dataclass(slots=True)
class AccountsRecord:
    """The whole of users.json."""

    machine_sid: str
    next_rid: int = RID_FIRST
    users: list[dict[str, object]] = field(default_factory=list)


def new_machine_sid(entropy: bytes) -> str:
    """S-1-5-21-x-y-z of 12 random bytes."""
    parts = [int.from_bytes(entropy[i : i + 4], "little") for i in (0, 4, 8)]
    return "S-1-5-21-" + "-".join(str(p) for p in parts)


def check_name(name: str) -> None:
    """Raises: OperatorError. Source: [MS-SAMR] 3.1.1.8.4 (characters that an account name must not have)."""
    bad = set(name) & set('"/\\[]:|<>+=;?,*@') or not name.isprintable()
    if not 0 < len(name) <= NAME_MAX or bad or name.strip(" .") != name:
        raise OperatorError(
            f'{name!r} is no user name: 1 to {NAME_MAX} characters, none of "/\\[]:|<>+=;?,*@'
        )


class Accounts:
    """The account database. Names compare without case."""

    def __init__(self, machine_sid: str, next_rid: int = RID_FIRST) -> None:
        self.machine_sid = machine_sid
        self.next_rid = next_rid
        self._users: dict[str, UserRecord] = {}

    @classmethod
    def from_record(cls, record: AccountsRecord, source: str) -> Accounts:
        """Raises: ConfigError naming `source`."""
        accounts = cls(record.machine_sid, record.next_rid)
        for item in record.users:
            try:
                user = UserRecord(**item)  # type: ignore[arg-type]
                valid = len(bytes.fromhex(user.nt_hash)) == 16 and isinstance(user.rid, int)
            except (TypeError, ValueError):
                raise ConfigError(f"{source}: a user entry cannot be understood") from None
            if not valid:
                raise ConfigError(f"{source}: user {user.name!r} has no proper hash or RID")
            accounts._users[user.name.casefold()] = user
        return accounts

    def to_record(self) -> AccountsRecord:
        users: list[dict[str, object]] = [
            {name: getattr(user, name) for name in UserRecord.__slots__} for user in self.users()
        ]
        return AccountsRecord(self.machine_sid, self.next_rid, users)

    def users(self) -> list[UserRecord]:
        return sorted(self._users.values(), key=lambda user: user.rid)

    def find(self, name: str) -> UserRecord | None:
        return self._users.get(name.casefold())

    def require(self, name: str) -> UserRecord:
        """Raises: NotFound."""
        user = self.find(name)
        if user is None:
            raise NotFound(f"there is no user {name!r}; `sofs user list` shows those there are")
        return user

    def add(self, name: str, password: str, *, is_admin: bool = False, full_name: str = "") -> UserRecord:
        """Raises: OperatorError, AlreadyExists."""
        check_name(name)
        if self.find(name) is not None:
            raise AlreadyExists(f"there is a user {name!r} already; `sofs user passwd` changes a password")
        if len(self._users) >= USERS_MAX:
            raise OperatorError(f"there are {USERS_MAX} users, which is the most")
        user = UserRecord(name, self.next_rid, nt_hash(password).hex(), full_name, is_admin=is_admin)
        self.next_rid += 1
        self._users[name.casefold()] = user
        return user

    def set_password(self, name: str, password: str) -> None:
        """Raises: NotFound."""
        self.require(name).nt_hash = nt_hash(password).hex()

    def remove(self, name: str) -> None:
        """Raises: NotFound."""
        del self._users[self.require(name).name.casefold()]

    def sid_of(self, rid: int) -> str:
        return f"{self.machine_sid}-{rid}"

    def sid_by_name(self, name: str) -> str | None:
        """A user's or a well-known group's SID."""
        user = self.find(name)
        if user is not None:
            return self.sid_of(user.rid)
        known = {
            "everyone": EVERYONE,
            "administrators": ADMINISTRATORS,
            "users": USERS,
            "authenticated users": AUTHENTICATED_USERS,
        }
        return known.get(name.casefold())

    def token(self, user: UserRecord) -> Token:
        """What the object store and the shares are asked with."""
        sid = self.sid_of(user.rid)
        domain_users = self.sid_of(RID_DOMAIN_USERS)
        sids = {sid, domain_users, EVERYONE, NETWORK, AUTHENTICATED_USERS, USERS}
        if user.is_admin:
            sids.add(ADMINISTRATORS)
        return Token(
            user=sid,
            sids=frozenset(sids),
            owner=sid,
            group=domain_users,
            privileges=_ADMIN if user.is_admin else _ALWAYS,
            name=user.name,
        )

    @staticmethod
    def anonymous_token() -> Token:
        return Token(
            ANONYMOUS, frozenset({ANONYMOUS, EVERYONE, NETWORK}), ANONYMOUS, ANONYMOUS, name="ANONYMOUS LOGON"
        )
