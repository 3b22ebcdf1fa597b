"""Filling the information buffers of SAMR: one function for each kind of object. Source: [MS-SAMR] 2.2.3 to
2.2.8 (information classes).

What an account here does not have (home directories, logon hours, password dates) is empty or "never".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from impacket.dcerpc.v5 import samr
from impacket.dcerpc.v5.dtypes import NULL

from smbproto.rpc.identities import RID_NONE
from smbproto.rpc.port import UserView

USER_NORMAL_ACCOUNT: Final = 0x00000010
USER_ACCOUNT_DISABLED: Final = 0x00000001
USER_DONT_EXPIRE_PASSWORD: Final = 0x00000200
USER_ALL_VALID: Final = 0x00FFFFFF
NEVER: Final = 0x7FFFFFFFFFFFFFFF
NO_LIMIT: Final = -0x8000000000000000


def account_control(user: UserView) -> int:
    """[MS-SAMR] 2.2.1.12 USER_ACCOUNT Codes."""
    disabled = USER_ACCOUNT_DISABLED if user.disabled else 0
    return USER_NORMAL_ACCOUNT | USER_DONT_EXPIRE_PASSWORD | disabled


def _time(target: Any, field: str, filetime: int) -> None:
    """OLD_LARGE_INTEGER."""
    target[field]["LowPart"] = filetime & 0xFFFFFFFF
    high = filetime >> 32 & 0xFFFFFFFF
    target[field]["HighPart"] = high - (1 << 32) if high & 0x80000000 else high


def _texts(target: Any, **values: str) -> None:
    for field, value in values.items():
        target[field] = value


def _logon_hours(target: Any) -> None:
    """No restriction: a null pointer."""
    target["UnitsPerWeek"] = 0
    target["LogonHours"] = NULL


def _general(info: Any, user: UserView) -> None:
    part = info["General"]
    _texts(part, UserName=user.name, FullName=user.full_name, AdminComment=user.comment, UserComment="")
    part["PrimaryGroupId"] = RID_NONE


def _all(info: Any, user: UserView) -> None:
    part = info["All"]
    for field, time in (
        ("LastLogon", 0),
        ("LastLogoff", 0),
        ("PasswordLastSet", 0),
        ("AccountExpires", NEVER),
        ("PasswordCanChange", 0),
        ("PasswordMustChange", NEVER),
    ):
        _time(part, field, time)
    _texts(part, UserName=user.name, FullName=user.full_name, AdminComment=user.comment)
    for field in (
        "HomeDirectory",
        "HomeDirectoryDrive",
        "ScriptPath",
        "ProfilePath",
        "WorkStations",
        "UserComment",
        "Parameters",
        "PrivateData",
    ):
        part[field] = ""
    part["LmOwfPassword"]["Buffer"] = NULL
    part["NtOwfPassword"]["Buffer"] = NULL
    part["SecurityDescriptor"]["Length"] = 0
    part["SecurityDescriptor"]["SecurityDescriptor"] = NULL
    part["UserId"] = user.rid
    part["PrimaryGroupId"] = RID_NONE
    part["UserAccountControl"] = account_control(user)
    part["WhichFields"] = USER_ALL_VALID
    _logon_hours(part["LogonHours"])
    for field in ("BadPasswordCount", "LogonCount", "CountryCode", "CodePage"):
        part[field] = 0
    for field in ("LmPasswordPresent", "PasswordExpired", "PrivateDataSensitive"):
        part[field] = 0
    part["NtPasswordPresent"] = 1


def _account(info: Any, user: UserView) -> None:
    part = info["Account"]
    _texts(part, UserName=user.name, FullName=user.full_name, AdminComment=user.comment)
    for field in ("HomeDirectory", "HomeDirectoryDrive", "ScriptPath", "ProfilePath", "WorkStations"):
        part[field] = ""
    part["UserId"], part["PrimaryGroupId"] = user.rid, RID_NONE
    for field, time in (
        ("LastLogon", 0),
        ("LastLogoff", 0),
        ("PasswordLastSet", 0),
        ("AccountExpires", NEVER),
    ):
        _time(part, field, time)
    _logon_hours(part["LogonHours"])
    part["BadPasswordCount"] = part["LogonCount"] = 0
    part["UserAccountControl"] = account_control(user)


def user_info(buffer: Any, kind: int, user: UserView) -> bool:
    """[MS-SAMR] 2.2.6.29 SAMPR_USER_INFO_BUFFER. False: not a class that is answered."""
    names = {
        6: ("Name", {"UserName": user.name, "FullName": user.full_name}),
        7: ("AccountName", {"UserName": user.name}),
        8: ("FullName", {"FullName": user.full_name}),
        13: ("AdminComment", {"AdminComment": user.comment}),
    }
    if kind not in (*names, 1, 5, 9, 16, 21):
        return False
    buffer["tag"] = kind
    if kind == 1:
        _general(buffer, user)
    elif kind == 5:
        _account(buffer, user)
    elif kind == 9:
        buffer["PrimaryGroup"]["PrimaryGroupId"] = RID_NONE
    elif kind == 16:
        buffer["Control"]["UserAccountControl"] = account_control(user)
    elif kind == 21:
        _all(buffer, user)
    else:
        arm, values = names[kind]
        _texts(buffer[arm], **values)
    return True


def domain_info(buffer: Any, kind: int, name: str, counts: tuple[int, int, int]) -> bool:
    """[MS-SAMR] 2.2.4.17 SAMPR_DOMAIN_INFO_BUFFER. `counts`: users, groups, aliases. False: not answered."""
    if kind not in (1, 2, 3, 5, 7, 8, 9, 12):
        return False
    buffer["tag"] = kind
    if kind == 1:
        part = buffer["Password"]
        part["MinPasswordLength"] = part["PasswordHistoryLength"] = part["PasswordProperties"] = 0
        _time(part, "MaxPasswordAge", NO_LIMIT)
        _time(part, "MinPasswordAge", 0)
    elif kind == 2:
        part = buffer["General"]
        _time(part, "ForceLogoff", NO_LIMIT)
        _texts(part, OemInformation="", DomainName=name, ReplicaSourceNodeName="")
        _time(part, "DomainModifiedCount", 1)
        part["DomainServerState"], part["DomainServerRole"], part["UasCompatibilityRequired"] = 1, 3, 1
        part["UserCount"], part["GroupCount"], part["AliasCount"] = counts
    elif kind == 3:
        _time(buffer["Logoff"], "ForceLogoff", NO_LIMIT)
    elif kind == 5:
        buffer["Name"]["DomainName"] = name
    elif kind == 7:
        buffer["Role"]["DomainServerRole"] = 3
    elif kind == 8:
        _time(buffer["Modified"], "DomainModifiedCount", 1)
        _time(buffer["Modified"], "CreationTime", 0)
    elif kind == 9:
        buffer["State"]["DomainServerState"] = 1
    else:
        part = buffer["Lockout"]
        _lockout(part)
    return True


def _lockout(part: Any) -> None:
    """Accounts are never locked."""
    part["LockoutDuration"] = part["LockoutObservationWindow"] = -18_000_000_000
    part["LockoutThreshold"] = 0


def group_info(buffer: Any, kind: int, name: str, comment: str, members: int, is_group: bool) -> bool:
    """[MS-SAMR] 2.2.5.7 SAMPR_GROUP_INFO_BUFFER, 2.2.6.6 SAMPR_ALIAS_INFO_BUFFER. False: not answered."""
    if kind not in ((1, 2, 3, 4) if is_group else (1, 2, 3)):
        return False
    buffer["tag"] = kind
    comment_kind = 4 if is_group else 3
    if kind == 1:
        part = buffer["General"]
        _texts(part, Name=name, AdminComment=comment)
        part["MemberCount"] = members
        if is_group:
            part["Attributes"] = 7
    elif kind == 2:
        buffer["Name"]["Name"] = name
    elif kind == comment_kind:
        buffer["AdminComment"]["AdminComment"] = comment
    else:
        buffer["Attribute"]["Attributes"] = 7
    return True


def _user_entry(index: int, user: UserView) -> Any:
    entry = samr.SAMPR_DOMAIN_DISPLAY_USER()
    entry["Index"], entry["Rid"], entry["AccountControl"] = index, user.rid, account_control(user)
    _texts(entry, AccountName=user.name, AdminComment=user.comment, FullName=user.full_name)
    return entry


def _group_entry(index: int, group: tuple[int, str, str]) -> Any:
    entry = samr.SAMPR_DOMAIN_DISPLAY_GROUP()
    entry["Index"], entry["Rid"], entry["AccountControl"] = index, group[0], 7
    _texts(entry, AccountName=group[1], AdminComment=group[2])
    return entry


def display(
    response: Any,
    kind: int,
    users: Sequence[UserView],
    groups: Sequence[tuple[int, str, str]],
    start: int,
    count: int,
) -> int:
    """[MS-SAMR] 2.2.8.13 SAMPR_DISPLAY_INFO_BUFFER. How many are left for the next call; -1: a class not
    answered."""
    arms = {1: "UserInformation", 2: "MachineInformation", 3: "GroupInformation"}
    arm = arms.get(kind, "UserInformation")
    buffer = response["Buffer"]
    buffer["tag"] = kind if kind in arms else 1
    everything: Sequence[Any] = users if kind == 1 else groups if kind == 3 else ()
    found = everything[start : start + count]
    buffer[arm]["EntriesRead"] = len(found)
    if not found:
        buffer[arm]["Buffer"] = NULL
    for index, one in enumerate(found, start + 1):
        buffer[arm]["Buffer"].append(_user_entry(index, one) if kind == 1 else _group_entry(index, one))
    response["TotalAvailable"] = response["TotalReturned"] = len(found) * 64
    return len(everything) - start - len(found) if kind in arms else -1
