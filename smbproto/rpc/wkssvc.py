"""The workstation service: what the machine calls itself, and who is logged on.

Source: [MS-WKST] 3.2.4.1 NetrWkstaGetInfo (Opnum 0), 3.2.4.3 NetrWkstaUserEnum (Opnum 2).
"""

from __future__ import annotations

from typing import Any, Final

from impacket.dcerpc.v5 import wkst
from impacket.dcerpc.v5.dtypes import NULL

from smbproto.rpc.limits import ENTRIES_MAX
from smbproto.rpc.port import Host
from smbproto.rpc.service import NdrService, interface
from smbproto.rpc.srvsvc import (
    ERROR_ACCESS_DENIED,
    ERROR_INVALID_LEVEL,
    ERROR_SUCCESS,
    PLATFORM_ID_NT,
    VERSION_MAJOR,
    VERSION_MINOR,
    z,
)

_GET_LEVELS: Final = (100, 101, 102)


class WorkstationService(NdrService):
    """See the module."""

    syntax = interface("6bffd098-a112-3610-9833-46c3f87e345a", 1)

    def __init__(self, host: Host) -> None:
        super().__init__()
        self._host = host
        self.operations = {
            0: (wkst.NetrWkstaGetInfo, self._get_info),
            2: (wkst.NetrWkstaUserEnum, self._user_enum),
        }

    def _get_info(self, request: Any) -> Any:
        """Level 100 for everyone, 101 and 102 for authenticated users, as in Windows."""
        response = wkst.NetrWkstaGetInfoResponse()
        level = request["Level"]
        error = ERROR_SUCCESS
        if level not in _GET_LEVELS:
            error, level = ERROR_INVALID_LEVEL, 100
        elif level > 100 and self._host.caller.is_anonymous:
            error = ERROR_ACCESS_DENIED
        response["WkstaInfo"]["tag"] = level
        response["ErrorCode"] = error
        arm = f"WkstaInfo{level}"
        if error:
            response["WkstaInfo"][arm] = NULL
            return response
        info = response["WkstaInfo"][arm]
        prefix = f"wki{level}_"
        info[prefix + "platform_id"] = PLATFORM_ID_NT
        info[prefix + "computername"] = z(self._host.name)
        info[prefix + "langroup"] = z(self._host.workgroup)
        info[prefix + "ver_major"] = VERSION_MAJOR
        info[prefix + "ver_minor"] = VERSION_MINOR
        if level > 100:
            info[prefix + "lanroot"] = z("")
        if level == 102:
            info["wki102_logged_on_users"] = len({one.user for one in self._host.sessions()})
        return response

    def _user_enum(self, request: Any) -> Any:
        """Levels 0 and 1, for administrators."""
        response = wkst.NetrWkstaUserEnumResponse()
        level = request["UserInfo"]["Level"]
        error = ERROR_SUCCESS
        if level not in (0, 1):
            error, level = ERROR_INVALID_LEVEL, 0
        elif not self._host.caller.is_admin:
            error = ERROR_ACCESS_DENIED
        users = [] if error else sorted({one.user for one in self._host.sessions()})[:ENTRIES_MAX]
        info = response["UserInfo"]
        info["Level"] = level
        info["WkstaUserInfo"]["tag"] = level
        arm = info["WkstaUserInfo"][f"Level{level}"]
        arm["EntriesRead"] = len(users)
        if not users:
            arm["Buffer"] = NULL
        for user in users:
            entry = wkst.WKSTA_USER_INFO_1() if level else wkst.WKSTA_USER_INFO_0()
            entry[f"wkui{level}_username"] = z(user)
            if level:
                entry["wkui1_logon_domain"] = z(self._host.name)
                entry["wkui1_oth_domains"] = z("")
                entry["wkui1_logon_server"] = z(self._host.name)
            arm["Buffer"].append(entry)
        response["TotalEntries"] = len(users)
        response["ResumeHandle"] = 0
        response["ErrorCode"] = error
        return response
