"""A pipe whose other end is an RPC association in this process. Source: [MS-RPCE] 2.1.1.2 SMB (NCACN_NP).

Requests are answered as they are written, so a read waits only if it comes first.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from smbproto.errors import WireError
from smbproto.rpc.association import Association
from smbproto.rpc.limits import RESPONSE_BYTES_MAX
from smbproto.status import Status, StatusError

if TYPE_CHECKING:
    from storage.runtime import Event, Runtime

UNREAD_BYTES_MAX = RESPONSE_BYTES_MAX + 65536
READERS_MAX = 64


class RpcPipe:
    """Implements `smbsrv.pipes.port.Pipe`."""

    def __init__(self, association: Association, runtime: Runtime) -> None:
        self.name = association.pipe_name
        self._association = association
        self._runtime = runtime
        self._messages: deque[bytes] = deque()
        self._unread_bytes = 0
        self._readers: list[Event] = []
        self._is_closed = False
        self._is_broken = False

    async def write(self, data: memoryview) -> None:
        if self._is_closed or self._is_broken:
            raise StatusError(Status.PIPE_DISCONNECTED, f"pipe {self.name} is closed")
        if self._unread_bytes > UNREAD_BYTES_MAX:
            raise StatusError(Status.PIPE_BUSY, f"{self._unread_bytes} bytes of answers were not read")
        try:
            answers = self._association.receive(data)
        except WireError as error:
            self._is_broken = True
            self._wake()
            raise StatusError(Status.PIPE_DISCONNECTED, f"pipe {self.name}: {error}") from None
        for message in answers:
            self._messages.append(message)
            self._unread_bytes += len(message)
        if answers:
            self._wake()

    async def read(self, length: int) -> tuple[bytes, bool]:
        while not self._messages:
            if self._is_closed or self._is_broken:
                raise StatusError(Status.PIPE_BROKEN, f"pipe {self.name} is closed")
            if len(self._readers) >= READERS_MAX:
                raise StatusError(Status.INSUFFICIENT_RESOURCES, f"over {READERS_MAX} reads wait")
            event = self._runtime.event()
            self._readers.append(event)
            try:
                await event.wait()
            finally:
                if event in self._readers:
                    self._readers.remove(event)
        message = self._messages.popleft()
        if len(message) <= length:
            self._unread_bytes -= len(message)
            return message, False
        self._messages.appendleft(message[length:])
        self._unread_bytes -= length
        return message[:length], True

    def peek(self) -> tuple[int, int]:
        return (len(self._messages[0]) if self._messages else 0), self._unread_bytes

    def close(self) -> None:
        self._is_closed = True
        self._messages.clear()
        self._unread_bytes = 0
        self._wake()

    def _wake(self) -> None:
        readers, self._readers = self._readers, []
        for event in readers:
            event.set()
