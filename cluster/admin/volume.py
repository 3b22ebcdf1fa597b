"""`sofs volume`: volumes on the pool."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from cluster import volumes
from cluster.admin.disk import media_type
from cluster.admin.registry import Named, NoArguments, call
from cluster.errors import NotFound, OperatorError, told
from cluster.volumejobs import CONSOLIDATE, RETRIM, TIER
from cluster.volumes import VolumeSpec
from storage.cache.status import CacheStatus
from storage.fs.catalog import CatalogFileSystem
from storage.fs.check import check_catalog
from storage.pool.metadata import Awareness, MediaType
from storage.space.resiliency import Provisioning

if TYPE_CHECKING:
    from cluster.node import MountedVolume, Node

AUTO = -1


@dataclass(frozen=True, slots=True)
class VolumeCreate:
    """`columns` and `interleave_bytes` 0, `write_cache_bytes` -1: chosen by the pool. `tiers`: bytes by
    medium, two of them, in place of `size_bytes`."""

    name: str
    size_bytes: int = 0
    resiliency: str = "mirror"
    provisioning: str = "thin"
    columns: int = 0
    interleave_bytes: int = 0
    write_cache_bytes: int = AUTO
    media: str = ""
    awareness: str = "disk"
    tiers: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class VolumeResize:
    """`tier`: "fast" or "slow" of a tiered volume."""

    name: str
    size_bytes: int
    tier: str = ""


@dataclass(frozen=True, slots=True)
class VolumeOptimize:
    """None of them: what the volume's kind asks for."""

    name: str
    retrim: bool = False
    tier: bool = False
    slab_consolidate: bool = False


def _provisioning(name: str) -> Provisioning:
    if name not in ("thin", "fixed"):
        raise OperatorError(f"provisioning is thin or fixed, not {name!r}")
    return Provisioning[name.upper()]


def _awareness(name: str) -> Awareness:
    try:
        return Awareness[name.upper()]
    except KeyError:
        raise OperatorError(f"copies are kept apart by disk, node, chassis or rack, not {name!r}") from None


def _tiers(given: dict[str, int]) -> dict[MediaType, int]:
    if not all(type(size) is int for size in given.values()):
        raise OperatorError("a tier has a size in bytes")
    return {media_type(name): size for name, size in given.items()}


@call("volume.create")
async def create(node: Node, args: VolumeCreate) -> dict[str, object]:
    spec = VolumeSpec(
        args.name,
        args.size_bytes,
        args.resiliency,
        _provisioning(args.provisioning),
        args.columns,
        args.interleave_bytes,
        None if args.write_cache_bytes == AUTO else args.write_cache_bytes,
        media_type(args.media) if args.media else None,
        _awareness(args.awareness),
        _tiers(args.tiers),
    )
    await node.create_volume(spec)
    return {"name": args.name}


def _mounted(node: Node, name: str) -> MountedVolume:
    found = node.volumes.get(name)
    if found is None:
        raise NotFound(f"there is no volume {name!r}; `sofs volume list` shows those there are")
    return found


@call("volume.list")
async def listing(node: Node, args: NoArguments) -> list[dict[str, object]]:
    pool = node.require_pool()
    known = {space.name: space for space in pool.status().spaces}
    rows: list[dict[str, object]] = []
    for name in node.volume_names():
        parts = [known[space] for space in volumes.space_names(pool, name)]
        data = [part for part in parts if not part.name.endswith("/metadata")]
        worst = max(parts, key=lambda part: HEALTH.index(part.health))
        mounted = node.volumes.get(name)
        usage = mounted.volume.usage() if mounted is not None else None
        health, operational = worst.health, worst.operational
        if name in node.detached:
            health, operational = "Unknown", "Detached"
        rows.append(
            {
                "name": name,
                "health": health,
                "operational": operational,
                "resiliency": data[0].resiliency,
                "columns": data[0].columns,
                "provisioning": data[0].provisioning,
                "size bytes": sum(part.size_bytes for part in data),
                "free bytes": usage.free_bytes if usage is not None else None,
                "footprint bytes": sum(part.footprint_bytes for part in parts),
                "write cache bytes": sum(part.write_cache_bytes for part in data),
                "write cache dirty bytes": sum(part.cache.dirty_bytes for part in data if part.cache),
                "tiered": len(data) > 1,
                "shares": [share.name for share in node.shares if share.volume == name],
                "detail": node.detached.get(name, ""),
            }
        )
    return rows


@call("volume.cache")
async def caches(node: Node, args: NoArguments) -> list[dict[str, object]]:
    """What the write-back caches do; counted since the pool was opened."""
    pool = node.require_pool()
    known = {space.name: space for space in pool.status().spaces}
    spaces = [(name, known[part]) for name in node.volume_names() for part in volumes.space_names(pool, name)]
    cached = [(name, space.name, space.cache) for name, space in spaces if space.cache is not None]
    return [{"name": name, "space": space, **_cache_row(cache)} for name, space, cache in cached]


