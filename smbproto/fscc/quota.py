"""Quotas: what is known of each user, and whose are asked for.

Source: [MS-FSCC] 2.4.41 FileQuotaInformation; 2.4.41.1 FILE_GET_QUOTA_INFORMATION.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from typing import Final, NamedTuple

from smbproto import limits
from smbproto.codec import Buffer
from smbproto.dtyp import Sid
from smbproto.errors import WireError
from smbproto.fscc.chain import entries_untrusted, join_entries

QUOTA_ALIGNMENT_BYTES: Final = 8
QUOTA_UNLIMITED: Final = -1
QUOTA_DELETE: Final = -2  # as a limit: forget this user

_QUOTA = Struct("<IIQqqq")  # NextEntryOffset, SidLength, ChangeTime, QuotaUsed, QuotaThreshold, QuotaLimit
_GET = Struct("<II")  # NextEntryOffset, SidLength


class Quota(NamedTuple):
    """One element of FILE_QUOTA_INFORMATION. Units: bytes."""

    sid: Sid
    change_time: int = 0
    used: int = 0
    threshold: int = QUOTA_UNLIMITED
    limit: int = QUOTA_UNLIMITED


def _sid_untrusted(entry: Buffer, start: int, length: int) -> Sid:
    """The SID fills its length. Raises: WireError."""
    if start + length > len(entry):
        raise WireError(f"a SID of {length} bytes runs over its entry of {len(entry)}")
    sid = Sid.decode_untrusted(bytes(entry[start : start + length]))
    if sid.size_bytes != length:
        raise WireError(f"a SID of {sid.size_bytes} bytes in {length}")
    return sid


def encode_quotas(quotas: Iterable[Quota]) -> bytes:
    entries = []
    for quota in quotas:
        sid = quota.sid.encode()
        entries.append(
            _QUOTA.pack(0, len(sid), quota.change_time, quota.used, quota.threshold, quota.limit) + sid
        )  # fmt: skip
    return join_entries(entries, QUOTA_ALIGNMENT_BYTES)


def decode_quotas_untrusted(data: Buffer) -> list[Quota]:
    """Raises: WireError."""
    quotas = []
    for entry in entries_untrusted(data, _QUOTA.size, QUOTA_ALIGNMENT_BYTES, limits.QUOTA_ENTRIES_MAX):
        _, length, changed, used, threshold, limit = _QUOTA.unpack_from(entry)
        quotas.append(Quota(_sid_untrusted(entry, _QUOTA.size, length), changed, used, threshold, limit))
    return quotas


def encode_get_quotas(sids: Iterable[Sid]) -> bytes:
    return join_entries([_GET.pack(0, sid.size_bytes) + sid.encode() for sid in sids], 4)


def decode_get_quotas_untrusted(data: Buffer) -> list[Sid]:
    """Raises: WireError."""
    sids = []
    for entry in entries_untrusted(data, _GET.size, 4, limits.QUOTA_ENTRIES_MAX):
        _, length = _GET.unpack_from(entry)
        sids.append(_sid_untrusted(entry, _GET.size, length))
    return sids
