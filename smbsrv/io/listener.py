"""Serving TCP: listeners, the pump, the timers. [MS-SMB2] 3.3.3 Initialization; 2.1 Transport (Direct
TCP)."""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Sequence

import trio

from smbsrv.io.pump import Pump
from smbsrv.io.timers import run_timers
from smbsrv.server import Server

__all__ = ["serve"]

log = logging.getLogger("sofs.smb")

SHUTDOWN_S = 10.0
RETRY_S = 0.2
_NO_RESOURCES = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS))
_LISTENER_IS_BAD = frozenset((errno.EBADF, errno.EINVAL, errno.ENOTSOCK, errno.EOPNOTSUPP, errno.EFAULT))


async def serve(
    server: Server,
    listeners: Sequence[trio.SocketListener],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled; then every connection is dropped and every open closed, within SHUTDOWN_S.

    Owns the listeners and closes them.
    """
    async with trio.open_nursery() as nursery:
        pump = Pump(server, nursery)
        try:
            nursery.start_soon(pump.serve, name="pump")
            nursery.start_soon(run_timers, server, pump.tick, name="smb timers")
            for listener in listeners:
                nursery.start_soon(_accept, pump, listener, name="accept")
            task_status.started()
            await trio.sleep_forever()
        finally:
            for listener in listeners:
                listener.socket.close()
            server.is_stopping = True
            pump.close_all()
            with trio.move_on_after(SHUTDOWN_S, shield=True):
                await server.shut_down()


async def _accept(pump: Pump, listener: trio.SocketListener) -> None:
    """Hand every new connection to the pump, as a plain socket."""
    while True:
        try:
            accepted, address = await listener.socket.accept()
        except OSError as error:
            if error.errno in _NO_RESOURCES:
                log.error("cannot accept: %s", error.strerror)
                await trio.sleep(RETRY_S)
                continue
            if error.errno in _LISTENER_IS_BAD:
                raise
            log.info("a connection failed before it was accepted: %s", error.strerror)
            continue  # accept(2), "Error handling": Linux hands over what befell the new connection
        family = accepted.family
        descriptor = accepted.detach()
        pump.add(socket.socket(family, socket.SOCK_STREAM, fileno=descriptor), _text(address))


def _text(address: object) -> str:
    if isinstance(address, tuple) and len(address) >= 2:
        host = str(address[0])
        return f"[{host}]:{address[1]}" if ":" in host else f"{host}:{address[1]}"
    return str(address)
