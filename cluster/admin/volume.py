"""`sofs volume`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cluster.admin.registry import Named, NoArguments, call
from cluster.errors import NotFound, OperatorError
from storage.fs.check import check_catalog
from storage.space.resiliency import Provisioning

if TYPE_CHECKING:
    from cluster.node import Node


@dataclass(frozen=True, slots=True)
class VolumeCreate:
    """`columns` and `interleave_bytes` 0: chosen by the pool."""

    name: str
    size_bytes: int
    resiliency: str = "mirror"
    provisioning: str = "thin"
    columns: int = 0
    interleave_bytes: int = 0


@call("volume.create")
async def create(node: Node, args: VolumeCreate) -> dict[str, object]:
    if args.resiliency not in ("simple", "mirror") or args.provisioning not in ("thin", "fixed"):
        raise OperatorError("resiliency is simple or mirror; provisioning thin or fixed")
    await node.create_volume(
        args.name,
        args.size_bytes,
        resiliency=args.resiliency,
        provisioning=Provisioning[args.provisioning.upper()],
        columns=args.columns,
        interleave_bytes=args.interleave_bytes,
    )
    return {"name": args.name}


@call("volume.list")
async def listing(node: Node, args: NoArguments) -> list[dict[str, object]]:
    spaces = {space.name: space for space in node.require_pool().status().spaces}
    rows: list[dict[str, object]] = []
    for name in node.volume_names():
        space = spaces[f"{name}/data"]
        mounted = node.volumes.get(name)
        usage = mounted.volume.usage() if mounted is not None else None
        rows.append(
            {
                "name": name,
                "health": space.health,
                "resiliency": space.resiliency,
                "provisioning": space.provisioning,
                "size bytes": space.size_bytes,
                "free bytes": usage.free_bytes if usage is not None else None,
                "footprint bytes": space.footprint_bytes,
                "shares": [share.name for share in node.shares if share.volume == name],
            }
        )
    return rows


@call("volume.remove")
async def remove(node: Node, args: Named) -> dict[str, object]:
    await node.remove_volume(args.name)
    return {"name": args.name}


@call("volume.check")
async def check(node: Node, args: Named) -> dict[str, object]:
    """The volume is taken offline for the check and mounted again; refused while clients have it open."""
    mounted = node.volumes.get(args.name)
    if mounted is None:
        raise NotFound(f"there is no volume {args.name!r}")
    if node.serving.is_running:
        raise OperatorError(f"volume {args.name} is being served; stop the node first")
    assert mounted.metadata is not None and mounted.data is not None
    await node.unmount(args.name)
    report = await check_catalog(mounted.metadata, mounted.data, node.runtime)
    if not report.problems:
        await node.mount(args.name)
    return {
        "name": args.name,
        "files": report.files,
        "directories": report.directories,
        "allocated bytes": report.allocated_bytes,
        "consistent": not report.problems,
        "problems": report.problems,
    }
