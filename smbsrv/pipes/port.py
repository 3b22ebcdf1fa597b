"""Port: one open of a named pipe in message mode. Source: [MS-FSCC] 2.1.5.2.1 Named Pipe; [MS-SMB2] 3.3.5.9
Receiving an SMB2 CREATE Request (pipes); 3.3.5.15.1, .3, .10 (FSCTL_PIPE_PEEK, FSCTL_PIPE_TRANSCEIVE,
FSCTL_PIPE_WAIT).

READ, WRITE and the pipe FSCTLs use it; `smbsrv/pipes/rpc_pipe.py` implements it over an RPC service.
Limits: a pipe holds at most one unfinished request and the answer to one; both are bounded
(`smbproto/rpc/limits.py`).
"""

from __future__ import annotations

from typing import Protocol


class Pipe(Protocol):
    """One open of a pipe. Messages keep their borders: a read gives bytes of one message only."""

    name: str
    """Without a leading "\\", as the service is known ("srvsvc")."""

    async def read(self, length: int) -> tuple[bytes, bool]:
        """Up to `length` bytes of the first message that waits; True: more of that message is left, which the
        caller tells as BUFFER_OVERFLOW. Waits (cancellable) while nothing is there. StatusError PIPE_BROKEN
        when it was closed meanwhile."""
        ...

    async def write(self, data: memoryview) -> None:
        """The whole of `data`. StatusError PIPE_DISCONNECTED, PIPE_BUSY (an answer was not read),
        INVALID_PARAMETER."""
        ...

    def peek(self) -> tuple[int, int]:
        """(bytes of the first message that wait, bytes of all messages that wait)."""
        ...

    def close(self) -> None:
        """Wakes whoever reads. Idempotent."""
        ...
