"""SET_INFO of quotas: thresholds and limits of owners.

Source: [MS-SMB2] 3.3.5.21.4 Handling SMB2_0_INFO_QUOTA; [MS-FSA] 2.1.5.22 Server Requests Setting Quota
Information. Who may is the volume's judgement."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smbproto.fscc.quota import decode_quotas_untrusted
from smbproto.status import Status, StatusError
from storage.volume import QuotaRecord

if TYPE_CHECKING:
    from storage.volume import File


def change(file: File, data: bytes) -> None:
    """Raises: NOT_SUPPORTED, ACCESS_DENIED, INVALID_PARAMETER, NO_MATCH; WireError for a list that is
    none."""
    new = [
        QuotaRecord(quota.sid.encode(), quota.used, quota.threshold, quota.limit, quota.change_time)
        for quota in (decode_quotas_untrusted(data) if data else ())
    ]
    if file.quota_control() is None:
        raise StatusError(
            Status.NOT_SUPPORTED, f"volume {file.volume.identity.label!r} keeps no quotas"
        )
    file.set_quotas(new)
