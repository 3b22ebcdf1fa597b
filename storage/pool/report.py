"""Status of a pool, its disks and its spaces, by observation: computed from what is there each time.

    copies of a row, disks there -> lost | missing and outdated | missing | whole      (the worst row counts)
        No redundancy   Degraded               Incomplete   OK

A space that is being repaired is InService; one that is whole but unevenly spread is Suboptimal. Plain
functions. Source: Storage Spaces health and operational states.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from storage.cache.status import CacheStatus
from storage.pool.copies import READ_ERRORS_MAX
from storage.pool.jobs.service import PoolJobs
from storage.pool.metadata import (
    COPY,
    JOINING,
    STALE,
    DiskFlags,
    DiskRecord,
    DiskState,
    SpaceState,
    Usage,
)
from storage.pool.moves import PoolHost
from storage.pool.opening import Stranger
from storage.pool.status import DiskStatus, PoolStatus, SpaceStatus, StrangerStatus
from storage.space.machine import SpaceMachine
from storage.space.resiliency import ResiliencyKind, resiliency_of

USAGE_NAMES: Final = {
    Usage.AUTO_SELECT: "Auto-Select",
    Usage.MANUAL_SELECT: "Manual-Select",
    Usage.HOT_SPARE: "Hot Spare",
    Usage.RETIRED: "Retired",
    Usage.JOURNAL: "Journal",
}
UNDER_WAY: Final = ("New", "Running", "Suspended")
MEDIA_NAMES: Final = {0: "Unspecified", 3: "HDD", 4: "SSD", 5: "SCM"}


@dataclass(slots=True)
class Condition:
    """Of a space: slabs that are missing or outdated, rows with an outdated one, rows beyond repair."""

    missing: int = 0
    stale: int = 0
    lost_rows: int = 0

    def add(self, other: Condition) -> None:
        self.missing += other.missing
        self.stale += other.stale
        self.lost_rows += other.lost_rows


def condition_of(space: SpaceState, there: Collection[int], is_all_there: bool) -> Condition:
    """Only rows that may lack something are looked at."""
    found = Condition()
    record = space.record
    is_parity = record.kind is ResiliencyKind.PARITY
    for row in space.stale_rows if is_all_there else space.rows:
        regular = [one for one in COPY.iter_unpack(space.rows[row]) if not one[1] & JOINING]
        bad = [disk not in there or bool(flags & STALE) for disk, flags, _ in regular]
        if not any(bad):
            continue
        found.missing += sum(bad)
        found.stale += sum(1 for _, flags, _ in regular if flags & STALE)
        each = record.copies
        columns = [all(bad[at : at + each]) for at in range(0, len(bad), each)]
        found.lost_rows += sum(columns) > (record.parity_columns if is_parity else 0)
    return found


class Conditions:
    """Of the spaces, as last looked at: a pool of which a disk is away has many rows to look at."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[tuple[int, frozenset[int]], Condition]] = {}

    def of(self, space: SpaceState, there: frozenset[int], is_all_there: bool) -> Condition:
        key = space.changes, there
        known = self._known.get(space.record.space_id)
        if known is None or known[0] != key:
            known = key, condition_of(space, there, is_all_there)
            self._known[space.record.space_id] = known
        return known[1]


def space_health(condition: Condition, is_repairing: bool, is_suboptimal: bool) -> tuple[str, str]:
    """Incomplete: copies missing but still current; Degraded: missing and outdated ones; No redundancy: data
    lost."""
    if condition.lost_rows:
        return "Unhealthy", "No redundancy"
    if condition.missing and is_repairing:
        return "Warning", "InService"
    if condition.stale:
        return "Warning", "Degraded"
    if condition.missing:
        return "Warning", "Incomplete"
    return "Healthy", "Suboptimal" if is_suboptimal else "OK"


def disk_health(disk: DiskRecord, is_slow: bool, read_errors: int, is_removing: bool) -> tuple[str, str]:
    if disk.flags & DiskFlags.MAINTENANCE:
        return "Warning", "In maintenance mode"
    if disk.state is DiskState.LOST:
        return "Warning", "Lost communication"
    if disk.state is DiskState.FAILED:
        return "Warning", "IO error"
    if is_removing:
        return "Warning", "Removing from pool"
    if disk.usage is Usage.RETIRED:
        return "Warning", "Retired"
    if is_slow:
        return "Warning", "Abnormal latency"
    if read_errors >= READ_ERRORS_MAX // 2:
        return "Warning", "Predictive failure"
    return "Healthy", "OK"


