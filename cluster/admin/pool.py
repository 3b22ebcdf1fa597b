"""`sofs pool`: the pool of disks and what is made of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cluster.admin.disk import disk_usage, fault_domain, media_type
from cluster.admin.registry import NoArguments, call
from cluster.errors import OperatorError, told
from storage.pool.jobs.pace import queue_depth
from storage.pool.metadata import RetireMissing

if TYPE_CHECKING:
    from cluster.node import Node
    from storage.pool.status import PoolStatus

DISKS_MAX = 1000


@dataclass(frozen=True, slots=True)
class PoolCreate:
    """`disk_bytes`: size of those files that are not there yet and are made. `media` "": what the disks say
    of themselves."""

    name: str
    disks: list[str] = field(default_factory=list)
    disk_bytes: int = 16 << 30
    slab_bytes: int = 256 << 20
    media: str = ""


@dataclass(frozen=True, slots=True)
class PoolAddDisk:
    """As `PoolCreate`."""

    disks: list[str]
    disk_bytes: int = 16 << 30
    media: str = ""
    usage: str = "auto-select"
    fault_domain: str = ""


def _check_disks(disks: list[str]) -> None:
    if not 0 < len(disks) <= DISKS_MAX or len(set(disks)) != len(disks):
        raise OperatorError(f"give 1 to {DISKS_MAX} different disks")


@call("pool.create")
async def create(node: Node, args: PoolCreate) -> dict[str, object]:
    _check_disks(args.disks)
    media = media_type(args.media) if args.media else None
    await node.physical.create_pool(args.name, args.disks, args.disk_bytes, args.slab_bytes, media)
    return {"name": args.name, "disks": len(args.disks)}


@call("pool.add_disk")
async def add_disk(node: Node, args: PoolAddDisk) -> dict[str, object]:
    _check_disks(args.disks)
    numbers = await node.physical.add(
        args.disks,
        args.disk_bytes,
        media=media_type(args.media) if args.media else None,
        usage=disk_usage(args.usage),
        fault_domain=fault_domain(args.fault_domain),
    )
    return {"disks": numbers, "hint": "`sofs pool optimize` spreads what is there over the new disks"}


@call("pool.optimize")
async def optimize(node: Node, args: NoArguments) -> dict[str, object]:
    return {"job": await told(node.require_pool().jobs.optimize())}


@dataclass(frozen=True, slots=True)
class PoolSet:
    """[Set-StoragePool] -1 or "": leave it as it is. `repair_speed` by its name: "very-low" ...
    "very-high"."""

    thin_alert_percent: int = -1
    retire_missing: str = ""
    retire_delay_s: int = -1
    repair_speed: str = ""


@call("pool.set")
async def change(node: Node, args: PoolSet) -> dict[str, object]:
    pool = node.require_pool()
    try:
        retire = RetireMissing[args.retire_missing.upper()] if args.retire_missing else None
    except KeyError:
        raise OperatorError(
            f"missing disks are retired auto, always or never, not {args.retire_missing!r}"
        ) from None
    try:
        depth = queue_depth(args.repair_speed) if args.repair_speed else None
    except ValueError as error:
        raise OperatorError(str(error)) from None
    if args == PoolSet():
        raise OperatorError("nothing to set; `sofs pool set --help` says what there is")
    await told(
        pool.set_policy(
            thin_alert_percent=None if args.thin_alert_percent < 0 else args.thin_alert_percent,
            retire_missing=retire,
            retire_delay_s=None if args.retire_delay_s < 0 else args.retire_delay_s,
            repair_queue_depth=None if depth is None else int(depth),
        )
    )
    if depth is not None:
        pool.jobs.set_speed(depth)
    return {"name": pool.name}


@call("pool.upgrade")
async def upgrade(node: Node, args: NoArguments) -> dict[str, object]:
    return {"version": await node.require_pool().upgrade()}


def _strangers(found: PoolStatus) -> list[str]:
    return [f"disk {one.name}: {one.health}, {one.operational}: {one.detail}" for one in found.strangers]


@call("pool.status")
async def status(node: Node, args: NoArguments) -> dict[str, object]:
    found = node.require_pool().status()
    return {
        "name": found.name,
        "health": found.health,
        "operational": found.operational,
        "epoch": found.epoch,
        "version": found.version,
        "disks": len(found.disks),
        "size bytes": found.capacity_bytes,
        "allocated bytes": found.allocated_bytes,
        "free bytes": found.free_bytes,
        "slab bytes": found.slab_bytes,
        "provisioned bytes": found.provisioned_bytes,
        "reserve bytes": found.reserve_bytes,
        "reserve kept": found.is_reserve_kept,
        "thin alert at": f"{found.thin_alert_percent} %",
        "retire missing disks": found.retire_missing,
        "retire delay seconds": found.retire_delay_s,
        "repair queue depth": found.repair_queue_depth,
        "spaces": [
            {
                "name": space.name,
                "resiliency": space.resiliency,
                "provisioning": space.provisioning,
                "columns": space.columns,
                "health": space.health,
                "operational": space.operational,
                "size bytes": space.size_bytes,
                "footprint bytes": space.footprint_bytes,
                "degraded bytes": space.degraded_bytes,
            }
            for space in found.spaces
        ],
        "warnings": [*found.warnings, *_strangers(found)],
    }
