"""FSCTL_SRV_READ_HASH: this server makes no content information for branch caches.

Source: [MS-SMB2] 3.3.5.15.7 Handling a Content Information Retrieval Request: without support for it,
NOT_SUPPORTED."""

from __future__ import annotations

from smbproto.status import Status, StatusError
from smbsrv.fsctl.call import Call, Outcome


async def run(call: Call) -> Outcome:
    """Raises: NOT_SUPPORTED, always."""
    raise StatusError(Status.NOT_SUPPORTED, "no content information here")