def disk_status(core: PoolHost, number: int, removing: Collection[str]) -> DiskStatus:
    record, member = core.state.disks[number], core.members[number]
    slab, now = core.slab_bytes, core.runtime.now()
    slow = core.slow_disks().get(number)
    is_removing = f"disk {number}" in removing
    health, operational = disk_health(record, slow is not None, member.read_errors, is_removing)
    since = member.away_since_s
    return DiskStatus(
        number,
        record.name,
        record.size_bytes,
        record.slab_count * slab,
        core.slabs_on(number) * slab,
        health,
        operational,
        member.failure or ("" if slow is None else str(slow)),
        member.repaired_blocks,
        MEDIA_NAMES[record.media],
        USAGE_NAMES[record.usage],
        record.fault_domain,
        member.read_errors,
        member.disk is not None,
        0.0 if since is None else now - since,
        member.meter.silent_s(now),
    )


def space_status(
    core: PoolHost,
    conditions: Conditions,
    machine: SpaceMachine,
    parts: Sequence[SpaceMachine],
    jobs: PoolJobs,
    trouble: str,
    cache: CacheStatus | None,
) -> SpaceStatus:
    record = machine.state.record
    there = frozenset(core.disks_there())
    condition = Condition()
    for one in (machine, *parts):
        condition.add(conditions.of(one.state, there, len(there) == len(core.state.disks)))
    health, operational = space_health(condition, jobs.is_repairing(), jobs.is_suboptimal())
    if trouble:
        health, operational = "Unknown", "Detached"
    slab = core.slab_bytes
    rows = len(machine.state.rows)
    row_bytes = record.data_columns * slab
    could = core.rows_available(machine) * row_bytes
    rest = max(0, -(-record.size_bytes // row_bytes) - rows) * row_bytes
    footprint = sum(
        len(one.state.rows) * one.state.record.columns * one.state.record.copies for one in (machine, *parts)
    )
    journal = sum(one.state.record.size_bytes for one in parts if one.name.endswith("#journal"))
    return SpaceStatus(
        record.name,
        resiliency_of(record.kind, record.copies, record.parity_columns).name,
        record.copies,
        record.columns,
        record.interleave_bytes,
        record.provisioning.name.lower(),
        record.size_bytes,
        min(rows * row_bytes, record.size_bytes),
        min(could, rest),
        footprint * slab,
        health,
        operational,
        trouble,
        record.parity_columns,
        record.tolerance,
        MEDIA_NAMES[record.media],
        record.awareness.name.capitalize(),
        condition.missing * slab,
        condition.lost_rows * row_bytes,
        journal,
        cache,
    )


def pool_status(
    core: PoolHost,
    spaces: tuple[SpaceStatus, ...],
    jobs: PoolJobs,
    strangers: Sequence[Stranger],
    warnings: Sequence[str],
) -> PoolStatus:
    pool = core.state.pool
    running = jobs.jobs()
    removing = {job.target for job in running if job.kind == "Remove" and job.state in UNDER_WAY}
    disks = tuple(disk_status(core, number, removing) for number in sorted(core.state.disks))
    capacity = sum(disk.capacity_bytes for disk in disks)
    allocated = sum(disk.allocated_bytes for disk in disks)
    health, operational = "Healthy", "OK"
    if core.broken is not None:
        health, operational = "Unhealthy", "Read-only"
    elif any(disk.health != "Healthy" for disk in disks):
        health, operational = "Warning", "Degraded"
    filled = set(core.disks_filled())
    reserve = max((disk.capacity_bytes for disk in disks if disk.number in filled), default=0)
    usable = sum(disk.capacity_bytes - disk.allocated_bytes for disk in disks if disk.number in filled)
    return PoolStatus(
        pool.name,
        pool.pool_id.hex(),
        health,
        operational,
        core.epoch,
        core.slab_bytes,
        capacity,
        allocated,
        capacity - allocated,
        disks,
        spaces,
        tuple(warnings),
        pool.version,
        "Incomplete" if core.broken is not None else "",
        tuple(StrangerStatus(one.disk.name, "Unhealthy", one.operational, one.detail) for one in strangers),
        tuple(running),
        sum(_provisioned(state, core.slab_bytes) for state in core.state.spaces.values()),
        pool.thin_alert_percent,
        100 * allocated >= pool.thin_alert_percent * capacity > 0,
        reserve,
        usable >= reserve,
        pool.retire_missing.name.capitalize(),
        pool.retire_delay_s,
        pool.repair_queue_depth,
    )


def _provisioned(state: SpaceState, slab_bytes: int) -> int:
    record = state.record
    rows = -(-record.size_bytes // (record.data_columns * slab_bytes))
    return rows * record.columns * record.copies * slab_bytes
