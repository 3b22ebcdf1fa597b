"""QUERY_INFO of a volume. Source: [MS-SMB2] 3.3.5.20.2 Handling SMB2_0_INFO_FILESYSTEM; [MS-FSA] 2.1.5.13
Server Requests a Query of File System Information; [MS-FSCC] 2.5 File System Information Classes.

The file system calls itself NTFS, as other servers do: clients look for that name before they use streams or
ACLs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from smbproto import fscc
from smbproto.fscc import volume as layouts
from smbproto.status import Status, StatusError
from smbsrv.commands.query_info.result import Result

if TYPE_CHECKING:
    from storage.volume import File, VolumeUsage

FILE_SYSTEM_NAME = "NTFS"
_U64 = 0xFFFFFFFFFFFFFFFF


def volume(f: File) -> Result:
    """[MS-FSCC] 2.5.9 FileFsVolumeInformation."""
    identity = f.volume.identity
    data = layouts.FileFsVolumeInformation(
        volume_creation_time=identity.created,
        volume_serial_number=identity.serial & 0xFFFFFFFF,
        volume_label=identity.label,
        supports_objects=bool(identity.features & fscc.FILE_SUPPORTS_OBJECT_IDS),
    )
    return Result(data.encode(), 24)


def _units(usage: VolumeUsage) -> tuple[int, int, int, int]:
    """(total, free, sectors per unit, bytes per sector)."""
    cluster = usage.cluster_bytes
    sectors = cluster // usage.sector_bytes
    return usage.total_bytes // cluster, usage.free_bytes // cluster, sectors, usage.sector_bytes


def size(f: File) -> Result:
    """[MS-FSCC] 2.5.8 FileFsSizeInformation: both within the user's quota."""
    total, free, sectors, sector_bytes = _units(f.usage())
    data = layouts.FileFsSizeInformation(
        total_allocation_units=total,
        available_allocation_units=free,
        sectors_per_allocation_unit=sectors,
        bytes_per_sector=sector_bytes,
    )
    return Result(data.encode(), 24)


def full_size(f: File) -> Result:
    """[MS-FSCC] 2.5.4 FileFsFullSizeInformation: total and caller's within the user's quota."""
    total, callers, sectors, sector_bytes = _units(f.usage())
    _, free, _, _ = _units(f.volume.usage())
    data = layouts.FileFsFullSizeInformation(
        total_allocation_units=total,
        caller_available_allocation_units=callers,
        actual_available_allocation_units=free,
        sectors_per_allocation_unit=sectors,
        bytes_per_sector=sector_bytes,
    )
    return Result(data.encode(), 32)


def device(f: File) -> Result:
    """[MS-FSCC] 2.5.10 FileFsDeviceInformation."""
    read_only = fscc.FILE_READ_ONLY_DEVICE if f.volume.identity.features & fscc.FILE_READ_ONLY_VOLUME else 0
    data = layouts.FileFsDeviceInformation(
        device_type=fscc.FILE_DEVICE_DISK, characteristics=fscc.FILE_DEVICE_IS_MOUNTED | read_only
    )
    return Result(data.encode(), 8)


def attribute(f: File) -> Result:
    """[MS-FSCC] 2.5.1 FileFsAttributeInformation."""
    data = layouts.FileFsAttributeInformation(
        file_system_attributes=f.volume.identity.features,
        maximum_component_name_length=f.volume.identity.component_max,
        file_system_name=FILE_SYSTEM_NAME,
    )
    return Result(data.encode(), 16)


def control(f: File) -> Result:
    """[MS-FSCC] 2.5.2 FileFsControlInformation."""
    quotas = f.quota_control()
    if quotas is None:
        data = layouts.FileFsControlInformation(file_system_control_flags=fscc.FILE_VC_QUOTA_NONE)
    else:
        data = layouts.FileFsControlInformation(
            default_quota_threshold=quotas.threshold_bytes & _U64,
            default_quota_limit=quotas.limit_bytes & _U64,
            file_system_control_flags=quotas.flags,
        )
    return Result(data.encode(), 48)


def object_id(f: File) -> Result:
    """[MS-FSCC] 2.5.6 FileFsObjectIdInformation. [MS-FSA] 2.1.5.13.8: VOLUME_NOT_UPGRADED where there is
    none."""
    found = f.volume.identity.object_id
    if not found:
        raise StatusError(Status.INVALID_PARAMETER, "the volume has no object id")
    return Result(layouts.FileFsObjectIdInformation(object_id=found[:16].ljust(16, b"\0")).encode(), 64)


def sector_size(f: File) -> Result:
    """[MS-FSCC] 2.5.7 FileFsSectorSizeInformation."""
    usage = f.volume.usage()
    physical = min(usage.cluster_bytes, 4096)
    data = layouts.FileFsSectorSizeInformation(
        logical_bytes_per_sector=usage.sector_bytes,
        physical_bytes_per_sector_for_atomicity=physical,
        physical_bytes_per_sector_for_performance=physical,
        effective_physical_bytes_per_sector_for_atomicity=physical,
        flags=fscc.SSINFO_FLAGS_ALIGNED_DEVICE
        | fscc.SSINFO_FLAGS_PARTITION_ALIGNED_ON_DEVICE
        | fscc.SSINFO_FLAGS_TRIM_ENABLED,
    )
    return Result(data.encode(), 28)


CLASSES: dict[int, Callable[[File], Result]] = {
    fscc.FILE_FS_VOLUME_INFORMATION: volume,
    fscc.FILE_FS_SIZE_INFORMATION: size,
    fscc.FILE_FS_DEVICE_INFORMATION: device,
    fscc.FILE_FS_ATTRIBUTE_INFORMATION: attribute,
    fscc.FILE_FS_CONTROL_INFORMATION: control,
    fscc.FILE_FS_FULL_SIZE_INFORMATION: full_size,
    fscc.FILE_FS_OBJECT_ID_INFORMATION: object_id,
    fscc.FILE_FS_SECTOR_SIZE_INFORMATION: sector_size,
}


def query(file: File, info_class: int) -> Result:
    """Raises: INVALID_INFO_CLASS."""
    provider = CLASSES.get(info_class)
    if provider is None:
        raise StatusError(Status.INVALID_INFO_CLASS, f"file system information class {info_class}")
    return provider(file)
