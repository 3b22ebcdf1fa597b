"""QUERY_INFO of a security descriptor. Source: [MS-SMB2] 3.3.5.20.3 Handling SMB2_0_INFO_SECURITY; [MS-FSA]
2.1.5.14 Server Requests a Query of Security Information."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smbproto.dtyp import ACCESS_SYSTEM_SECURITY, READ_CONTROL
from smbproto.status import BufferTooSmall, Status, StatusError
from smbsrv.commands.query_info.result import Result

if TYPE_CHECKING:
    from storage.volume import File

SACL_SECURITY_INFORMATION = 0x00000008
SCOPE_SECURITY_INFORMATION = 0x00000040
BACKUP_SECURITY_INFORMATION = 0x00010000
KNOWN_INFORMATION = 0x0000001F
ATTRIBUTE_SECURITY_INFORMATION = 0x00000020


def needed_access(information: int) -> int:
    """[MS-FSA] 2.1.5.14: READ_CONTROL for owner, group, DACL, label; ACCESS_SYSTEM_SECURITY for the SACL."""
    needed = 0
    if information & ~SACL_SECURITY_INFORMATION:
        needed |= READ_CONTROL
    if information & (SACL_SECURITY_INFORMATION | BACKUP_SECURITY_INFORMATION):
        needed |= ACCESS_SYSTEM_SECURITY
    return needed


def query(file: File, information: int, room: int) -> Result:
    """Raises: ACCESS_DENIED; BufferTooSmall with the length that would do."""
    if needed_access(information) & ~file.granted_access:
        raise StatusError(
            Status.ACCESS_DENIED, f"the open may not read security information {information:#x}"
        )
    descriptor = file.security(information & KNOWN_INFORMATION)
    if len(descriptor) > room:
        raise BufferTooSmall(len(descriptor))
    return Result(descriptor, 0)
