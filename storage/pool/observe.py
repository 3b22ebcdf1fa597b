"""What is seen of a pool, for its faults: status, slab map and jobs in the words of health.py.

The margin of a space (how many more fault domains may go) is that of its worst row, over its parts too; only
rows that may lack something are looked at. Plain functions; nothing is kept. Source: docs/design-spaces.md,
"Health".
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from storage.pool.health import DiskSeen, Fault, PoolSeen, SpaceSeen, VolumeSeen, faults
from storage.pool.jobs.service import PoolJobs
from storage.pool.metadata import COPY, JOINING, STALE, DiskState, SpaceState, Usage
from storage.pool.moves import PoolHost
from storage.pool.status import DiskStatus, PoolStatus
from storage.space.resiliency import Provisioning, ResiliencyKind


def pool_faults(
    core: PoolHost, status: PoolStatus, jobs: PoolJobs, volumes: Sequence[VolumeSeen] = ()
) -> list[Fault]:
    return faults(observe(core, status, jobs, volumes))


def observe(
    core: PoolHost, status: PoolStatus, jobs: PoolJobs, volumes: Sequence[VolumeSeen] = ()
) -> PoolSeen:
    records = [state.record for state in core.state.spaces.values()]
    slow = jobs.slow_disks()
    disks = [_disk(core, one, str(slow.get(one.number, ""))) for one in status.disks]
    strangers = [
        DiskSeen(-1, one.name, one.name, "Unspecified", "", True, is_recognized=False, trouble=one.detail)
        for one in status.strangers
    ]
    return PoolSeen(
        status.name,
        status.pool_id,
        status.capacity_bytes,
        status.allocated_bytes,
        status.thin_alert_percent,
        any(record.provisioning is Provisioning.THIN for record in records),
        [*disks, *strangers],
        [_space(core, status, jobs, one) for one in core.state.spaces.values() if not one.record.parent],
        volumes,
        core.broken or "",
        jobs.automatic.repair_trouble,
    )


def _disk(core: PoolHost, status: DiskStatus, slow: str) -> DiskSeen:
    record = core.state.disks[status.number]
    is_retired = record.usage is Usage.RETIRED
    return DiskSeen(
        status.number,
        record.disk_id.hex(),
        status.name,
        status.media,
        record.fault_domain,
        status.is_there,
        record.state is DiskState.FAILED and not status.is_there,
        is_retired,
        trouble=core.members[status.number].failure or "",
        slow=slow,
        failing=slow if is_retired else "",
        silent_s=status.silent_s,
        repaired_blocks=status.repaired_blocks,
        slabs=core.slabs_on(status.number),
        size_bytes=status.size_bytes,
    )


def _space(core: PoolHost, status: PoolStatus, jobs: PoolJobs, state: SpaceState) -> SpaceSeen:
    record = state.record
    told = next((one for one in status.spaces if one.name == record.name), None)
    seen = SpaceSeen(
        record.space_id,
        record.name,
        told.resiliency if told is not None else "",
        record.tolerance,
        record.tolerance,
        degraded_bytes=told.degraded_bytes if told is not None else 0,
        is_repairing=jobs.is_repairing(),
        detached=told.detail if told is not None and told.operational == "Detached" else "",
    )
    parts = [one for one in core.state.spaces.values() if one.record.parent == record.space_id]
    lacking: set[int] = set()
    for one in (state, *parts):
        margin, found, is_other = _condition(core, one)
        lacking |= found
        seen = replace(
            seen,
            margin=min(seen.margin, margin + record.tolerance - one.record.tolerance),
            is_other=seen.is_other or is_other,
        )
    return replace(seen, lacking=tuple(sorted(lacking)))


def _condition(core: PoolHost, state: SpaceState) -> tuple[int, set[int], bool]:
    """(margin of the worst row, disks whose being away is why, is something stale on one that is there?)."""
    there = set(core.disks_there())
    is_all_there = len(there) == len(core.state.disks)
    worst, lacking, is_other = state.record.tolerance, set[int](), False
    for row in state.stale_rows if is_all_there else state.rows:
        for margin, copies in _columns(state, row, there):
            worst = min(worst, margin)
            for disk, is_stale in copies:
                if disk not in there:
                    lacking.add(disk)
                elif is_stale:
                    is_other = True
    return worst, lacking, is_other


def _columns(
    state: SpaceState, row: int, there: Collection[int]
) -> Iterator[tuple[int, list[tuple[int, bool]]]]:
    """Of each column: what may still be lost there, and its copies (disk, is it stale?)."""
    record = state.record
    every = [
        (disk, bool(flags & STALE))
        for disk, flags, _ in COPY.iter_unpack(state.rows[row])
        if not flags & JOINING
    ]
    columns = [every[at : at + record.copies] for at in range(0, len(every), record.copies)]
    good = [sum(1 for disk, stale in copies if disk in there and not stale) for copies in columns]
    bad_columns = sum(1 for count in good if not count)
    for count, copies in zip(good, columns, strict=True):
        if record.kind is ResiliencyKind.PARITY:
            yield record.parity_columns - bad_columns, copies
        else:
            yield count - 1, copies
