"""`sofs status`: the node at a glance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.admin.health import node_faults, overall
from cluster.admin.job import UNDER_WAY
from cluster.admin.registry import NoArguments, call

if TYPE_CHECKING:
    from cluster.node import Node


@call("status")
async def status(node: Node, args: NoArguments) -> dict[str, object]:
    server = node.serving.server
    counted = server.statistics
    answer: dict[str, object] = {
        "name": node.settings.name,
        "serving": f"{node.serving.address()}:{node.serving.port()}"
        if node.serving.is_running
        else "not running",
        "shares": len(node.shares),
        "connections": len(server.connections),
        "sessions": len(server.sessions),
        "opens": len(server.opens),
        "failed logons": counted.logon_failures,
        "protocol violations": counted.violations,
        "read bytes": counted.bytes_read,
        "written bytes": counted.bytes_written,
    }
    if node.pool is not None:
        pool, faults = node.pool.status(), node_faults(node)
        jobs = [job for job in pool.jobs if job.state in UNDER_WAY]
        answer |= {"health": overall(faults), "faults": len(faults), "jobs": len(jobs)}
        answer |= {"pool": pool.name, "pool health": pool.health, "volumes": len(node.volume_names())}
        answer |= {"pool size bytes": pool.capacity_bytes, "pool free bytes": pool.free_bytes}
    return answer
