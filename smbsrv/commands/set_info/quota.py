"""SET_INFO of quotas: refused, as volumes keep none.

Source: [MS-SMB2] 3.3.5.21.4 Handling SMB2_0_INFO_QUOTA; [MS-FSA] 2.1.5.22 Server Requests Setting Quota
Information."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smbproto.fscc.quota import decode_quotas_untrusted
from smbproto.status import Status, StatusError

if TYPE_CHECKING:
    from storage.volume import File


def change(file: File, data: bytes) -> None:
    """Raises: INVALID_DEVICE_REQUEST; WireError for a list that is none."""
    decode_quotas_untrusted(data)
    raise StatusError(Status.INVALID_DEVICE_REQUEST, f"volume {file.volume.identity.label!r} keeps no quotas")
