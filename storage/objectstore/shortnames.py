"""8.3 names, for the few clients that still ask for one. Pure.

A name that is one already is its own. Any other gets one computed from it: two legal characters of the
name, "~", five digits to the base 36 out of a CRC of the folded name, the first three legal characters of
the extension. Nothing is stored. Opening by such a name looks through the directory, and only a name that
is the sole one with that short name is found: never a wrong file.

Source: [MS-FSCC] 2.1.5.2.1 8.3 Filename; [MS-FSA] 2.1.5.12.4 FileAlternateNameInformation.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from zlib import crc32

if TYPE_CHECKING:
    from storage.fs.port import Entry, FileSystem, Node

SEARCHED_MAX: Final = 10_000
"""Entries; in a larger directory nothing is found by its short name, rather than every miss reading all
of it."""

_PAGE: Final = 1000
_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_PAIRS: Final = [low + high for high in _DIGITS for low in _DIGITS]
"""Two digits at a time, the low one first: a listing wants thousands of names."""
_IS_SHORT = re.compile(r"[!#$%&'()0-9@A-Z^_`a-z{}~-]{1,8}(\.[!#$%&'()0-9@A-Z^_`a-z{}~-]{1,3})?")
_IS_COMPUTED = re.compile(r"[0-9A-Z_]{2}~[0-9A-Z]{5}(\.[0-9A-Z_]{1,3})?", re.IGNORECASE)
_NOT_LEGAL = re.compile(r"[^0-9A-Z_]")


def is_short(name: str) -> bool:
    """Whether the name is an 8.3 name already ("." and ".." count as such)."""
    return name in (".", "..") or _IS_SHORT.fullmatch(name) is not None


def short_name(name: str, folded: str) -> str:
    """The 8.3 name of `name`, in upper case. `folded` is the name by the volume's upcase table."""
    return name.upper() if _IS_SHORT.fullmatch(name) else computed(folded)


def computed(folded: str) -> str:
    """The short name of a name that is none itself."""
    stem, dot, extension = folded.rpartition(".")
    if not dot or not stem.strip("."):
        stem, extension = folded, ""
    number, pair = divmod(crc32(folded.encode("utf-16-le", "surrogatepass")), 1296)
    following, second = divmod(number, 1296)
    digits = _PAIRS[pair] + _PAIRS[second] + _DIGITS[following % 36]
    start, end = stem[:2], extension[:3]
    if not (start.isascii() and start.isalnum() and len(start) == 2):
        start = _NOT_LEGAL.sub("", stem)[:2].ljust(2, "_")
    if end and not (end.isascii() and end.isalnum()):
        end = _NOT_LEGAL.sub("", extension)[:3]
    return f"{start}~{digits}.{end}" if end else f"{start}~{digits}"


def find_by_short_name(fs: FileSystem, directory: Node, name: str) -> Entry | None:
    """The one entry whose computed short name this is; None if there is none, or more than one."""
    if not _IS_COMPUTED.fullmatch(name):
        return None
    wanted = name.upper()
    found: Entry | None = None
    after: str | None = None
    for _ in range(SEARCHED_MAX // _PAGE):
        entries = fs.entries(directory, after, _PAGE)
        for entry in entries:
            if short_name(entry.name, fs.fold(entry.name)) == wanted:
                if found is not None:
                    return None
                found = entry
        if len(entries) < _PAGE:
            return found
        after = entries[-1].name
    return None
