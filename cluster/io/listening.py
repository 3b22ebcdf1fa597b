"""Opening a node's sockets and serving on them. What the operating system refuses is told in one line."""

from __future__ import annotations

import errno

import trio

from cluster.errors import OperatorError
from cluster.node import Node
from smbsrv.io.listener import serve

BACKLOG = 1024
PORT_MAX = 65535


async def serve_node(node: Node, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Serve the node until cancelled; every open is closed then. Raises: OperatorError if it cannot
    listen."""
    listeners: list[trio.SocketListener] = []
    settings = node.settings
    if not 0 <= settings.port <= PORT_MAX:
        raise OperatorError(f"{settings.port} is no port: they go up to {PORT_MAX}; choose one with --port")
    try:
        port = settings.port
        for address in settings.bind:
            opened = await trio.open_tcp_listeners(port, host=address, backlog=BACKLOG)
            listeners += opened
            port = port or opened[0].socket.getsockname()[1]
    except OSError as error:
        for listener in listeners:
            await listener.aclose()
        raise OperatorError(_refused(address, port, error)) from None
    node.serving.listening(settings.bind[0], port)
    try:
        await serve(node.serving.server, listeners, task_status=task_status)
    finally:
        node.serving.stopped()


def _refused(address: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} of {address} is in use: another server listens there; choose one with --port"
    if error.errno == errno.EACCES:
        return f"port {port} of {address} needs root; choose one above 1023 with --port"
    return f"cannot listen on {address} port {port}: {error.strerror or error}"
