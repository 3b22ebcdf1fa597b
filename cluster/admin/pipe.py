"""The administrative calls on a pipe of IPC$: one JSON object in a message, one in the answer.

    {"call": "share.list", "args": {}}   ->   {"result": ...}  or  {"error": "one line"}

Authorised by group: the caller's token must hold BUILTIN\\Administrators. Requests and replies are bounded.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from cluster.accounts import ADMINISTRATORS
from cluster.admin import registry
from cluster.errors import OperatorError
from smbproto.status import Status, StatusError
from storage.errors import StorageError
from storage.volume import Token

if TYPE_CHECKING:
    from cluster.node import Node

log = logging.getLogger("sofs.admin")

PIPE_NAME = "sofs"
REQUEST_MAX_BYTES = 64 << 10
REPLY_MAX_BYTES = 1 << 20


class AdminPipe:
    """One open of the pipe; implements `smbsrv.pipes.port.Pipe`."""

    name = PIPE_NAME

    def __init__(self, node: Node, token: Token) -> None:
        if ADMINISTRATORS not in token.sids:
            raise StatusError(Status.ACCESS_DENIED)
        self._node = node
        self._who = token.name
        self._answer: memoryview | None = None

    async def write(self, data: memoryview) -> None:
        if self._answer is not None:
            raise StatusError(Status.PIPE_BUSY)
        if len(data) > REQUEST_MAX_BYTES:
            raise StatusError(Status.INVALID_PARAMETER)
        self._answer = memoryview(await self._perform(bytes(data)))

    async def _perform(self, data: bytes) -> bytes:
        try:
            request = json.loads(data)
            name, args = request["call"], request["args"]
            if not isinstance(name, str) or not isinstance(args, dict):
                raise ValueError("call is text, args an object")
        except (ValueError, KeyError, TypeError) as error:
            return json.dumps({"error": f"the request cannot be understood: {error}"}).encode()
        log.info("%s calls %s", self._who, name)
        try:
            answer = json.dumps({"result": await registry.perform(self._node, name, args)}).encode()
        except (OperatorError, StorageError) as error:
            answer = json.dumps({"error": str(error)}).encode()
        if len(answer) > REPLY_MAX_BYTES:
            answer = json.dumps({"error": f"the answer is longer than {REPLY_MAX_BYTES} bytes"}).encode()
        return answer

    async def read(self, length: int) -> tuple[bytes, bool]:
        answer = self._answer
        if answer is None:
            raise StatusError(Status.PIPE_EMPTY)
        piece, rest = bytes(answer[:length]), answer[length:]
        self._answer = rest if len(rest) else None
        return piece, len(rest) > 0

    def peek(self) -> tuple[int, int]:
        waiting = len(self._answer) if self._answer is not None else 0
        return waiting, waiting

    def close(self) -> None:
        self._answer = None
