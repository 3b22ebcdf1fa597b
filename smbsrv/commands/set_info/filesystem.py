"""SET_INFO of a volume: labels, object ids and quota defaults are the administrator's matter, who has an
interface of his own.

Source: [MS-SMB2] 3.3.5.21.2 Handling SMB2_0_INFO_FILESYSTEM; [MS-FSA] 2.1.5.16 Server Requests Setting of
File System Information.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smbproto import fscc
from smbproto.status import Status, StatusError

if TYPE_CHECKING:
    from storage.volume import File

_KNOWN = frozenset(
    (fscc.FILE_FS_CONTROL_INFORMATION, fscc.FILE_FS_OBJECT_ID_INFORMATION, fscc.FILE_FS_LABEL_INFORMATION)
)


def change(file: File, info_class: int) -> None:
    """Raises: INVALID_DEVICE_REQUEST for a class that could be set elsewhere, INVALID_INFO_CLASS for any
    other."""
    if info_class in _KNOWN:
        raise StatusError(
            Status.INVALID_DEVICE_REQUEST,
            f"class {info_class} of volume {file.volume.identity.label!r} is fixed",
        )
    raise StatusError(Status.INVALID_INFO_CLASS, f"file system information class {info_class} is not set")
