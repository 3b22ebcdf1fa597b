"""FSCTL_PIPE_PEEK: what waits in a pipe. Source: [MS-SMB2] 3.3.5.15.3 Handling a Peek at Pipe Data Request;
[MS-FSCC] 2.3.46 FSCTL_PIPE_PEEK Reply. The data itself is not shown, which the reply's length tells."""

from __future__ import annotations

from smbproto.fscc import FILE_PIPE_CONNECTED_STATE
from smbproto.fscc.fsctl import PipePeek
from smbproto.status import Status
from smbsrv.fsctl.call import Call, Outcome

_FIXED_BYTES = 16


async def run(call: Call) -> Outcome:
    """BUFFER_OVERFLOW while a message waits, since none of it is in the answer."""
    call.need_output(_FIXED_BYTES)
    assert call.opened is not None and call.opened.pipe is not None
    message_bytes, waiting_bytes = call.opened.pipe.peek()
    output = PipePeek(
        named_pipe_state=FILE_PIPE_CONNECTED_STATE,
        read_data_available=waiting_bytes,
        number_of_messages=1 if waiting_bytes else 0,
        message_length=message_bytes,
    )
    return Outcome(output.encode(), Status.BUFFER_OVERFLOW if waiting_bytes else Status.SUCCESS)
