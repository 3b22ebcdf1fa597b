"""The one table from storage errors to NTSTATUS.

Source: [MS-ERREF] 2.3.1 NTSTATUS Values. A test holds it complete: every StorageError subclass has a line
here.
"""

from __future__ import annotations

from typing import Final

from smbproto.status import Status, StatusError
from storage.errors import (
    BlockCorrupt,
    CatalogCorrupt,
    DiskFailed,
    HostExhausted,
    HostRefused,
    LabelCorrupt,
    PoolFull,
    PoolInUse,
    PoolUnavailable,
    QuotaExceeded,
    SlabLost,
    StorageError,
    VolumeFull,
)

STATUS_OF: Final[dict[type[StorageError], Status]] = {
    StorageError: Status.UNEXPECTED_IO_ERROR,
    BlockCorrupt: Status.CRC_ERROR,
    CatalogCorrupt: Status.DISK_CORRUPT_ERROR,
    DiskFailed: Status.UNEXPECTED_IO_ERROR,
    HostExhausted: Status.TOO_MANY_OPENED_FILES,
    HostRefused: Status.ACCESS_DENIED,
    LabelCorrupt: Status.DISK_CORRUPT_ERROR,
    PoolFull: Status.DISK_FULL,
    PoolInUse: Status.DEVICE_NOT_READY,
    PoolUnavailable: Status.DEVICE_NOT_READY,
    QuotaExceeded: Status.DISK_FULL,
    SlabLost: Status.DATA_ERROR,
    VolumeFull: Status.DISK_FULL,
}


def status_error(error: StorageError) -> StatusError:
    """The StatusError to raise `from` the storage error; a subclass without a line of its own takes its
    parent's."""
    for kind in type(error).__mro__:
        if kind in STATUS_OF:
            return StatusError(STATUS_OF[kind], str(error))
    return StatusError(Status.UNEXPECTED_IO_ERROR, str(error))
