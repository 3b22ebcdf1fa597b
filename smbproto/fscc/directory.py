"""Directory listings: the layouts of an entry in each class, packers for a server, a decoder for a client.

A listing is a chain of entries, each 8-byte aligned, whose first field NextEntryOffset the packer leaves 0.

Source: [MS-FSCC] 2.4.8 FileBothDirectoryInformation; 2.4.10 FileDirectoryInformation; 2.4.15
FileFullDirectoryInformation; 2.4.18 FileId64ExtdBothDirectoryInformation; 2.4.19
FileId64ExtdDirectoryInformation; 2.4.20 FileIdAllExtdBothDirectoryInformation; 2.4.21
FileIdAllExtdDirectoryInformation; 2.4.22 FileIdBothDirectoryInformation; 2.4.23
FileIdExtdDirectoryInformation; 2.4.24 FileIdFullDirectoryInformation; 2.4.33 FileNamesInformation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Final, NamedTuple

from smbproto import limits
from smbproto.codec import Buffer, decode_utf16, encode_utf16
from smbproto.errors import WireError
from smbproto.fscc import constants
from smbproto.fscc.chain import entries_untrusted, join_entries, name_untrusted

DIRECTORY_ENTRY_ALIGNMENT_BYTES: Final = 8
SHORT_NAME_BYTES_MAX: Final = 24


class DirectoryEntry(NamedTuple):
    """One name; a field that its class does not have is 0. `file_id` is the 128-bit one where there are
    both."""

    file_name: str
    creation_time: int = 0
    last_access_time: int = 0
    last_write_time: int = 0
    change_time: int = 0
    end_of_file: int = 0
    allocation_size: int = 0
    file_attributes: int = 0
    ea_size: int = 0  # of a reparse point: its tag, in classes without `reparse_tag`
    reparse_tag: int = 0
    file_id: int = 0
    short_name: str = ""
    file_index: int = 0


@dataclass(frozen=True)
class Layout:
    """The fixed part of an entry. In order: NextEntryOffset, FileIndex, the four times, EndOfFile,
    AllocationSize, FileAttributes, FileNameLength; then the `extras`, by the name of their field; the name
    follows it all."""

    struct: Struct
    extras: tuple[str, ...] = ()


_COMMON = "<IIQQQQQQII"
_SHORT = "BB24s"  # ShortNameLength, Reserved, ShortName

# FileNamesInformation has NextEntryOffset, FileIndex, FileNameLength only.
NAMES: Final = Struct("<III")

LAYOUTS: Final[dict[int, Layout]] = {
    constants.FILE_DIRECTORY_INFORMATION: Layout(Struct(_COMMON)),
    constants.FILE_FULL_DIRECTORY_INFORMATION: Layout(Struct(_COMMON + "I"), ("ea_size",)),
    constants.FILE_BOTH_DIRECTORY_INFORMATION: Layout(
        Struct(_COMMON + "I" + _SHORT), ("ea_size", "short_name")
    ),
    constants.FILE_ID_FULL_DIRECTORY_INFORMATION: Layout(Struct(_COMMON + "I4xQ"), ("ea_size", "file_id")),
    constants.FILE_ID_BOTH_DIRECTORY_INFORMATION: Layout(
        Struct(_COMMON + "I" + _SHORT + "xxQ"), ("ea_size", "short_name", "file_id")
    ),
    constants.FILE_ID_EXTD_DIRECTORY_INFORMATION: Layout(
        Struct(_COMMON + "II16s"), ("ea_size", "reparse_tag", "file_id_128")
    ),
    constants.FILE_ID_64_EXTD_DIRECTORY_INFORMATION: Layout(
        Struct(_COMMON + "IIQ"), ("ea_size", "reparse_tag", "file_id")
    ),
    constants.FILE_ID_64_EXTD_BOTH_DIRECTORY_INFORMATION: Layout(
        Struct(_COMMON + "IIQ" + _SHORT), ("ea_size", "reparse_tag", "file_id", "short_name")
    ),
    constants.FILE_ID_ALL_EXTD_DIRECTORY_INFORMATION: Layout(
        Struct(_COMMON + "IIQ16s"), ("ea_size", "reparse_tag", "file_id", "file_id_128")
    ),
    constants.FILE_ID_ALL_EXTD_BOTH_DIRECTORY_INFORMATION: Layout(
        Struct(_COMMON + "IIQ16s" + _SHORT),
        ("ea_size", "reparse_tag", "file_id", "file_id_128", "short_name"),
    ),
}

DIRECTORY_CLASSES: Final = frozenset((*LAYOUTS, constants.FILE_NAMES_INFORMATION))


def fixed_bytes_of(info_class: int) -> int:
    """Length of an entry without its name. Raises: KeyError for a class that lists nothing."""
    return NAMES.size if info_class == constants.FILE_NAMES_INFORMATION else LAYOUTS[info_class].struct.size


def _extra_values(extras: tuple[str, ...], entry: DirectoryEntry) -> list[int | bytes]:
    values: list[int | bytes] = []
    for extra in extras:
        if extra == "short_name":
            short = encode_utf16(entry.short_name)
            if len(short) > SHORT_NAME_BYTES_MAX:
                raise ValueError(f"{entry.short_name!r} is no 8.3 name")
            values += [len(short), 0, short]
        elif extra == "file_id_128":
            values.append(entry.file_id.to_bytes(16, "little"))
        elif extra == "file_id":
            values.append(entry.file_id & 0xFFFFFFFFFFFFFFFF)
        else:
            values.append(getattr(entry, extra))
    return values


def encode_entry(info_class: int, entry: DirectoryEntry) -> bytes:
    """One entry with NextEntryOffset 0. A listing's inner loop packs by `LAYOUTS[...].struct` itself."""
    name = encode_utf16(entry.file_name)
    if info_class == constants.FILE_NAMES_INFORMATION:
        return NAMES.pack(0, entry.file_index, len(name)) + name
    layout = LAYOUTS[info_class]
    fixed = layout.struct.pack(
        0, entry.file_index, *entry[1:8], len(name), *_extra_values(layout.extras, entry)
    )  # fmt: skip
    return fixed + name


