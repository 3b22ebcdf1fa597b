"""`sofs file`: single files of a tiered volume. [Set-FileStorageTier, Get-FileStorageTier]"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cluster.admin.registry import call
from cluster.admin.volume import catalog_of
from cluster.errors import NotFound, OperatorError
from storage.fs.catalog import CatalogFileSystem
from storage.fs.port import Node as FileNode
from storage.tier.space import Tier

if TYPE_CHECKING:
    from cluster.node import Node

HOTTEST_MAX = 20
WAIT_LOOKS, WAIT_LOOK_S = 50, 0.1


@dataclass(frozen=True, slots=True)
class FilePin:
    """`path`: from the volume's root, with backslashes."""

    volume: str
    path: str
    tier: str = "fast"


@dataclass(frozen=True, slots=True)
class FileOf:
    """`path` "": the whole volume, where that makes sense."""

    volume: str
    path: str = ""


def _find(filesystem: CatalogFileSystem, path: str) -> FileNode:
    """Raises: NotFound."""
    at = filesystem.root()
    for name in path.split("\\"):
        entry = filesystem.lookup(at, name) if at.data is None else None
        if entry is None:
            raise NotFound(f"there is no file {path!r}")
        at = entry.node
    if at.data is None:
        raise OperatorError(f"{path!r} is a directory; files are pinned one by one")
    return at


def _tiered(node: Node, volume: str) -> CatalogFileSystem:
    """Raises: NotFound, OperatorError."""
    filesystem = catalog_of(node, volume)
    if not filesystem.has_tiers:
        raise OperatorError(f"volume {volume} has no tiers; `sofs volume create --tier` makes one that has")
    return filesystem


@call("file.pin")
async def pin(node: Node, args: FilePin) -> dict[str, object]:
    filesystem = _tiered(node, args.volume)
    if args.tier not in ("fast", "slow"):
        raise OperatorError(f"the tier is fast or slow, not {args.tier!r}")
    file, tier = _find(filesystem, args.path), Tier[args.tier.upper()]
    job = node.volume_jobs.submit(
        args.volume, f"Pin {args.path} {args.tier}", lambda pace: filesystem.pin(file, tier, pace)
    )
    for _ in range(WAIT_LOOKS):  # a small file is there before the answer is
        if job.done.is_set():
            break
        await node.runtime.sleep(WAIT_LOOK_S)
    if job.done.is_set() and job.error:
        raise OperatorError(f"{args.path} is pinned, but not all of it has moved: {job.error}")
    return {"path": args.path, "tier": args.tier, "job": job.id, "moved": job.done.is_set()}


@call("file.unpin")
async def unpin(node: Node, args: FileOf) -> dict[str, object]:
    filesystem = _tiered(node, args.volume)
    await filesystem.unpin(_find(filesystem, args.path))
    return {"path": args.path, "tier": "by use"}


@call("file.tier_status")
async def tier_status(node: Node, args: FileOf) -> dict[str, object]:
    filesystem = _tiered(node, args.volume)
    return _of_file(filesystem, args.path) if args.path else _of_volume(filesystem)


def _of_file(filesystem: CatalogFileSystem, path: str) -> dict[str, object]:
    file = _find(filesystem, path)
    pinned = filesystem.pin_of(file)
    on_fast = filesystem.tier_bytes(file, Tier.FAST)
    total = sum(stream.allocated_bytes for stream in filesystem.streams(file))
    return {
        "path": path,
        "pinned": "no" if pinned is None else pinned.name.lower(),
        "fast bytes": on_fast,
        "slow bytes": total - on_fast,
    }


def _of_volume(filesystem: CatalogFileSystem) -> dict[str, object]:
    status = filesystem.tier_status()
    return {
        "fast tier hits": f"{100 * status.hit_rate:.1f} %",
        "moved up bytes": status.moved_up_bytes,
        "moved down bytes": status.moved_down_bytes,
        "passes": status.passes,
        "running": status.is_running,
        "tiers": [
            {
                "tier": tier.tier.name.lower(),
                "size bytes": tier.size_bytes,
                "used bytes": tier.taken_bytes,
                "reads": tier.reads,
                "read bytes": tier.read_bytes,
                "writes": tier.writes,
                "written bytes": tier.write_bytes,
            }
            for tier in status.tiers
        ],
        "pinned files": [
            {
                "path": file.path,
                "tier": file.tier.name.lower(),
                "allocated bytes": file.allocated_bytes,
                "elsewhere bytes": file.elsewhere_bytes,
            }
            for file in filesystem.pinned_files()
        ],
        "hottest files": [
            {"path": file.path, "heat bytes": int(file.heat_bytes)}
            for file in filesystem.hottest_files(HOTTEST_MAX)
        ],
    }