def _cache_row(cache: CacheStatus) -> dict[str, object]:
    return {
        "state": cache.state,
        "size bytes": cache.size_bytes,
        "fill percent": cache.fill_percent,
        "dirty bytes": cache.dirty_bytes,
        "written bytes": cache.written_bytes,
        "destaged bytes": cache.destaged_bytes,
        "absorbed bytes": cache.absorbed_bytes,
        "passed bytes": cache.passed_bytes,
        "journal bytes": cache.journal_written_bytes,
        "reads": cache.reads,
        "hits": cache.hits,
        "slowed writes": cache.slowed,
        "trouble": cache.trouble,
    }


HEALTH = ("Healthy", "Unknown", "Warning", "Unhealthy")
"""From the best to the worst."""


@call("volume.remove")
async def remove(node: Node, args: Named) -> dict[str, object]:
    await node.remove_volume(args.name)
    return {"name": args.name}


@call("volume.resize")
async def resize(node: Node, args: VolumeResize) -> dict[str, object]:
    mounted = _mounted(node, args.name)
    parts = {"": volumes.DATA, "slow": volumes.DATA, "fast": volumes.FAST}
    if args.tier not in parts:
        raise OperatorError(f"the tier is fast or slow, not {args.tier!r}")
    await node.resize_volume(args.name, parts[args.tier], args.size_bytes)
    return {"name": args.name, "size bytes": mounted.volume.usage().total_bytes}


@call("volume.repair")
async def repair(node: Node, args: Named) -> dict[str, object]:
    pool = node.require_pool()
    _mounted(node, args.name)
    return {"jobs": [await told(pool.jobs.repair(space)) for space in volumes.space_names(pool, args.name)]}


@call("volume.scrub")
async def scrub(node: Node, args: Named) -> dict[str, object]:
    pool = node.require_pool()
    _mounted(node, args.name)
    return {"jobs": [await told(pool.jobs.scrub(space)) for space in volumes.space_names(pool, args.name)]}


def catalog_of(node: Node, name: str) -> CatalogFileSystem:
    """Raises: NotFound."""
    filesystem = _mounted(node, name).filesystem
    assert isinstance(filesystem, CatalogFileSystem), "a volume of the pool has a catalog"
    return filesystem


@call("volume.optimize")
async def optimize(node: Node, args: VolumeOptimize) -> dict[str, object]:
    """Without a wish: tiers are optimised, slabs consolidated, free space trimmed, as Optimize-Volume
    does."""
    filesystem = catalog_of(node, args.name)
    wishes = ((TIER, args.tier), (CONSOLIDATE, args.slab_consolidate), (RETRIM, args.retrim))
    kinds = [kind for kind, is_wanted in wishes if is_wanted]
    if args.tier and not filesystem.has_tiers:
        raise OperatorError(f"volume {args.name} has no tiers")
    if not kinds:
        kinds = ([TIER] if filesystem.has_tiers else []) + [CONSOLIDATE, RETRIM]
    return {"jobs": [node.volume_jobs.optimize(args.name, kind, filesystem).id for kind in kinds]}


@dataclass(frozen=True, slots=True)
class VolumeTiering:
    """-1: leave it as it is. `half_life_s`: how soon heat is forgotten; `pass_s`: how often files are moved;
    `rate_bytes_s`: how much at most."""

    name: str
    half_life_s: int = -1
    pass_s: int = -1
    rate_bytes_s: int = -1


@call("volume.tiering")
async def tiering(node: Node, args: VolumeTiering) -> dict[str, object]:
    """The settings that apply then."""
    filesystem = catalog_of(node, args.name)
    if not filesystem.has_tiers:
        raise OperatorError(f"volume {args.name} has no tiers")
    given = {"half_life_s": args.half_life_s, "pass_s": args.pass_s, "rate_bytes_s": args.rate_bytes_s}
    changes: dict[str, Any] = {key: value for key, value in given.items() if value != -1}
    if changes:
        try:
            filesystem.set_tier_settings(replace(filesystem.tier_settings, **changes))
        except ValueError as error:
            raise OperatorError(str(error)) from None
    now = filesystem.tier_settings
    return {
        "name": args.name,
        "half-life seconds": int(now.half_life_s),
        "seconds between passes": int(now.pass_s),
        "bytes a second": now.rate_bytes_s,
    }


@call("volume.check")
async def check(node: Node, args: Named) -> dict[str, object]:
    """The volume is taken offline for the check and mounted again; refused while it is served."""
    if args.name not in node.detached:
        _mounted(node, args.name)
    if node.serving.is_running:
        raise OperatorError(f"volume {args.name} is being served; stop the node first")
    if args.name in node.volumes:
        await node.unmount(args.name)
    metadata, data = volumes.spaces(node.require_pool(), args.name)
    report = await check_catalog(metadata, data, node.runtime)
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