def encode_directory(info_class: int, entries: Sequence[DirectoryEntry]) -> bytes:
    return join_entries(
        [encode_entry(info_class, entry) for entry in entries], DIRECTORY_ENTRY_ALIGNMENT_BYTES
    )  # fmt: skip


def _decode_entry(layout: Layout, raw: Buffer) -> DirectoryEntry:
    (_, index, created, accessed, written, changed, end, allocated, attributes, name_bytes,
     *values) = layout.struct.unpack_from(raw)  # fmt: skip
    found: dict[str, int] = {}
    short = ""
    at = 0
    for extra in layout.extras:
        if extra == "short_name":
            if values[at] > SHORT_NAME_BYTES_MAX:
                raise WireError(f"a short name of {values[at]} bytes")
            short = decode_utf16(values[at + 2][: values[at]])
            at += 3
            continue
        value = values[at]
        found[extra] = int.from_bytes(value, "little") if isinstance(value, bytes) else value
        at += 1
    return DirectoryEntry(
        decode_utf16(name_untrusted(raw, layout.struct.size, name_bytes)),
        created, accessed, written, changed, end, allocated, attributes, found.get("ea_size", 0),
        found.get("reparse_tag", 0), found.get("file_id_128", found.get("file_id", 0)), short, index,
    )  # fmt: skip


def decode_directory_untrusted(info_class: int, data: Buffer) -> list[DirectoryEntry]:
    """A listing's entries, in order. Raises: WireError, also for a class that lists nothing."""
    if info_class not in DIRECTORY_CLASSES:
        raise WireError(f"information class {info_class} lists nothing")
    fixed = fixed_bytes_of(info_class)
    chain = entries_untrusted(data, fixed, DIRECTORY_ENTRY_ALIGNMENT_BYTES, limits.LISTING_ENTRIES_MAX)
    if info_class != constants.FILE_NAMES_INFORMATION:
        return [_decode_entry(LAYOUTS[info_class], raw) for raw in chain]
    entries = []
    for raw in chain:
        _, index, length = NAMES.unpack_from(raw)
        entries.append(DirectoryEntry(decode_utf16(name_untrusted(raw, fixed, length)), file_index=index))
    return entries
