"""Faults of a pool, by observation: what is wrong now, why, and what to do; by the Health Service's names.

    what is seen (disks, spaces, volumes, jobs) -> conditions -> folded by root cause -> faults
    faults then, faults now -> created, removed, updated

A fault is there while its condition is seen and gone when it isn't: nobody acknowledges one. Its id comes
from its type and object alone, so the same trouble has the same id at every look and after every restart.
Folding: an enclosure of which every disk is away hides its disks; a disk that is away or failing hides "needs
repair" of the spaces which lack nothing but its slabs, unless repair itself was in vain; data that hangs on
its last copy, or is lost, is never hidden.

Must not: look at anything, or remember: what is seen comes in whole. Sizes in bytes. No I/O.
Source: Health Service faults (fields, types, severities); Storage Spaces health and operational states.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

PREFIX: Final = "Microsoft.Health.FaultType."
ERRORS_HIGH: Final = 16
"""Blocks repaired on one disk since the pool was opened; more is no chance."""
SILENT_S: Final = 30.0
VOLUME_WARN: Final = 0.80
VOLUME_ERROR: Final = 0.90


class Severity(IntEnum):
    """PerceivedSeverity."""

    INFORMATION = 4
    WARNING = 5
    ERROR = 6


class Change(IntEnum):
    """ChangeType of a fault's event."""

    CREATE = 0
    REMOVE = 1
    UPDATE = 2


@dataclass(frozen=True, slots=True)
class Fault:
    """`object_id` is what `fault_id` is made of beside the type."""

    fault_type: str
    severity: Severity
    reason: str
    object_id: str
    object_description: str
    object_location: str
    recommended_actions: tuple[str, ...]

    @property
    def fault_id(self) -> str:
        digest = hashlib.sha256(f"{self.fault_type}\0{self.object_id}".encode()).hexdigest()
        return "-".join((digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:32]))

    def fields(self) -> dict[str, str | int | list[str]]:
        """By the Health Service's names."""
        return {
            "FaultId": self.fault_id,
            "FaultType": PREFIX + self.fault_type,
            "PerceivedSeverity": int(self.severity),
            "Reason": self.reason,
            "FaultingObjectDescription": self.object_description,
            "FaultingObjectLocation": self.object_location,
            "RecommendedActions": list(self.recommended_actions),
        }


# -- what is seen ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DiskSeen:
    """`trouble`: what the disk or its label last said was wrong. `slow`: how it is slower than its peers.
    `failing`: why it was retired although it still answers."""

    number: int
    disk_id: str
    name: str
    media: str
    location: str
    is_there: bool
    is_failed: bool = False
    is_retired: bool = False
    is_recognized: bool = True
    trouble: str = ""
    slow: str = ""
    failing: str = ""
    silent_s: float = 0.0
    repaired_blocks: int = 0
    slabs: int = 0
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class SpaceSeen:
    """`margin`: fault domains that may still be lost; below 0: data is lost. `lacking`: disks whose being
    away
    or retired is why it isn't whole. `is_other`: something else is why, too."""

    space_id: int
    name: str
    resiliency: str
    tolerance: int
    margin: int
    lacking: tuple[int, ...] = ()
    is_other: bool = False
    degraded_bytes: int = 0
    is_repairing: bool = False
    detached: str = ""


@dataclass(frozen=True, slots=True)
class VolumeSeen:
    name: str
    size_bytes: int
    used_bytes: int


@dataclass(frozen=True, slots=True)
class PoolSeen:
    """`stopped`: why it takes no more changes. `repair_trouble`: why repair was in vain three times."""

    name: str
    pool_id: str
    capacity_bytes: int
    allocated_bytes: int
    thin_alert_percent: int
    has_thin: bool
    disks: Sequence[DiskSeen]
    spaces: Sequence[SpaceSeen]
    volumes: Sequence[VolumeSeen] = ()
    stopped: str = ""
    repair_trouble: str = ""


# -- the look ----------------------------------------------------------------------------------------------


