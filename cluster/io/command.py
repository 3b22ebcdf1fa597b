"""Performing one administrative call from the command line.

If the node of the state directory runs (STATE/run.json, written when it listens), the call goes to it over
SMB: its IPC$ share, pipe `sofs`, as the node's own administrator, whose credential lies in STATE/admin.json
(mode 0600). Otherwise the node is opened here, without serving and without its upkeep, and closed again; a
job that was asked for goes on when the node runs. What a node is made of is imported only then: most commands
talk to one that runs, and are told quicker.
"""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from cluster.admin import registry
from cluster.admin.pipe import PIPE_NAME, REPLY_MAX_BYTES
from cluster.config import NODE_FILE, NodeConfig
from cluster.errors import OperatorError
from cluster.io.runtime import TrioRuntime
from cluster.io.state import StateDirectory
from smbclient.io.connect import connect
from smbclient.session import Session
from smbproto import dtyp, fscc
from smbproto.status import Status, StatusError

RUN_FILE = "run.json"
ADMIN_FILE = "admin.json"
CALL_TIMEOUT_S = 120.0


def initialise(state: StateDirectory, settings: NodeConfig) -> None:
    """Make a node's state directory. Raises: OperatorError."""
    from cluster.node import Node

    Node.initialise(state, settings, os.urandom(16))


def perform_call(state: StateDirectory, name: str, args: dict[str, object]) -> Any:
    """Raises: OperatorError, StorageError, StatusError."""
    return run(_perform, state, name, args)


def run(main: Callable[..., Awaitable[Any]], *args: Any) -> Any:
    """`trio.run`, where a group of one exception is raised as that exception."""
    try:
        return trio.run(main, *args)
    except BaseExceptionGroup as group:
        found: BaseException = group
        while isinstance(found, BaseExceptionGroup) and len(found.exceptions) == 1:
            found = found.exceptions[0]
        raise found from None


async def _perform(state: StateDirectory, name: str, args: dict[str, object]) -> Any:
    running = running_at(state)
    if running is not None:
        try:
            return await _remote(state, running, name, args)
        except StatusError as error:
            if error.status != Status.CONNECTION_REFUSED:
                raise
            # A node was killed, and its process id is another's now. If it only begins, its pool is in use.
    if not state.exists(NODE_FILE):
        raise OperatorError(
            f"there is no node in {state.path}; `sofs up` makes a demo, `sofs init` an empty one"
        )
    from cluster.node import Node

    async with trio.open_nursery() as nursery:
        runtime = TrioRuntime(nursery)
        node = await Node.open(state, runtime, upkeep=False)
        try:
            return await registry.perform(node, name, args)
        finally:
            await node.close()
            nursery.cancel_scope.cancel()


def running_at(state: StateDirectory) -> tuple[str, int] | None:
    """(address, port) where the node of this state listens; None if no process serves it."""
    if not state.exists(RUN_FILE):
        return None
    try:
        found = json.loads(state.read(RUN_FILE))
        where = str(found["address"]), int(found["port"])
        os.kill(int(found["pid"]), 0)
    except (ProcessLookupError, PermissionError, OverflowError, KeyError, TypeError, ValueError):
        return None
    return where


async def _remote(state: StateDirectory, where: tuple[str, int], name: str, args: dict[str, object]) -> Any:
    try:
        credential = json.loads(state.read(ADMIN_FILE))
        user, password = str(credential["user"]), str(credential["password"])
    except (KeyError, TypeError, ValueError):
        raise OperatorError(
            f"{state.path / ADMIN_FILE} cannot be understood; a restart of the node writes it anew"
        ) from None
    request = json.dumps({"call": name, "args": args}).encode()
    try:
        with trio.fail_after(CALL_TIMEOUT_S):
            async with connect(
                where[0], where[1], user=user, password=password, encrypt=True
            ) as session:
                answer = json.loads(await _transact(session, request))
    except trio.TooSlowError:
        limit = f"{CALL_TIMEOUT_S:.0f} s"
        raise OperatorError(f"the node at {where[0]}:{where[1]} did not answer within {limit}") from None
    if "error" in answer:
        raise OperatorError(str(answer["error"]))
    return answer["result"]


async def _transact(session: Session, request: bytes) -> bytes:
    """One message to the node's pipe, one back."""
    tree = await session.tree("IPC$")
    access = dtyp.FILE_READ_DATA | dtyp.FILE_WRITE_DATA
    pipe = await tree.create(PIPE_NAME, access=access, disposition=fscc.FILE_OPEN)
    try:
        return await pipe.ioctl(fscc.FSCTL_PIPE_TRANSCEIVE, request, room_bytes=REPLY_MAX_BYTES)
    finally:
        await pipe.close()
