"""What a pool tells about itself, with health and operational status by Windows' names.

Source: Storage Spaces and Storage Spaces Direct health and operational states. Sizes in bytes."""

from __future__ import annotations

from dataclasses import dataclass

from storage.pool.metadata import DiskState


@dataclass(frozen=True, slots=True)
class DiskStatus:
    number: int
    name: str
    size_bytes: int
    capacity_bytes: int
    allocated_bytes: int
    health: str
    operational: str
    detail: str
    repaired_blocks: int


@dataclass(frozen=True, slots=True)
class SpaceStatus:
    name: str
    resiliency: str
    copies: int
    columns: int
    interleave_bytes: int
    provisioning: str
    size_bytes: int
    allocated_bytes: int
    available_bytes: int
    footprint_bytes: int
    health: str
    operational: str


@dataclass(frozen=True, slots=True)
class PoolStatus:
    name: str
    pool_id: str
    health: str
    operational: str
    epoch: int
    slab_bytes: int
    capacity_bytes: int
    allocated_bytes: int
    free_bytes: int
    disks: tuple[DiskStatus, ...]
    spaces: tuple[SpaceStatus, ...]
    warnings: tuple[str, ...]


DISK_HEALTH = {
    DiskState.OK: ("Healthy", "OK"),
    DiskState.LOST: ("Warning", "Lost communication"),
    DiskState.FAILED: ("Warning", "IO error"),
}


def space_health(is_lost: bool, is_stale: bool, is_incomplete: bool) -> tuple[str, str]:
    """Incomplete: copies missing but still current; Degraded: missing and outdated ones; No redundancy: data
    lost."""
    if is_lost:
        return "Unhealthy", "No redundancy"
    if is_stale:
        return "Warning", "Degraded"
    if is_incomplete:
        return "Warning", "Incomplete"
    return "Healthy", "OK"