def faults(seen: PoolSeen) -> list[Fault]:
    """The gravest first, then by type and object."""
    found = [*_disks(seen), *_spaces(seen), *_capacity(seen)]
    return sorted(found, key=lambda fault: (-fault.severity, fault.fault_type, fault.object_id))


def changes(before: Sequence[Fault], after: Sequence[Fault]) -> list[tuple[Change, Fault]]:
    """What to tell whoever watches."""
    old = {fault.fault_id: fault for fault in before}
    new = {fault.fault_id: fault for fault in after}
    told = [(Change.REMOVE, fault) for key, fault in old.items() if key not in new]
    for key, fault in new.items():
        if key not in old:
            told.append((Change.CREATE, fault))
        elif old[key] != fault:
            told.append((Change.UPDATE, fault))
    return told


def _disks(seen: PoolSeen) -> Iterator[Fault]:
    enclosures: dict[str, list[DiskSeen]] = {}
    for disk in seen.disks:
        if disk.location:
            enclosures.setdefault(disk.location, []).append(disk)
    hidden: set[int] = set()
    for location, disks in sorted(enclosures.items()):
        if len(disks) > 1 and not any(disk.is_there for disk in disks):
            hidden.update(disk.number for disk in disks)
            yield Fault(
                "StorageEnclosure.LostCommunication",
                Severity.ERROR,
                f"None of its {len(disks)} disks can be reached.",
                f"{seen.pool_id}/{location}",
                f"Fault domain {location}",
                location,
                ("Check its power and its connection.", "Its data is brought up to date when it is back."),
            )
    for disk in seen.disks:
        if disk.number not in hidden:
            fault = _disk(seen, disk)
            if fault is not None:
                yield fault


def _disk(seen: PoolSeen, disk: DiskSeen) -> Fault | None:
    """One disk, one fault: the gravest."""

    def fault(kind: str, severity: Severity, reason: str, *actions: str) -> Fault:
        where = disk.location or seen.name
        what = f"Disk {disk.number} {disk.name} ({disk.media}, {_size(disk.size_bytes)})"
        return Fault("PhysicalDisk." + kind, severity, reason, disk.disk_id, what, where, actions)

    detail = f" {disk.trouble}" if disk.trouble else ""
    replace = "Replace the disk: sofs disk replace."
    if disk.is_retired and not disk.is_there and not disk.slabs:
        return fault(
            "LostCommunication",
            Severity.INFORMATION,
            "It is away, and all its data lies elsewhere.",
            "Remove it from the pool: sofs disk remove.",
        )
    if not disk.is_recognized:
        return fault(
            "UnrecognizedMetadata",
            Severity.WARNING,
            f"The disk has unrecognized metadata.{detail}",
            "If nothing on it is needed, reset it: sofs disk reset.",
        )
    if disk.is_failed:
        return fault("FailedMedia", Severity.ERROR, f"The disk failed.{detail}", replace)
    if not disk.is_there:
        return fault(
            "LostCommunication",
            Severity.WARNING,
            f"Communication with the disk was lost.{detail}",
            "Check its power and its connection.",
            replace,
        )
    if disk.silent_s > SILENT_S:
        return fault(
            "Unresponsive", Severity.ERROR, f"The disk has not answered for {int(disk.silent_s)} s.", replace
        )
    if disk.failing:
        return fault(
            "PredictiveFailure",
            Severity.WARNING,
            f"The disk is about to fail: {disk.failing}. Its data moves elsewhere.",
            replace,
        )
    if disk.slow:
        return fault("HighLatency.Outlier", Severity.WARNING, f"The disk is slow: {disk.slow}.", replace)
    if disk.repaired_blocks >= ERRORS_HIGH:
        return fault(
            "HighErrorCount",
            Severity.WARNING,
            f"{disk.repaired_blocks} blocks on it failed their checksum and were repaired.",
            "Check its cables and its controller.",
            replace,
        )
    return None


