"""FSCTL_LMR_REQUEST_RESILIENCY: opens are kept by durability alone, so this is refused; clients go on without
it.

Source: [MS-SMB2] 3.3.5.15.9 Handling a Resiliency Request."""

from __future__ import annotations

from smbproto.fscc.fsctl import NetworkResiliencyInput
from smbproto.status import Status, StatusError
from smbsrv.fsctl.call import Call, Outcome


async def run(call: Call) -> Outcome:
    """Raises: INVALID_PARAMETER for a malformed request, else NOT_SUPPORTED."""
    call.decode(NetworkResiliencyInput)
    raise StatusError(Status.NOT_SUPPORTED, "opens are kept by durability here")
