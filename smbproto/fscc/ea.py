"""Extended attributes: lists of values, and lists of the names asked for.

Source: [MS-FSCC] 2.4.16 FileFullEaInformation; 2.4.16.1 FILE_GET_EA_INFORMATION.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from typing import Final, NamedTuple

from smbproto import limits
from smbproto.codec import Buffer
from smbproto.errors import WireError
from smbproto.fscc.chain import entries_untrusted, join_entries, name_untrusted

FILE_NEED_EA: Final = 0x80
EA_ALIGNMENT_BYTES: Final = 4

_FULL = Struct("<IBBH")  # NextEntryOffset, Flags, EaNameLength, EaValueLength; name, NUL, value
_GET = Struct("<IB")  # NextEntryOffset, EaNameLength; name, NUL


class FullEa(NamedTuple):
    """One element of FILE_FULL_EA_INFORMATION. An empty value deletes the EA when it is set."""

    name: bytes  # 8-bit characters, without its NUL
    value: bytes = b""
    flags: int = 0


def encode_full_ea(ea: FullEa) -> bytes:
    """One element, NextEntryOffset 0."""
    return _FULL.pack(0, ea.flags, len(ea.name), len(ea.value)) + ea.name + b"\0" + ea.value


def encode_full_eas(eas: Iterable[FullEa]) -> bytes:
    return join_entries([encode_full_ea(ea) for ea in eas], EA_ALIGNMENT_BYTES)


def decode_full_eas_untrusted(data: Buffer) -> list[FullEa]:
    """Raises: WireError; the server answers STATUS_EA_LIST_INCONSISTENT."""
    eas = []
    for entry in entries_untrusted(data, _FULL.size, EA_ALIGNMENT_BYTES, limits.EA_LIST_ENTRIES_MAX):
        _, flags, name_bytes, value_bytes = _FULL.unpack_from(entry)
        name = bytes(name_untrusted(entry, _FULL.size, name_bytes + 1))
        if name[-1] != 0 or b"\0" in name[:-1]:
            raise WireError(f"an EA's name is not terminated: {name!r}")
        value = bytes(name_untrusted(entry, _FULL.size + name_bytes + 1, value_bytes))
        eas.append(FullEa(name[:-1], value, flags))
    return eas


def encode_get_eas(names: Iterable[bytes]) -> bytes:
    return join_entries([_GET.pack(0, len(name)) + name + b"\0" for name in names], EA_ALIGNMENT_BYTES)


def decode_get_eas_untrusted(data: Buffer) -> list[bytes]:
    """The names. Raises: WireError."""
    names = []
    for entry in entries_untrusted(data, _GET.size, EA_ALIGNMENT_BYTES, limits.EA_LIST_ENTRIES_MAX):
        _, length = _GET.unpack_from(entry)
        name = bytes(name_untrusted(entry, _GET.size, length + 1))
        if name[-1] != 0:
            raise WireError(f"an EA's name is not terminated: {name!r}")
        names.append(name[:-1])
    return names
