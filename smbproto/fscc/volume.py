"""[MS-FSCC] 2.5 File System Information Classes."""

from __future__ import annotations

from typing import Annotated, ClassVar

from smbproto.codec import (
    UTF16,
    Counted,
    Fixed,
    Message,
    bytes16,
    i32,
    i64,
    reserved1,
    reserved2,
    reserved4,
    structure,
    text32,
    u8,
    u32,
    u64,
)


@structure()
class FileFsAttributeInformation(Message):
    """[MS-FSCC] 2.5.1 FileFsAttributeInformation."""

    file_system_attributes: u32
    maximum_component_name_length: i32
    file_system_name: text32


@structure()
class FileFsControlInformation(Message):
    """[MS-FSCC] 2.5.2 FileFsControlInformation."""

    free_space_start_filtering: i64 = 0
    free_space_threshold: i64 = 0
    free_space_stop_filtering: i64 = 0
    default_quota_threshold: u64 = 0xFFFFFFFFFFFFFFFF
    default_quota_limit: u64 = 0xFFFFFFFFFFFFFFFF
    file_system_control_flags: u32 = 0
    padding: ClassVar[reserved4]


@structure()
class FileFsDriverPathInformation(Message):
    """[MS-FSCC] 2.5.3 FileFsDriverPathInformation."""

    driver_in_path: u8
    reserved_1: ClassVar[reserved1]
    reserved_2: ClassVar[reserved2]
    driver_name: text32


@structure()
class FileFsFullSizeInformation(Message):
    """[MS-FSCC] 2.5.4 FileFsFullSizeInformation. Units: allocation units but for the last two."""

    total_allocation_units: i64
    caller_available_allocation_units: i64
    actual_available_allocation_units: i64
    sectors_per_allocation_unit: u32
    bytes_per_sector: u32


@structure()
class FileFsLabelInformation(Message):
    """[MS-FSCC] 2.5.5 FileFsLabelInformation."""

    volume_label: text32


@structure()
class FileFsObjectIdInformation(Message):
    """[MS-FSCC] 2.5.6 FileFsObjectIdInformation."""

    object_id: bytes16
    extended_info: Annotated[bytes, Fixed("48s", "bytes")] = bytes(48)


@structure()
class FileFsSectorSizeInformation(Message):
    """[MS-FSCC] 2.5.7 FileFsSectorSizeInformation."""

    logical_bytes_per_sector: u32
    physical_bytes_per_sector_for_atomicity: u32
    physical_bytes_per_sector_for_performance: u32
    effective_physical_bytes_per_sector_for_atomicity: u32
    flags: u32
    byte_offset_for_sector_alignment: u32 = 0
    byte_offset_for_partition_alignment: u32 = 0


@structure()
class FileFsSizeInformation(Message):
    """[MS-FSCC] 2.5.8 FileFsSizeInformation. Units: allocation units but for the last two."""

    total_allocation_units: i64
    available_allocation_units: i64
    sectors_per_allocation_unit: u32
    bytes_per_sector: u32


@structure()
class FileFsVolumeInformation(Message):
    """[MS-FSCC] 2.5.9 FileFsVolumeInformation."""

    volume_creation_time: u64
    volume_serial_number: u32
    volume_label: Annotated[str, Counted("I", UTF16)]
    supports_objects: u8
    reserved: ClassVar[reserved1]


@structure()
class FileFsDeviceInformation(Message):
    """[MS-FSCC] 2.5.10 FileFsDeviceInformation."""

    device_type: u32
    characteristics: u32
