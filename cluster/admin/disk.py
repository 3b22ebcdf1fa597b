"""`sofs disk`: physical disks, in the pool or about to come or go. A disk of the pool is named by its number
or by its path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cluster.admin.registry import Named, NoArguments, call
from cluster.errors import NotFound, OperatorError, told
from storage.pool.metadata import MediaType, Usage
from storage.pool.status import DiskStatus

if TYPE_CHECKING:
    from cluster.node import Node

FAULT_DOMAIN_MAX = 128
SECONDS_MAX = 60


@dataclass(frozen=True, slots=True)
class DiskSet:
    """"": leave it as it is. `fault_domain` "-": none of its own."""

    name: str
    media: str = ""
    usage: str = ""
    fault_domain: str = ""


@dataclass(frozen=True, slots=True)
class DiskReplace:
    """`disk_bytes`: the size if `by` is a file that is not there yet; 0: as large as the old one."""

    name: str
    by: str
    disk_bytes: int = 0


@dataclass(frozen=True, slots=True)
class DiskIdentify:
    name: str
    seconds: int = 10


def find_disk(node: Node, name: str) -> DiskStatus:
    """Raises: NotFound."""
    for disk in node.require_pool().status().disks:
        if name in (str(disk.number), disk.name):
            return disk
    raise NotFound(f"the pool has no disk {name!r}; `sofs disk list` shows those there are")


def media_type(name: str) -> MediaType:
    """Raises: OperatorError."""
    try:
        return MediaType[name.upper()]
    except KeyError:
        raise OperatorError(f"the media type is hdd, ssd, scm or unspecified, not {name!r}") from None


def disk_usage(name: str) -> Usage:
    """By its name with or without hyphens, as "hot-spare" or "HotSpare". Raises: OperatorError."""
    wanted = name.lower().replace("-", "").replace("_", "").replace(" ", "")
    for usage in Usage:
        if usage.name.lower().replace("_", "") == wanted:
            return usage
    raise OperatorError(
        f"the usage is auto-select, manual-select, hot-spare, retired or journal, not {name!r}"
    )


def fault_domain(text: str) -> str:
    """A path rack/chassis/node, or its end. Raises: OperatorError."""
    parts = text.split("/")
    if len(text) > FAULT_DOMAIN_MAX or len(parts) > 3 or not all(part.isprintable() for part in parts):
        raise OperatorError(f"{text!r} is no fault domain; write RACK/CHASSIS/NODE or the end of it")
    return text


@call("disk.list")
async def listing(node: Node, args: NoArguments) -> list[dict[str, object]]:
    return [
        {
            "number": disk.number,
            "name": disk.name,
            "media": disk.media,
            "usage": disk.usage,
            "health": disk.health,
            "operational": disk.operational,
            "size bytes": disk.size_bytes,
            "allocated bytes": disk.allocated_bytes,
            "fault domain": disk.fault_domain,
            "repaired blocks": disk.repaired_blocks,
            "detail": disk.detail,
        }
        for disk in node.require_pool().status().disks
    ]


@call("disk.set")
async def change(node: Node, args: DiskSet) -> dict[str, object]:
    disk = find_disk(node, args.name)
    if not (args.media or args.usage or args.fault_domain):
        raise OperatorError("nothing to set; give --media, --usage or --fault-domain")
    domain = "" if args.fault_domain == "-" else fault_domain(args.fault_domain)
    media = media_type(args.media) if args.media else None
    usage = disk_usage(args.usage) if args.usage else None
    new_domain = domain if args.fault_domain else None
    pool = node.require_pool()
    await told(pool.set_disk(disk.number, media=media, usage=usage, fault_domain=new_domain))
    return {"number": disk.number, "name": disk.name}


@call("disk.retire")
async def retire(node: Node, args: Named) -> dict[str, object]:
    disk = find_disk(node, args.name)
    await told(node.require_pool().retire_disk(disk.number))
    return {"number": disk.number, "name": disk.name, "usage": "Retired"}


@call("disk.remove")
async def remove(node: Node, args: Named) -> dict[str, object]:
    disk = find_disk(node, args.name)
    job = await node.physical.remove(disk)
    return {"number": disk.number, "name": disk.name, "job": job}


@call("disk.replace")
async def replace(node: Node, args: DiskReplace) -> dict[str, object]:
    disk = find_disk(node, args.name)
    number = await node.physical.replace(disk, args.by, args.disk_bytes or disk.size_bytes)
    return {"replaced": disk.name, "number": number, "name": args.by}


@call("disk.reset")
async def reset(node: Node, args: Named) -> dict[str, object]:
    await node.physical.reset(args.name)
    return {"name": args.name}


@call("disk.identify")
async def identify(node: Node, args: DiskIdentify) -> dict[str, object]:
    disk = find_disk(node, args.name)
    if not 0 < args.seconds <= SECONDS_MAX:
        raise OperatorError(f"a light is on for 1 to {SECONDS_MAX} seconds")
    how = await node.physical.identify(disk, args.seconds)
    return {"number": disk.number, "name": disk.name, "fault domain": disk.fault_domain, "how": how}
