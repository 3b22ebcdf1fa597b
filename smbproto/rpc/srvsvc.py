"""The server service: which shares, sessions and open files there are. What changes them goes through the
administrator's own interface.

Source: [MS-SRVS] 3.1.4 Message Processing Events and Sequencing Rules. Levels that show paths, sessions or
files of others are for administrators (ERROR_ACCESS_DENIED), as in Windows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from impacket.dcerpc.v5 import srvs
from impacket.dcerpc.v5.dtypes import NULL

from smbproto.rpc.limits import ENTRIES_MAX
from smbproto.rpc.port import FileView, Host, SessionView, ShareView
from smbproto.rpc.service import NdrService, interface, text

ERROR_SUCCESS: Final = 0
ERROR_ACCESS_DENIED: Final = 5
ERROR_INVALID_NAME: Final = 123
ERROR_INVALID_LEVEL: Final = 124
ERROR_INVALID_PARAMETER: Final = 87
NERR_NET_NAME_NOT_FOUND: Final = 2310

PLATFORM_ID_NT: Final = 500
VERSION_MAJOR: Final = 10
VERSION_MINOR: Final = 0
# SV_TYPE_WORKSTATION, SERVER, NT, SERVER_NT
SERVER_TYPE: Final = 0x00000001 | 0x00000002 | 0x00001000 | 0x00008000
NAME_TYPES: Final = range(1, 15)
_NAME_FORBIDDEN: Final = frozenset('"/\\[]:|<>+=;,*?')
_EPOCH: Final = datetime(1601, 1, 1, tzinfo=UTC)


def z(value: str) -> str:
    """A string for a response, with its NUL."""
    return value + "\0"


def _share_0(share: ShareView) -> Any:
    entry = srvs.SHARE_INFO_0()
    entry["shi0_netname"] = z(share.name)
    return entry


def _share_1(share: ShareView) -> Any:
    entry = srvs.SHARE_INFO_1()
    entry["shi1_netname"] = z(share.name)
    entry["shi1_type"] = share.type
    entry["shi1_remark"] = z(share.remark)
    return entry


def _share_2(share: ShareView) -> Any:
    entry = srvs.SHARE_INFO_2()
    entry["shi2_netname"] = z(share.name)
    entry["shi2_type"] = share.type
    entry["shi2_remark"] = z(share.remark)
    entry["shi2_permissions"] = 0
    entry["shi2_max_uses"] = share.max_uses or 0xFFFFFFFF
    entry["shi2_current_uses"] = share.current_uses
    entry["shi2_path"] = z(share.path)
    entry["shi2_passwd"] = NULL
    return entry


def _share_501(share: ShareView) -> Any:
    entry = srvs.SHARE_INFO_501()
    entry["shi501_netname"] = z(share.name)
    entry["shi501_type"] = share.type
    entry["shi501_remark"] = z(share.remark)
    entry["shi501_flags"] = share.flags
    return entry


def _share_502(share: ShareView) -> Any:
    entry = srvs.SHARE_INFO_502_I() if hasattr(srvs, "SHARE_INFO_502_I") else srvs.SHARE_INFO_502()
    entry["shi502_netname"] = z(share.name)
    entry["shi502_type"] = share.type
    entry["shi502_remark"] = z(share.remark)
    entry["shi502_permissions"] = 0
    entry["shi502_max_uses"] = share.max_uses or 0xFFFFFFFF
    entry["shi502_current_uses"] = share.current_uses
    entry["shi502_path"] = z(share.path)
    entry["shi502_passwd"] = NULL
    entry["shi502_reserved"] = len(share.descriptor)
    entry["shi502_security_descriptor"] = share.descriptor or NULL
    return entry


def _share_1005(share: ShareView) -> Any:
    entry = srvs.SHARE_INFO_1005()
    entry["shi1005_flags"] = share.flags
    return entry


def _share_1004(share: ShareView) -> Any:
    entry = srvs.SHARE_INFO_1004()
    entry["shi1004_remark"] = z(share.remark)
    return entry


# level: (entry, only for administrators)
SHARE_LEVELS: Final[dict[int, tuple[Callable[[ShareView], Any], bool]]] = {
    0: (_share_0, False),
    1: (_share_1, False),
    2: (_share_2, True),
    501: (_share_501, False),
    502: (_share_502, True),
}
SHARE_ONE_LEVELS: Final = {**SHARE_LEVELS, 1004: (_share_1004, False), 1005: (_share_1005, False)}


def _session_0(one: SessionView) -> Any:
    entry = srvs.SESSION_INFO_0()
    entry["sesi0_cname"] = z(one.client)
    return entry


def _session_1(one: SessionView) -> Any:
    entry = srvs.SESSION_INFO_1()
    entry["sesi1_cname"] = z(one.client)
    entry["sesi1_username"] = z(one.user)
    entry["sesi1_num_opens"] = one.opens
    entry["sesi1_time"] = one.active_s
    entry["sesi1_idle_time"] = one.idle_s
    entry["sesi1_user_flags"] = 0
    return entry


def _session_10(one: SessionView) -> Any:
    entry = srvs.SESSION_INFO_10()
    entry["sesi10_cname"] = z(one.client)
    entry["sesi10_username"] = z(one.user)
    entry["sesi10_time"] = one.active_s
    entry["sesi10_idle_time"] = one.idle_s
    return entry


def _session_502(one: SessionView) -> Any:
    entry = srvs.SESSION_INFO_502()
    entry["sesi502_cname"] = z(one.client)
    entry["sesi502_username"] = z(one.user)
    entry["sesi502_num_opens"] = one.opens
    entry["sesi502_time"] = one.active_s
    entry["sesi502_idle_time"] = one.idle_s
    entry["sesi502_user_flags"] = 0
    entry["sesi502_cltype_name"] = z("")
    entry["sesi502_transport"] = z("")
    return entry


SESSION_LEVELS: Final[dict[int, tuple[Callable[[SessionView], Any], bool]]] = {
    0: (_session_0, True),
    1: (_session_1, True),
    10: (_session_10, True),
    502: (_session_502, True),
}


def _file_2(one: FileView) -> Any:
    entry = srvs.FILE_INFO_2()
    entry["fi2_id"] = one.id & 0xFFFFFFFF
    return entry


def _file_3(one: FileView) -> Any:
    entry = srvs.FILE_INFO_3()
    entry["fi3_id"] = one.id & 0xFFFFFFFF
    entry["fi3_permissions"] = one.permissions
    entry["fi3_num_locks"] = one.locks
    entry["fi3_path_name"] = z(one.path)
    entry["fi3_username"] = z(one.user)
    return entry


FILE_LEVELS: Final[dict[int, tuple[Callable[[FileView], Any], bool]]] = {
    2: (_file_2, True),
    3: (_file_3, True),
}


class ServerService(NdrService):
    """See the module."""

    syntax = interface("4b324fc8-1670-01d3-1278-5a47bf6ee188", 3)

    def __init__(self, host: Host) -> None:
        super().__init__()
        self._host = host
        self.operations = {
            9: (srvs.NetrFileEnum, self._file_enum),
            12: (srvs.NetrSessionEnum, self._session_enum),
            15: (srvs.NetrShareEnum, self._share_enum),
            16: (srvs.NetrShareGetInfo, self._share_get_info),
            21: (srvs.NetrServerGetInfo, self._server_get_info),
            28: (srvs.NetrRemoteTOD, self._remote_tod),
            33: (srvs.NetprNameValidate, self._name_validate),
            36: (srvs.NetrShareEnumSticky, self._share_enum_sticky),
        }

    def _enumerate(
        self,
        request: Any,
        response: Any,
        union: str,
        levels: dict[int, Any],
        entries: Callable[[], Sequence[Any]],
    ) -> Any:
        """Fill an enumeration's response: `InfoStruct` is a level and a union of counted arrays."""
        level = request["InfoStruct"]["Level"]
        info = response["InfoStruct"]
        response["TotalEntries"] = 0
        response["ResumeHandle"] = request["ResumeHandle"] and 0 if request["ResumeHandle"] != b"" else NULL
        known = levels.get(level)
        if known is None:
            # The union must have some arm; level 0 or the first that there is.
            arm = min(levels)
            info["Level"], info[union]["tag"] = arm, arm
            info[union][f"Level{arm}"]["Buffer"] = NULL
            response["ErrorCode"] = ERROR_INVALID_LEVEL
            return response
        entry, is_for_administrators = known
        info["Level"] = level
        info[union]["tag"] = level
        found = entries()[:ENTRIES_MAX]
        if is_for_administrators and not self._host.caller.is_admin:
            info[union][f"Level{level}"]["EntriesRead"] = 0
            info[union][f"Level{level}"]["Buffer"] = NULL
            response["ErrorCode"] = ERROR_ACCESS_DENIED
            return response
        arm = info[union][f"Level{level}"]
        arm["EntriesRead"] = len(found)
        if not found:
            arm["Buffer"] = NULL
        for one in found:
            arm["Buffer"].append(entry(one))
        response["TotalEntries"] = len(found)
        response["ErrorCode"] = ERROR_SUCCESS
        return response

    def _visible_shares(self) -> Sequence[ShareView]:
        return [share for share in self._host.shares() if not share.is_hidden]

    def _share_enum(self, request: Any) -> Any:
        """[MS-SRVS] 3.1.4.8 NetrShareEnum (Opnum 15)."""
        response = srvs.NetrShareEnumResponse()
        return self._enumerate(request, response, "ShareInfo", SHARE_LEVELS, self._visible_shares)

    def _share_enum_sticky(self, request: Any) -> Any:
        """[MS-SRVS] 3.1.4.9 NetrShareEnumSticky (Opnum 36): every share here is sticky."""
        response = srvs.NetrShareEnumStickyResponse()
        return self._enumerate(request, response, "ShareInfo", SHARE_LEVELS, self._visible_shares)

    def _session_enum(self, request: Any) -> Any:
        """[MS-SRVS] 3.1.4.5 NetrSessionEnum (Opnum 12)."""
        response = srvs.NetrSessionEnumResponse()
        user = text(request["UserName"]).casefold()
        client = text(request["ClientName"]).lstrip("\\").casefold()

        def wanted() -> Sequence[SessionView]:
            return [
                one
                for one in self._host.sessions()
                if (not user or one.user.casefold() == user)
                and (not client or one.client.casefold() == client)
            ]

        return self._enumerate(request, response, "SessionInfo", SESSION_LEVELS, wanted)

    def _file_enum(self, request: Any) -> Any:
        """[MS-SRVS] 3.1.4.2 NetrFileEnum (Opnum 9)."""
        response = srvs.NetrFileEnumResponse()
        base = text(request["BasePath"]).casefold()
        user = text(request["UserName"]).casefold()

        def wanted() -> Sequence[FileView]:
            return [
                one
                for one in self._host.files()
                if one.path.casefold().startswith(base) and (not user or one.user.casefold() == user)
            ]

        return self._enumerate(request, response, "FileInfo", FILE_LEVELS, wanted)

    def _share_get_info(self, request: Any) -> Any:
        """[MS-SRVS] 3.1.4.10 NetrShareGetInfo (Opnum 16)."""
        response = srvs.NetrShareGetInfoResponse()
        name = text(request["NetName"]).casefold()
        level = request["Level"]
        found = [share for share in self._host.shares() if share.name.casefold() == name]
        known = SHARE_ONE_LEVELS.get(level)
        error = ERROR_SUCCESS
        if known is None:
            error, level = ERROR_INVALID_LEVEL, 0
        elif not found:
            error = NERR_NET_NAME_NOT_FOUND
        elif known[1] and not self._host.caller.is_admin:
            error = ERROR_ACCESS_DENIED
        response["InfoStruct"]["tag"] = level
        arm = f"ShareInfo{level}"
        if error or known is None:
            response["InfoStruct"][arm] = NULL
        else:
            response["InfoStruct"][arm] = known[0](found[0])
        response["ErrorCode"] = error
        return response

    def _server_get_info(self, request: Any) -> Any:
        """[MS-SRVS] 3.1.4.17 NetrServerGetInfo (Opnum 21): levels 100, 101, 102."""
        response = srvs.NetrServerGetInfoResponse()
        level = request["Level"]
        if level not in (100, 101, 102):
            response["InfoStruct"]["tag"] = 100
            response["InfoStruct"]["ServerInfo100"] = NULL
            response["ErrorCode"] = ERROR_INVALID_LEVEL
            return response
        response["InfoStruct"]["tag"] = level
        info = response["InfoStruct"][f"ServerInfo{level}"]
        prefix = f"sv{level}_"
        info[prefix + "platform_id"] = PLATFORM_ID_NT
        info[prefix + "name"] = z(self._host.name)
        if level > 100:
            info[prefix + "version_major"] = VERSION_MAJOR
            info[prefix + "version_minor"] = VERSION_MINOR
            info[prefix + "type"] = SERVER_TYPE
            info[prefix + "comment"] = z(self._host.comment)
        if level == 102:
            info["sv102_users"] = 0xFFFFFFFF
            info["sv102_disc"] = 15
            info["sv102_hidden"] = 0
            info["sv102_announce"] = 240
            info["sv102_anndelta"] = 3000
            info["sv102_licenses"] = 0
            info["sv102_userpath"] = z("")
        response["ErrorCode"] = ERROR_SUCCESS
        return response

    def _remote_tod(self, request: Any) -> Any:
        """[MS-SRVS] 3.1.4.21 NetrRemoteTOD (Opnum 28): time of day, in UTC."""
        response = srvs.NetrRemoteTODResponse()
        ticks = self._host.filetime()
        now = _EPOCH + timedelta(microseconds=ticks // 10)
        info = response["BufferPtr"]
        info["tod_elapsedt"] = max(0, int(now.timestamp())) & 0xFFFFFFFF
        info["tod_msecs"] = self._host.uptime_s() * 1000 & 0xFFFFFFFF
        info["tod_hours"], info["tod_mins"], info["tod_secs"] = now.hour, now.minute, now.second
        info["tod_hunds"] = now.microsecond // 10000
        info["tod_timezone"] = 0
        info["tod_tinterval"] = 310
        info["tod_day"], info["tod_month"], info["tod_year"] = now.day, now.month, now.year
        info["tod_weekday"] = now.isoweekday() % 7
        response["ErrorCode"] = ERROR_SUCCESS
        return response

    def _name_validate(self, request: Any) -> Any:
        """[MS-SRVS] 3.1.4.32 NetprNameValidate (Opnum 33)."""
        response = srvs.NetprNameValidateResponse()
        name = text(request["Name"])
        if request["NameType"] not in NAME_TYPES or request["Flags"] & 0x7FFFFFFF:
            response["ErrorCode"] = ERROR_INVALID_PARAMETER
        elif not name or len(name) > 80 or set(name) & _NAME_FORBIDDEN or min(name) < " ":
            response["ErrorCode"] = ERROR_INVALID_NAME
        else:
            response["ErrorCode"] = ERROR_SUCCESS
        return response
