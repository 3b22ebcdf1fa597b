"""`sofs pool` and `sofs disk`: disks and what is made of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cluster.admin.registry import NoArguments, call
from cluster.errors import OperatorError
from cluster.io.disks import close_disks, open_or_create_disk
from storage.disk import Disk
from storage.errors import StorageError

if TYPE_CHECKING:
    from cluster.node import Node

DISKS_MAX = 1000


@dataclass(frozen=True, slots=True)
class PoolCreate:
    """`disk_bytes`: size of those files that are not there yet and are made."""

    name: str
    disks: list[str] = field(default_factory=list)
    disk_bytes: int = 16 << 30
    slab_bytes: int = 256 << 20


@call("pool.create")
async def create(node: Node, args: PoolCreate) -> dict[str, object]:
    if not 0 < len(args.disks) <= DISKS_MAX or len(set(args.disks)) != len(args.disks):
        raise OperatorError(f"a pool takes 1 to {DISKS_MAX} different disks")
    node.require_no_pool()
    disks: list[Disk] = []
    try:
        for path in args.disks:
            disks.append(open_or_create_disk(path, args.disk_bytes, node.runtime))
        await node.create_pool(args.name, disks, args.slab_bytes)
    except (OperatorError, StorageError, ValueError) as error:
        await close_disks(disks)
        if isinstance(error, ValueError):
            raise OperatorError(str(error)) from None
        raise
    return {"name": args.name, "disks": len(disks)}


@call("pool.status")
async def status(node: Node, args: NoArguments) -> dict[str, object]:
    found = node.require_pool().status()
    return {
        "name": found.name,
        "health": found.health,
        "operational": found.operational,
        "epoch": found.epoch,
        "disks": len(found.disks),
        "size bytes": found.capacity_bytes,
        "allocated bytes": found.allocated_bytes,
        "free bytes": found.free_bytes,
        "slab bytes": found.slab_bytes,
        "spaces": [
            {
                "name": space.name,
                "resiliency": space.resiliency,
                "provisioning": space.provisioning,
                "health": space.health,
                "operational": space.operational,
                "size bytes": space.size_bytes,
                "footprint bytes": space.footprint_bytes,
            }
            for space in found.spaces
        ],
        "warnings": list(found.warnings),
    }


@call("disk.list")
async def disks(node: Node, args: NoArguments) -> list[dict[str, object]]:
    return [
        {
            "name": disk.name,
            "number": disk.number,
            "health": disk.health,
            "operational": disk.operational,
            "size bytes": disk.size_bytes,
            "allocated bytes": disk.allocated_bytes,
            "repaired blocks": disk.repaired_blocks,
            "detail": disk.detail,
        }
        for disk in node.require_pool().status().disks
    ]
