"""SET_INFO of a volume: its quota defaults. Labels and object ids are the administrator's matter, who has an
interface of his own.

Source: [MS-SMB2] 3.3.5.21.2 Handling SMB2_0_INFO_FILESYSTEM; [MS-FSA] 2.1.5.16 Server Requests Setting of
File System Information; [MS-FSCC] 2.5.2 FileFsControlInformation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smbproto import fscc
from smbproto.errors import WireError
from smbproto.fscc.volume import FileFsControlInformation
from smbproto.status import Status, StatusError
from storage.volume import QuotaControl

if TYPE_CHECKING:
    from storage.volume import File

_FIXED = frozenset((fscc.FILE_FS_OBJECT_ID_INFORMATION, fscc.FILE_FS_LABEL_INFORMATION))


def change(file: File, info_class: int, data: bytes) -> None:
    """Raises: INVALID_DEVICE_REQUEST for a class that could be set elsewhere, or for a volume without
    quotas; INVALID_INFO_CLASS for any other; INFO_LENGTH_MISMATCH."""
    if info_class == fscc.FILE_FS_CONTROL_INFORMATION and file.quota_control() is not None:
        _control(file, data)
        return
    if info_class in _FIXED or info_class == fscc.FILE_FS_CONTROL_INFORMATION:
        raise StatusError(
            Status.INVALID_DEVICE_REQUEST,
            f"class {info_class} of volume {file.volume.identity.label!r} is fixed",
        )
    raise StatusError(Status.INVALID_INFO_CLASS, f"file system information class {info_class} is not set")


def _control(file: File, data: bytes) -> None:
    try:
        new = FileFsControlInformation.decode_untrusted(data)
    except WireError as error:
        raise StatusError(Status.INFO_LENGTH_MISMATCH, str(error)) from None
    threshold, limit = (
        value - (1 << 64) if value >> 63 else value
        for value in (new.default_quota_threshold, new.default_quota_limit)
    )
    file.set_quota_control(QuotaControl(new.file_system_control_flags, threshold, limit))
