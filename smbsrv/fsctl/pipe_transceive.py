"""FSCTL_PIPE_TRANSCEIVE: write a message, read the answer. Source: [MS-SMB2] 3.3.5.15.10 Handling a Pipe
Transaction Request; [MS-FSCC] 2.3.47 FSCTL_PIPE_TRANSCEIVE Request."""

from __future__ import annotations

from smbproto.status import Status
from smbsrv.fsctl.call import Call, Outcome


async def run(call: Call) -> Outcome:
    """BUFFER_OVERFLOW if the answer is longer than what may be sent; READ gives the rest."""
    assert call.opened is not None and call.opened.pipe is not None
    pipe = call.opened.pipe
    await pipe.write(memoryview(call.input))
    data, is_more = await pipe.read(call.output_max_bytes)
    return Outcome(data, Status.BUFFER_OVERFLOW if is_more else Status.SUCCESS)
