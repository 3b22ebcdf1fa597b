"""FSCTL_DFS_GET_REFERRALS and its EX form: this server has no DFS.

Source: [MS-SMB2] 3.3.5.15.2 Handling a DFS Referral Information Request: "If the server does not support DFS
... STATUS_FS_DRIVER_REQUIRED"."""

from __future__ import annotations

from smbproto.status import Status, StatusError
from smbsrv.fsctl.call import Call, Outcome


async def run(call: Call) -> Outcome:
    """Raises: FS_DRIVER_REQUIRED, always."""
    raise StatusError(Status.FS_DRIVER_REQUIRED, "no DFS here")
