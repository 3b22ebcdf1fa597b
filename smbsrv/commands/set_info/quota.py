"""SET_INFO of quotas: refused, as volumes keep none.

Source: [MS-SMB2] 3.3.5.21.4 Handling SMB2_0_INFO_QUOTA; [MS-FSA] 2.1.5.22 Server Requests Setting Quota
Information."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smbproto.status import Status, StatusError

if TYPE_CHECKING:
    from storage.volume import File


def change(file: File) -> None:
    """Raises: INVALID_DEVICE_REQUEST."""
    raise StatusError(Status.INVALID_DEVICE_REQUEST, f"volume {file.volume.identity.label!r} keeps no quotas")
