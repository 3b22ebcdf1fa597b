"""`sofs open`: files that clients have open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.admin.registry import Named, NoArguments, call
from cluster.admin.session import parse_id
from cluster.errors import NotFound

if TYPE_CHECKING:
    from cluster.node import Node
    from smbsrv.open import Open

OPLOCK_NAMES = {0: "none", 1: "level II", 8: "exclusive", 9: "batch", 0xFF: "lease"}


def caching_of(open_: Open) -> str:
    """The oplock, or the lease's state by its letters."""
    if open_.file is None:
        return "-"
    grant = open_.file.caching
    if grant.level == 0xFF:
        return "lease " + "".join(
            letter for bit, letter in ((1, "R"), (2, "H"), (4, "W")) if grant.state & bit
        )
    return OPLOCK_NAMES.get(grant.level, str(grant.level))


@call("open.list")
async def listing(node: Node, args: NoArguments) -> list[dict[str, object]]:
    return [
        {
            "id": f"{open_.persistent_id:x}",
            "path": open_.path or "\\",
            "share": open_.tree.share.name if open_.tree is not None else "-",
            "user": open_.session.user_name if open_.session is not None else "(kept)",
            "access": f"{open_.file.granted_access:08x}" if open_.file is not None else "-",
            "caching": caching_of(open_),
            "durable": open_.is_durable,
        }
        for open_ in node.serving.server.opens.values()
    ]


@call("open.close")
async def close(node: Node, args: Named) -> dict[str, object]:
    server = node.serving.server
    found = server.opens.get(parse_id(args.name))
    if found is None:
        raise NotFound(f"there is no open {args.name}; `sofs open list` shows those there are")
    await server.close_open(found)
    return {"id": args.name}
