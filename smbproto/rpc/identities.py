"""Names of SIDs and SIDs of names: the accounts of this machine, BUILTIN, and those that are the same
everywhere.

Source: [MS-DTYP] 2.4.2.4 Well-Known SID Structures; [MS-LSAT] 3.1.1.1 Database Views; [MS-SAMR] 2.2.2.3
SID_NAME_USE.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from smbproto.rpc.port import Host, UserView

SID_TYPE_USER: Final = 1
SID_TYPE_GROUP: Final = 2
SID_TYPE_DOMAIN: Final = 3
SID_TYPE_ALIAS: Final = 4
SID_TYPE_WELL_KNOWN_GROUP: Final = 5
SID_TYPE_UNKNOWN: Final = 8

BUILTIN_SID: Final = "S-1-5-32"
RID_NONE: Final = 513
"""The group that every account of a machine without a domain has: "None" in Windows."""
GROUP_NONE: Final = "None"


class Alias(NamedTuple):
    """A group of BUILTIN."""

    rid: int
    name: str
    comment: str


ADMINISTRATORS: Final = Alias(544, "Administrators", "Members have full control of the server")
USERS: Final = Alias(545, "Users", "Members may log on")
GUESTS: Final = Alias(546, "Guests", "Members may log on as guests")
BACKUP_OPERATORS: Final = Alias(551, "Backup Operators", "Members may read and write all files by intent")
ALIASES: Final = (ADMINISTRATORS, USERS, GUESTS, BACKUP_OPERATORS)

_NT: Final = "NT AUTHORITY"
WELL_KNOWN: Final[tuple[tuple[str, str, str], ...]] = (
    # SID, domain, name
    ("S-1-1-0", "", "Everyone"),
    ("S-1-2-0", "", "LOCAL"),
    ("S-1-3-0", "", "CREATOR OWNER"),
    ("S-1-3-1", "", "CREATOR GROUP"),
    ("S-1-3-4", "", "OWNER RIGHTS"),
    ("S-1-5-2", _NT, "NETWORK"),
    ("S-1-5-4", _NT, "INTERACTIVE"),
    ("S-1-5-7", _NT, "ANONYMOUS LOGON"),
    ("S-1-5-10", _NT, "SELF"),
    ("S-1-5-11", _NT, "Authenticated Users"),
    ("S-1-5-15", _NT, "This Organization"),
    ("S-1-5-18", _NT, "SYSTEM"),
    ("S-1-5-19", _NT, "LOCAL SERVICE"),
    ("S-1-5-20", _NT, "NETWORK SERVICE"),
    ("S-1-5-64-10", _NT, "NTLM Authentication"),
)


class Identity(NamedTuple):
    """A SID with its name. `domain_sid` is the SID without its last part, `domain` "" where there is none."""

    sid: str
    name: str
    domain: str
    domain_sid: str
    use: int

    @property
    def rid(self) -> int:
        return int(self.sid.rpartition("-")[2])


def members_of(alias: Alias, users: Sequence[UserView]) -> list[UserView]:
    """The accounts in a group of BUILTIN."""
    if alias is ADMINISTRATORS:
        return [user for user in users if user.is_admin]
    return list(users) if alias is USERS else []


class Identities:
    """Look-ups over a host. Domains: the machine's own (its name), BUILTIN, NT AUTHORITY, and none."""

    def __init__(self, host: Host) -> None:
        self._host = host

    @property
    def machine_sid(self) -> str:
        return self._host.accounts.machine_sid

    def _account(self, rid: int, name: str, use: int) -> Identity:
        return Identity(f"{self.machine_sid}-{rid}", name, self._host.name, self.machine_sid, use)

    def of_sid(self, sid: str) -> Identity | None:
        """None: nobody here knows it."""
        for known, domain, name in WELL_KNOWN:
            if known == sid:
                # Clients put domain SID and RID together again, so that there must be one.
                return Identity(sid, name, domain, sid.rpartition("-")[0], SID_TYPE_WELL_KNOWN_GROUP)
        if sid == self.machine_sid:
            return Identity(sid, self._host.name, self._host.name, sid, SID_TYPE_DOMAIN)
        if sid == BUILTIN_SID:
            return Identity(sid, "BUILTIN", "BUILTIN", sid, SID_TYPE_DOMAIN)
        domain_sid, _, last = sid.rpartition("-")
        if domain_sid == BUILTIN_SID:
            found = [alias for alias in ALIASES if str(alias.rid) == last]
            if found:
                return Identity(sid, found[0].name, "BUILTIN", BUILTIN_SID, SID_TYPE_ALIAS)
        elif domain_sid == self.machine_sid:
            if last == str(RID_NONE):
                return self._account(RID_NONE, GROUP_NONE, SID_TYPE_GROUP)
            for user in self._host.accounts.users():
                if str(user.rid) == last:
                    return self._account(user.rid, user.name, SID_TYPE_USER)
        return None

    def of_name(self, full_name: str) -> Identity | None:
        """`NAME`, `DOMAIN\\NAME` or `NAME@DOMAIN`, without case."""
        domain, name = _split(full_name)
        own = self._host.name.casefold()
        if not name:
            return None
        if domain in ("", own):
            user = self._host.accounts.find(name)
            if user is not None:
                return self._account(user.rid, user.name, SID_TYPE_USER)
            if name == GROUP_NONE.casefold():
                return self._account(RID_NONE, GROUP_NONE, SID_TYPE_GROUP)
        if domain in ("", "builtin"):
            for alias in ALIASES:
                if alias.name.casefold() == name:
                    sid = f"{BUILTIN_SID}-{alias.rid}"
                    return Identity(sid, alias.name, "BUILTIN", BUILTIN_SID, SID_TYPE_ALIAS)
        for sid, known_domain, known in WELL_KNOWN:
            if known.casefold() == name and domain in ("", known_domain.casefold()):
                return self.of_sid(sid)
        if not domain and name == own:
            return self.of_sid(self.machine_sid)
        return self.of_sid(BUILTIN_SID) if not domain and name == "builtin" else None


def _split(full_name: str) -> tuple[str, str]:
    """(domain, name), folded."""
    folded = full_name.casefold()
    if "\\" in folded:
        domain, _, name = folded.partition("\\")
        return ("" if domain == "." else domain), name
    name, _, domain = folded.partition("@")
    return domain, name