def _spaces(seen: PoolSeen) -> Iterator[Fault]:
    told = {disk.number for disk in seen.disks if not disk.is_there or disk.is_failed or disk.slow}
    for space in seen.spaces:
        what = f"Virtual disk {space.name} ({space.resiliency})"
        away = [disk.name for disk in seen.disks if disk.number in space.lacking and not disk.is_there]
        bring = (f"Bring back {', '.join(away)}.",) if away else ()

        def fault(
            kind: str,
            severity: Severity,
            reason: str,
            *actions: str,
            about: tuple[int, str] = (space.space_id, what),
        ) -> Fault:
            object_id = f"{seen.pool_id}/{about[0]}"
            return Fault("VirtualDisks." + kind, severity, reason, object_id, about[1], seen.name, actions)

        if seen.stopped or space.detached:
            yield fault(
                "Detached",
                Severity.ERROR,
                f"It is inaccessible. {space.detached or seen.stopped}",
                *bring,
                "Bring the missing disks back, then open the pool again.",
            )
        elif space.margin < 0:
            yield fault(
                "NoRedundancy",
                Severity.ERROR,
                "Some of its data cannot be read: too many disks are gone.",
                *bring,
                "Restore what is damaged from a backup if they don't come back.",
            )
        elif space.margin == 0 < space.tolerance:
            yield fault(
                "LastCopy",
                Severity.ERROR,
                f"Some of its data ({_size(space.degraded_bytes)}) hangs on its last copy.",
                *bring,
                *_repair_actions(seen, space),
            )
        elif space.degraded_bytes and (
            seen.repair_trouble or space.is_other or not space.lacking or not told.issuperset(space.lacking)
        ):
            trouble = f" Repair was in vain: {seen.repair_trouble}" if seen.repair_trouble else ""
            yield fault(
                "NeedsRepair",
                Severity.WARNING,
                f"{_size(space.degraded_bytes)} of its data are not fully resilient.{trouble}",
                *bring,
                *_repair_actions(seen, space),
            )


def _repair_actions(seen: PoolSeen, space: SpaceSeen) -> tuple[str, ...]:
    if seen.repair_trouble:
        return ("Add a disk: sofs pool add-disk.", "Then repair: sofs volume repair.")
    if space.is_repairing:
        return ("Wait for the repair job: sofs job watch.",)
    return ("Repair: sofs volume repair.",)


def _capacity(seen: PoolSeen) -> Iterator[Fault]:
    sizes = sorted((d.size_bytes for d in seen.disks if d.is_there and not d.is_retired), reverse=True)
    free = seen.capacity_bytes - seen.allocated_bytes
    about = (seen.pool_id, f"Pool {seen.name}", seen.name)
    add = "Add disks: sofs pool add-disk."
    if seen.capacity_bytes and 100 * seen.allocated_bytes >= seen.thin_alert_percent * seen.capacity_bytes:
        percent = 100 * seen.allocated_bytes // seen.capacity_bytes
        if seen.has_thin:
            yield Fault(
                "StoragePool.PoolCapacityThresholdExceeded",
                Severity.WARNING,
                f"{percent} % of the pool are allocated; the limit is {seen.thin_alert_percent} %.",
                *about,
                (add, "Delete what is not needed, or give unused slabs back: sofs volume optimize --retrim."),
            )
    if sizes and any(space.tolerance for space in seen.spaces) and free < sizes[0]:
        yield Fault(
            "StoragePool.InsufficientReserveCapacity",
            Severity.WARNING,
            f"{_size(free)} are free, less than the largest disk ({_size(sizes[0])}): "
            "if it fails, not all of its data can be rebuilt.",
            *about,
            (add,),
        )
    for volume in seen.volumes:
        share = volume.used_bytes / volume.size_bytes if volume.size_bytes else 0.0
        if share >= VOLUME_WARN:
            yield Fault(
                "Volume.Capacity",
                Severity.ERROR if share >= VOLUME_ERROR else Severity.WARNING,
                f"{int(100 * share)} % of the volume are in use.",
                f"{seen.pool_id}/{volume.name}",
                f"Volume {volume.name}",
                seen.name,
                ("Delete what is not needed, or make the volume larger: sofs volume resize.",),
            )


def _size(count: int) -> str:
    value, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB", "PiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
