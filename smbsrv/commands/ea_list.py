"""Lists of extended attributes, as clients send them. Source: [MS-FSCC] 2.4.16 FileFullEaInformation, 2.4.16.1
FILE_GET_EA_INFORMATION; [MS-FSA] 2.1.5.15.5 FileFullEaInformation; 2.1.5.12.10 (query).

Limits: EA_LIST_BYTES_MAX, as NTFS. Names: 1 to 254 bytes of ASCII without the characters that [MS-FSCC] 2.4.16 forbids.
"""

from __future__ import annotations

from struct import Struct

from smbproto.status import Status, StatusError
from storage.volume import ExtendedAttribute

EA_LIST_BYTES_MAX = 65536
_HEAD = Struct("<IBBH")  # NextEntryOffset, Flags, EaNameLength, EaValueLength
_GET_HEAD = Struct("<IB")  # NextEntryOffset, EaNameLength
FILE_NEED_EA = 0x80
_FORBIDDEN = frozenset(range(32)) | frozenset(b'\\/:*?"<>|,+=[];')


def decode_eas(data: memoryview | bytes) -> list[ExtendedAttribute]:
    """A FILE_FULL_EA_INFORMATION chain. Raises: EA_LIST_INCONSISTENT, INVALID_EA_NAME, INVALID_EA_FLAG."""
    if len(data) > EA_LIST_BYTES_MAX:
        raise StatusError(Status.EA_TOO_LARGE, f"{len(data)} bytes of extended attributes")
    found: list[ExtendedAttribute] = []
    at = 0
    while True:
        left = len(data) - at
        if left < 8:
            raise StatusError(Status.EA_LIST_INCONSISTENT, f"{left} bytes are no extended attribute")
        following, flags, name_length, value_length = _HEAD.unpack_from(data, at)
        size = 8 + name_length + 1 + value_length
        if size > left or (following and (following < size or following % 4 or following >= left)):
            raise StatusError(Status.EA_LIST_INCONSISTENT, f"the extended attribute at {at} is cut")
        name = bytes(data[at + 8 : at + 8 + name_length])
        if data[at + 8 + name_length]:
            raise StatusError(Status.EA_LIST_INCONSISTENT, "the name of an extended attribute has no end")
        if not name or not _FORBIDDEN.isdisjoint(name):
            raise StatusError(Status.INVALID_EA_NAME, f"{name!r} is no name of an extended attribute")
        if flags & ~FILE_NEED_EA:
            raise StatusError(Status.INVALID_EA_FLAG, f"flags {flags:#x} of an extended attribute")
        start = at + 8 + name_length + 1
        found.append(ExtendedAttribute(name, bytes(data[start : start + value_length]), flags))
        if not following:
            return found
        at += following


def decode_ea_names(data: memoryview | bytes) -> list[bytes]:
    """A FILE_GET_EA_INFORMATION chain. Raises: EA_LIST_INCONSISTENT."""
    found: list[bytes] = []
    at = 0
    while True:
        left = len(data) - at
        if left < 6:
            raise StatusError(Status.EA_LIST_INCONSISTENT, f"{left} bytes name no extended attribute")
        following, length = _GET_HEAD.unpack_from(data, at)
        if 5 + length + 1 > left or (following and (following < 5 + length + 1 or following % 4 or following >= left)):
            raise StatusError(Status.EA_LIST_INCONSISTENT, f"the name at {at} is cut")
        found.append(bytes(data[at + 5 : at + 5 + length]))
        if not following:
            return found
        at += following


def encode_ea(ea: ExtendedAttribute, following: bool) -> bytes:
    """One FILE_FULL_EA_INFORMATION; padded to 4 bytes if another follows."""
    size = 8 + len(ea.name) + 1 + len(ea.value)
    step = size + 3 & ~3
    head = _HEAD.pack(step if following else 0, ea.flags, len(ea.name), len(ea.value))
    return head + ea.name + b"\0" + ea.value + (bytes(step - size) if following else b"")
