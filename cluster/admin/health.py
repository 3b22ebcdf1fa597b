"""`sofs health`: what is wrong, why, and what to do, by the Health Service's names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cluster.admin.registry import NoArguments, call
from storage.pool.health import Fault, Severity, VolumeSeen

if TYPE_CHECKING:
    from cluster.node import Node

HEALTH = {Severity.INFORMATION: "Healthy", Severity.WARNING: "Warning", Severity.ERROR: "Unhealthy"}


def node_faults(node: Node) -> list[Fault]:
    """Empty without a pool."""
    if node.pool is None:
        return []
    volumes = []
    for name, mounted in sorted(node.volumes.items()):
        usage = mounted.volume.usage()
        volumes.append(VolumeSeen(name, usage.total_bytes, usage.used_bytes))
    return [*(_detached(node, name, why) for name, why in node.detached.items()), *node.pool.faults(volumes)]


def _detached(node: Node, name: str, why: str) -> Fault:
    return Fault(
        "VirtualDisks.Detached", Severity.ERROR, f"The volume could not be mounted. {why}",
        f"{node.require_pool().status().pool_id}/{name}", f"Volume {name}", node.require_pool().name,
        ("Bring missing disks back; it is tried again then.", "Look at its catalog: sofs volume check."),
    )  # fmt: skip


def overall(faults: Sequence[Fault]) -> str:
    """As bad as the worst of them."""
    return HEALTH[max((fault.severity for fault in faults), default=Severity.INFORMATION)]


@call("health")
async def health(node: Node, args: NoArguments) -> dict[str, object]:
    """Faults come and go by observation; nobody acknowledges them."""
    faults = node_faults(node)
    return {"health": overall(faults), "faults": [fault.fields() for fault in faults]}
