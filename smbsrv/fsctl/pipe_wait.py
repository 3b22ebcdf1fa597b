"""FSCTL_PIPE_WAIT: wait until a pipe can be opened. Pipes here take any number of clients, so that nobody has
to wait.

Source: [MS-FSCC] 2.3.49 FSCTL_PIPE_WAIT Request."""

from __future__ import annotations

from smbproto.fscc.fsctl import PipeWaitInput
from smbproto.status import Status, StatusError
from smbsrv.fsctl.call import Call, Outcome
from smbsrv.pipes.registry import has_service


async def run(call: Call) -> Outcome:
    """Raises: OBJECT_NAME_NOT_FOUND for an unknown pipe, INVALID_DEVICE_REQUEST on a share that has no
    pipes."""
    tree = call.request.tree
    if tree is None or not tree.share.is_pipe:
        raise StatusError(Status.INVALID_DEVICE_REQUEST, "not IPC$")
    name = call.decode(PipeWaitInput).name
    if not has_service(call.request.server, name):
        raise StatusError(Status.OBJECT_NAME_NOT_FOUND, f"no pipe {name[:80]!r}")
    return Outcome()
