"""QUERY_INFO of a volume. Source: [MS-SMB2] 3.3.5.20.2 Handling SMB2_0_INFO_FILESYSTEM; [MS-FSA] 2.1.5.13 Server Requests a Query of
File System Information; [MS-FSCC] 2.5 File System Information Classes.

The file system calls itself NTFS, as other servers do: clients look for that name before they use streams or ACLs.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING

from smbproto import fscc
from smbproto.status import Status, StatusError
from smbsrv.commands.query_info.result import Result

if TYPE_CHECKING:
    from storage.volume import File, Volume

FILE_SYSTEM_NAME = "NTFS"
QUOTA_NONE = 0xFFFFFFFFFFFFFFFF

_VOLUME = Struct("<QIIBx")  # VolumeCreationTime, VolumeSerialNumber, VolumeLabelLength, SupportsObjects, Reserved
_SIZE = Struct("<QQII")
_DEVICE = Struct("<II")
_ATTRIBUTE = Struct("<III")
_CONTROL = Struct("<QQQQQI4x")
_FULL_SIZE = Struct("<QQQII")
_SECTOR = Struct("<IIIIIII")


def volume(v: Volume) -> Result:
    """[MS-FSCC] 2.5.9 FileFsVolumeInformation."""
    label = v.identity.label.encode("utf-16-le")
    supports_objects = bool(v.identity.features & fscc.FILE_SUPPORTS_OBJECT_IDS)
    serial = v.identity.serial & 0xFFFFFFFF
    return Result(_VOLUME.pack(v.identity.created, serial, len(label), supports_objects) + label, 24)


def _units(v: Volume) -> tuple[int, int, int, int]:
    """(total, free, sectors per unit, bytes per sector)."""
    usage = v.usage()
    cluster = usage.cluster_bytes
    sectors = cluster // usage.sector_bytes
    return usage.total_bytes // cluster, usage.free_bytes // cluster, sectors, usage.sector_bytes


def size(v: Volume) -> Result:
    """[MS-FSCC] 2.5.8 FileFsSizeInformation."""
    return Result(_SIZE.pack(*_units(v)), 24)


def full_size(v: Volume) -> Result:
    """[MS-FSCC] 2.5.4 FileFsFullSizeInformation: no quotas, so that what the caller may use is what there is."""
    total, free, sectors, sector_bytes = _units(v)
    return Result(_FULL_SIZE.pack(total, free, free, sectors, sector_bytes), 32)


def device(v: Volume) -> Result:
    """[MS-FSCC] 2.5.10 FileFsDeviceInformation."""
    read_only = fscc.FILE_READ_ONLY_DEVICE if v.identity.features & fscc.FILE_READ_ONLY_VOLUME else 0
    return Result(_DEVICE.pack(fscc.FILE_DEVICE_DISK, fscc.FILE_DEVICE_IS_MOUNTED | read_only), 8)


def attribute(v: Volume) -> Result:
    """[MS-FSCC] 2.5.1 FileFsAttributeInformation."""
    text = FILE_SYSTEM_NAME.encode("utf-16-le")
    return Result(_ATTRIBUTE.pack(v.identity.features, v.identity.component_max, len(text)) + text, 16)


def control(v: Volume) -> Result:
    """[MS-FSCC] 2.5.2 FileFsControlInformation: no quotas are tracked."""
    return Result(_CONTROL.pack(0, 0, 0, QUOTA_NONE, QUOTA_NONE, fscc.FILE_VC_QUOTA_NONE), 48)


def object_id(v: Volume) -> Result:
    """[MS-FSCC] 2.5.6 FileFsObjectIdInformation. [MS-FSA] 2.1.5.13.8: VOLUME_NOT_UPGRADED where there is none."""
    if not v.identity.object_id:
        raise StatusError(Status.VOLUME_NOT_UPGRADED, "the volume has no object id")
    return Result(v.identity.object_id.ljust(64, b"\0")[:64], 64)


def sector_size(v: Volume) -> Result:
    """[MS-FSCC] 2.5.7 FileFsSectorSizeInformation."""
    usage = v.usage()
    physical = min(usage.cluster_bytes, 4096)
    flags = fscc.SSINFO_FLAGS_ALIGNED_DEVICE | fscc.SSINFO_FLAGS_PARTITION_ALIGNED_ON_DEVICE | fscc.SSINFO_FLAGS_TRIM_ENABLED
    return Result(_SECTOR.pack(usage.sector_bytes, physical, physical, physical, flags, 0, 0), 28)


CLASSES: dict[int, Callable[[Volume], Result]] = {
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
    return provider(file.volume)
