"""`sofs session`: who is logged on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.admin.registry import Named, NoArguments, call
from cluster.errors import NotFound, OperatorError

if TYPE_CHECKING:
    from cluster.node import Node

DIALECT_NAMES = {0x0202: "2.0.2", 0x0210: "2.1", 0x0300: "3.0", 0x0302: "3.0.2", 0x0311: "3.1.1"}


def parse_id(text: str) -> int:
    """An id as the lists show it. Raises: OperatorError."""
    try:
        return int(text, 16)
    except ValueError:
        raise OperatorError(f"{text!r} is no id; the list shows them in hexadecimal") from None


@call("session.list")
async def listing(node: Node, args: NoArguments) -> list[dict[str, object]]:
    now = node.runtime.now()
    return [
        {
            "id": f"{session.id:x}",
            "user": session.user_name or "-",
            "client": ", ".join(sorted(connection.peer for connection in session.channels)),
            "dialect": DIALECT_NAMES.get(session.dialect, f"{session.dialect:#x}"),
            "state": session.state.value,
            "encrypted": session.encrypt_data,
            "channels": len(session.channels),
            "trees": len(session.trees),
            "opens": len(session.opens),
            "seconds": int(now - session.creation_s),
        }
        for session in node.serving.server.sessions.values()
    ]


@call("session.close")
async def close(node: Node, args: Named) -> dict[str, object]:
    server = node.serving.server
    session = server.sessions.get(parse_id(args.name))
    if session is None:
        raise NotFound(f"there is no session {args.name}; `sofs session list` shows those there are")
    await server.end_session(session)
    return {"id": args.name}
