"""What a pool tells about itself, with health and operational status by Windows' names.

Source: Storage Spaces and Storage Spaces Direct health and operational states. Sizes in bytes."""

from __future__ import annotations

from dataclasses import dataclass

from storage.cache.status import CacheStatus
from storage.pool.jobs.job import JobStatus


@dataclass(frozen=True, slots=True)
class DiskStatus:
    """`capacity`: its slabs; `allocated`: those that a row has. `read_errors`: since the pool was opened."""

    number: int
    name: str
    size_bytes: int
    capacity_bytes: int
    allocated_bytes: int
    health: str
    operational: str
    detail: str
    repaired_blocks: int
    media: str = "Unspecified"
    usage: str = "Auto-Select"
    fault_domain: str = ""
    read_errors: int = 0
    is_there: bool = True
    away_s: float = 0.0
    silent_s: float = 0.0
    """For how long its oldest call has gone unanswered."""


@dataclass(frozen=True, slots=True)
class StrangerStatus:
    """A disk that was given when the pool was opened, and is no member."""

    name: str
    health: str
    operational: str
    detail: str


@dataclass(frozen=True, slots=True)
class SpaceStatus:
    """`degraded`: bytes of slabs that are missing or outdated. `columns` counts parity too. What is said of
    health goes for its parts (journal, checksums) as well; `footprint` counts them."""

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
    detail: str = ""
    parity_columns: int = 0
    tolerance: int = 0
    media: str = "Unspecified"
    awareness: str = "Disk"
    degraded_bytes: int = 0
    lost_bytes: int = 0
    """Slabs of which too many copies are gone."""
    write_cache_bytes: int = 0
    cache: CacheStatus | None = None
    """Of its write-back cache, if it has one that is in use."""


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
    version: int = 1
    read_only_reason: str = ""
    """Incomplete: too few disks take changes."""
    strangers: tuple[StrangerStatus, ...] = ()
    jobs: tuple[JobStatus, ...] = ()
    provisioned_bytes: int = 0
    """What all spaces may come to take, every copy counted."""
    thin_alert_percent: int = 70
    is_thin_alert: bool = False
    reserve_bytes: int = 0
    """To be kept free, so that the largest disk can be rebuilt at once."""
    is_reserve_kept: bool = True
    retire_missing: str = "Auto"
    retire_delay_s: int = 300
    repair_queue_depth: int = 4
