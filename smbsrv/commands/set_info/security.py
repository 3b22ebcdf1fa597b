"""SET_INFO of a security descriptor. Source: [MS-SMB2] 3.3.5.21.3 Handling SMB2_0_INFO_SECURITY; [MS-FSA]
2.1.5.17 Server Requests Setting of Security Information. Whether the descriptor makes sense is the object
store's judgement."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smbproto.dtyp import ACCESS_SYSTEM_SECURITY, WRITE_DAC, WRITE_OWNER
from smbproto.smb2.query_info import (
    DACL_SECURITY_INFORMATION,
    GROUP_SECURITY_INFORMATION,
    LABEL_SECURITY_INFORMATION,
    OWNER_SECURITY_INFORMATION,
    SACL_SECURITY_INFORMATION,
)
from smbproto.status import Status, StatusError

if TYPE_CHECKING:
    from storage.volume import File

_KNOWN = 0x1F


def needed_access(information: int) -> int:
    """[MS-FSA] 2.1.5.17: WRITE_OWNER for owner, group, label; WRITE_DAC for the DACL; ACCESS_SYSTEM_SECURITY
    for the SACL."""
    needed = 0
    if information & (OWNER_SECURITY_INFORMATION | GROUP_SECURITY_INFORMATION | LABEL_SECURITY_INFORMATION):
        needed |= WRITE_OWNER
    if information & DACL_SECURITY_INFORMATION:
        needed |= WRITE_DAC
    if information & SACL_SECURITY_INFORMATION:
        needed |= ACCESS_SYSTEM_SECURITY
    return needed


async def change(file: File, information: int, descriptor: bytes) -> None:
    """Raises: ACCESS_DENIED; INVALID_SECURITY_DESCR and its kin from the object store."""
    if needed_access(information) & ~file.granted_access:
        raise StatusError(Status.ACCESS_DENIED, f"the open may not set security information {information:#x}")
    if information & _KNOWN:
        await file.set_security(information & _KNOWN, descriptor)
