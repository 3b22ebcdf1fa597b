"""IOCTL: the envelope of all FSCTLs. What each of them does: `smbsrv/fsctl`, one a file.

Source: [MS-SMB2] 3.3.5.15 Receiving an SMB2 IOCTL Request; 3.3.5.15.8 Handling a Pass-Through Operation
Request.
"""

from __future__ import annotations

from smbproto.codec import FileId
from smbproto.smb2.ioctl import SMB2_0_IOCTL_IS_FSCTL, IoctlRequest, IoctlResponse
from smbproto.status import Status, StatusError
from smbsrv.commands.payload import check_payload
from smbsrv.fsctl.call import Call, Outcome
from smbsrv.fsctl.table import FSCTLS, Target
from smbsrv.request import Reply, Request

_NO_FILE = FileId(0xFFFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF)


async def handle(request: Request) -> Reply | bytes:
    """[MS-SMB2] 3.3.5.15 Receiving an SMB2 IOCTL Request."""
    message = IoctlRequest.decode_untrusted(request.message)
    if message.flags != SMB2_0_IOCTL_IS_FSCTL:
        raise StatusError(Status.NOT_SUPPORTED, "an IOCTL that is no FSCTL")
    answer_bytes = message.max_input_response + message.max_output_response
    check_payload(request, answer_bytes, len(message.input) + len(message.output))
    known = FSCTLS.get(message.ctl_code)
    call = Call(request, message.ctl_code, message.input, message.max_output_response)
    if known is not None and known.target is Target.NONE:
        if message.file_id != _NO_FILE:
            raise StatusError(Status.INVALID_PARAMETER, f"FSCTL {message.ctl_code:#x} has no file")
        outcome = await known.run(call)
    else:
        call.opened = request.open_of(*message.file_id)
        if not call.opened.is_persistent:
            call.opened.is_replay_eligible = False
        if known is None:
            raise StatusError(Status.INVALID_DEVICE_REQUEST, f"FSCTL {message.ctl_code:#x}")
        _check_target(call, known.target)
        outcome = await known.run(call)
    return _reply(message, outcome)


def _check_target(call: Call, target: Target) -> None:
    """A pipe's FSCTL on a file and the other way round. Raises: INVALID_DEVICE_REQUEST."""
    opened = call.opened
    assert opened is not None
    if target is Target.PIPE and opened.pipe is None:
        raise StatusError(Status.INVALID_DEVICE_REQUEST, f"FSCTL {call.code:#x} is for pipes")
    if target is Target.FILE and opened.file is None:
        raise StatusError(Status.INVALID_DEVICE_REQUEST, f"FSCTL {call.code:#x} is for files")


def _reply(message: IoctlRequest, outcome: Outcome) -> Reply:
    output = outcome.output
    body = IoctlResponse(ctl_code=message.ctl_code, file_id=message.file_id, output=output).encode()
    return Reply(body, outcome.status)
