"""Volumes as spaces of the pool: which spaces a volume is made of, making, mounting, resizing, removing them.

    NAME/metadata   the catalog; mirrored, with as many copies as the data tolerates losses, and one more
    NAME/data       the data; of a tiered volume the slow tier
    NAME/fast       the fast tier, if there are tiers

Must not decide anything that a lower layer owns: the pool checks geometry and room, the file system its own
growth. A volume that could not be made leaves nothing behind."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from cluster.errors import OperatorError
from storage.errors import PoolFull, StorageError
from storage.fs.catalog import CatalogFileSystem
from storage.pool.metadata import Awareness, MediaType
from storage.pool.pool import Pool
from storage.runtime import Runtime
from storage.space.port import Space
from storage.space.resiliency import Provisioning
from storage.space.resiliency import resiliency as find_resiliency
from storage.tier.space import Tier, TieredSpace

METADATA, DATA, FAST = "metadata", "data", "fast"
VOLUME_NAME_MAX: Final = 32
SPEED: Final = {MediaType.SCM: 0, MediaType.SSD: 1, MediaType.HDD: 2}
"""The lower, the faster."""
MIRRORS: Final = {0: "mirror", 1: "mirror", 2: "three-way-mirror"}
"""The catalog's resiliency by the losses that the data tolerates."""


@dataclass(frozen=True, slots=True)
class VolumeSpec:
    """What a volume is to be. 0 columns or interleave: chosen; `write_cache_bytes` None: chosen, 0: none.
    `tiers`: bytes on each of two media, in place of `size_bytes`."""

    name: str
    size_bytes: int = 0
    resiliency: str = "mirror"
    provisioning: Provisioning = Provisioning.THIN
    columns: int = 0
    interleave_bytes: int = 0
    write_cache_bytes: int | None = None
    media: MediaType | None = None
    awareness: Awareness = Awareness.DISK
    tiers: dict[MediaType, int] = field(default_factory=dict)


def volume_names(pool: Pool) -> list[str]:
    return sorted(name.removesuffix("/data") for name in pool.space_names if name.endswith("/data"))


def space_names(pool: Pool, name: str) -> list[str]:
    """The spaces that the volume is made of."""
    known = set(pool.space_names)
    return [one for one in (f"{name}/{part}" for part in (METADATA, DATA, FAST)) if one in known]


def check_spec(spec: VolumeSpec) -> None:
    """Raises: OperatorError."""
    name = spec.name
    if not 0 < len(name) <= VOLUME_NAME_MAX or not name.replace("-", "").replace("_", "").isalnum():
        raise OperatorError(f"{name!r} is no volume name: 1 to {VOLUME_NAME_MAX} letters, digits, - and _")
    try:
        find_resiliency(spec.resiliency)
    except ValueError as error:
        raise OperatorError(str(error)) from None
    if spec.tiers:
        if len(spec.tiers) != 2 or not set(spec.tiers) <= set(SPEED):
            raise OperatorError("a tiered volume has two tiers, of different media: scm, ssd, hdd")
        if spec.size_bytes or spec.media is not None:
            raise OperatorError("the tiers say how large a tiered volume is, and on which media")
    sizes = list(spec.tiers.values()) or [spec.size_bytes]
    if min(sizes) <= 0:
        raise OperatorError(f"a volume of {sum(sizes)} bytes cannot be made; give its size")


def metadata_size(data_bytes: int, slab_bytes: int) -> int:
    """Bytes of the metadata space for a volume: thin, so generous: a sixteenth of the data, at least 256
    MiB, whole slabs."""
    wanted = max(256 << 20, data_bytes // 16, 4 * slab_bytes)
    return -(-wanted // slab_bytes) * slab_bytes


async def make(pool: Pool, spec: VolumeSpec, runtime: Runtime) -> None:
    """The spaces, and an empty file system on them; `check_spec` let it pass. Raises: OperatorError,
    StorageError."""
    try:
        await _make_metadata(pool, spec)
        if spec.tiers:
            fast, slow = sorted(spec.tiers, key=SPEED.__getitem__)
            await _make_data(pool, spec, FAST, spec.tiers[fast], fast)
            await _make_data(pool, spec, DATA, spec.tiers[slow], slow)
        else:
            await _make_data(pool, spec, DATA, spec.size_bytes, spec.media)
        metadata, data = spaces(pool, spec.name)
        filesystem = await CatalogFileSystem.format(metadata, data, runtime, label=spec.name)
        await filesystem.close()
    except (StorageError, ValueError) as error:
        await remove(pool, spec.name)
        if isinstance(error, ValueError):
            raise OperatorError(str(error)) from None
        raise


async def _make_metadata(pool: Pool, spec: VolumeSpec) -> None:
    status = pool.status()
    size = metadata_size(spec.size_bytes or sum(spec.tiers.values()), status.slab_bytes)
    strategy = find_resiliency(spec.resiliency)
    resiliency = MIRRORS[strategy.tolerance]
    if strategy.tolerance == 0 and len(status.disks) == 1:
        resiliency = "simple"
    try:
        await pool.create_space(
            f"{spec.name}/{METADATA}", resiliency, size, columns=1, write_cache_bytes=0,
            awareness=spec.awareness,
        )  # fmt: skip
    except PoolFull as error:
        raise PoolFull(f"no room for the catalog, whatever resiliency the data has: {error}") from error


async def _make_data(
    pool: Pool, spec: VolumeSpec, part: str, size_bytes: int, media: MediaType | None
) -> None:
    await pool.create_space(
        f"{spec.name}/{part}",
        spec.resiliency,
        size_bytes,
        provisioning=spec.provisioning,
        columns=spec.columns or None,
        interleave_bytes=spec.interleave_bytes or None,
        write_cache_bytes=0 if part == FAST else spec.write_cache_bytes,
        media=media,
        awareness=spec.awareness,
    )


def spaces(pool: Pool, name: str) -> tuple[Space, Space]:
    """(metadata, data) of a volume; the data of a tiered one is both tiers. Raises: KeyError."""
    metadata, data = pool.space(f"{name}/{METADATA}"), pool.space(f"{name}/{DATA}")
    if f"{name}/{FAST}" not in pool.space_names:
        return metadata, data
    return metadata, TieredSpace({Tier.FAST: pool.space(f"{name}/{FAST}"), Tier.SLOW: data})


async def remove(pool: Pool, name: str) -> None:
    """Nobody may use the volume any more. Raises: StorageError."""
    for space in reversed(space_names(pool, name)):
        await pool.delete_space(space)


async def grow(pool: Pool, name: str, part: str, size_bytes: int) -> None:
    """The space, and the catalog's in proportion; not yet the file system. Raises: OperatorError,
    StorageError."""
    space = f"{name}/{part}"
    if space not in pool.space_names:
        raise OperatorError(f"volume {name} has no tiers")
    now = pool.space(space).size_bytes
    if size_bytes <= now:
        raise OperatorError(f"{space} has {now} bytes; a volume grows, and does not become smaller")
    catalog = pool.space(f"{name}/{METADATA}").size_bytes
    data = sum(pool.space(one).size_bytes for one in space_names(pool, name)) - catalog - now + size_bytes
    wanted = metadata_size(data, pool.status().slab_bytes)
    try:
        await pool.resize_space(space, size_bytes)
        if wanted > catalog:
            await pool.resize_space(f"{name}/{METADATA}", wanted)
    except ValueError as error:
        raise OperatorError(str(error)) from None
