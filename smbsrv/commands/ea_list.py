"""Extended attributes that clients send, checked as Windows checks them.

Source: [MS-FSCC] 2.4.16 FileFullEaInformation (names, flags); [MS-FSA] 2.1.5.15.5 FileFullEaInformation:
EA_LIST_INCONSISTENT, INVALID_EA_NAME, INVALID_EA_FLAG, EA_TOO_LARGE. Layouts: `smbproto.fscc.ea`.
"""

from __future__ import annotations

from smbproto.errors import WireError
from smbproto.fscc.ea import FILE_NEED_EA, decode_full_eas_untrusted, decode_get_eas_untrusted
from smbproto.limits import EA_LIST_BYTES_MAX
from smbproto.status import Status, StatusError
from storage.volume import ExtendedAttribute

_FORBIDDEN = frozenset(range(32)) | frozenset(b'\\/:*?"<>|,+=[];')


def decode_eas(data: memoryview | bytes) -> list[ExtendedAttribute]:
    """A FILE_FULL_EA_INFORMATION chain."""
    if len(data) > EA_LIST_BYTES_MAX:
        raise StatusError(Status.EA_TOO_LARGE, f"{len(data)} bytes of extended attributes")
    try:
        eas = decode_full_eas_untrusted(data)
    except WireError as error:
        raise StatusError(Status.EA_LIST_INCONSISTENT, str(error)) from None
    for ea in eas:
        if not ea.name or not _FORBIDDEN.isdisjoint(ea.name):
            raise StatusError(Status.INVALID_EA_NAME, f"{ea.name!r} is no name of an extended attribute")
        if ea.flags & ~FILE_NEED_EA:
            raise StatusError(Status.INVALID_EA_FLAG, f"flags {ea.flags:#x} of an extended attribute")
    return [ExtendedAttribute(ea.name, ea.value, ea.flags) for ea in eas]


def decode_ea_names(data: memoryview | bytes) -> list[bytes]:
    """A FILE_GET_EA_INFORMATION chain."""
    try:
        return decode_get_eas_untrusted(data)
    except WireError as error:
        raise StatusError(Status.EA_LIST_INCONSISTENT, str(error)) from None
