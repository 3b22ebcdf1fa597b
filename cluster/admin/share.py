"""`sofs share`: what is served under which name. Changes take effect at once, for new connections to the
share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.admin.registry import Named, NoArguments, call
from cluster.config import ShareConfig

if TYPE_CHECKING:
    from cluster.node import Node


@call("share.add")
async def add(node: Node, args: ShareConfig) -> dict[str, object]:
    await node.add_share(args)
    return {"name": args.name}


@call("share.remove")
async def remove(node: Node, args: Named) -> dict[str, object]:
    await node.remove_share(args.name)
    return {"name": args.name}


@call("share.list")
async def listing(node: Node, args: NoArguments) -> list[dict[str, object]]:
    return [
        {
            "name": share.name,
            "serves": share.volume or share.directory,
            "path": share.path or "\\",
            "read only": share.read_only,
            "encrypted": share.encrypt,
            "access-based enumeration": share.access_based_enumeration,
            "access": ", ".join(f"{who}={right}" for who, right in share.access.items()) or "every user=full",
            "remark": share.remark,
        }
        for share in node.shares
    ]
