"""[MS-FSCC] 2.7.1 FILE_NOTIFY_INFORMATION."""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from typing import Final, NamedTuple

from smbproto import limits
from smbproto.codec import Buffer, decode_utf16, encode_utf16
from smbproto.fscc.chain import entries_untrusted, join_entries, name_untrusted

NOTIFY_ALIGNMENT_BYTES: Final = 4
_ENTRY = Struct("<III")  # NextEntryOffset, Action, FileNameLength


class NotifyInformation(NamedTuple):
    """One change: FILE_ACTION_* and the name, relative to the watched directory."""

    action: int
    file_name: str


def encode_notify(changes: Iterable[NotifyInformation | tuple[int, str]]) -> bytes:
    """The chain, each entry but the last padded to 4 bytes."""
    entries = []
    for action, file_name in changes:
        name = encode_utf16(file_name)
        entries.append(_ENTRY.pack(0, action, len(name)) + name)
    return join_entries(entries, NOTIFY_ALIGNMENT_BYTES)


def decode_notify_untrusted(data: Buffer) -> list[NotifyInformation]:
    """Raises: WireError."""
    changes = []
    for entry in entries_untrusted(data, _ENTRY.size, NOTIFY_ALIGNMENT_BYTES, limits.NOTIFY_ENTRIES_MAX):
        _, action, length = _ENTRY.unpack_from(entry)
        changes.append(NotifyInformation(action, decode_utf16(name_untrusted(entry, _ENTRY.size, length))))
    return changes
