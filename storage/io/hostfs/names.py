"""Names of the host and names on the wire, and what a directory of the host contains, without case.

The host's names are bytes, case-sensitive, and may hold characters that SMB reserves. Reserved ones are shown
in the private range U+F001..U+F027 that Macintosh servers established and Linux and macOS clients use; names
that are no UTF-8 are not shown.

`DirectoryNames` maps folded wire names to host names. It is believed as long as the directory's mtime and
ctime stand as they were; changes made through us keep it current.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from storage.errors import StorageError

_RESERVED = '"*:<>?\\|'
_TO_WIRE = {ord(c): 0xF020 + i for i, c in enumerate(_RESERVED)} | {c: 0xF000 + c for c in range(1, 0x20)}


def to_wire(host: bytes) -> str | None:
    """The wire name of a host name; None if it cannot be shown."""
    try:
        name = host.decode("utf-8")
    except UnicodeDecodeError:
        try:
            name = host.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            return None
    if name.isalnum():
        return name
    return name.translate(_TO_WIRE)


def to_host(wire: str) -> bytes:
    """The host name for a new file. Inverse of `to_wire` for every name a client may send.

    Raises: StorageError for what would lead out of the directory, whoever asks for it.
    """
    if wire in ("", ".", "..") or "/" in wire or "\0" in wire:
        raise StorageError(f"{wire!r} is no name of the host")
    return wire.encode("utf-8", "surrogatepass")


class DirectoryNames:
    """Folded wire name -> (wire name, host name), as of one moment of the directory."""

    __slots__ = ("by_fold", "checked_s", "ordered", "stamp")

    def __init__(self) -> None:
        self.stamp: tuple[int, int] = (-1, -1)
        self.checked_s = float("-inf")
        """When the stamp was last seen to be the directory's, on the runtime's clock."""
        self.by_fold: dict[str, tuple[str, bytes]] = {}
        self.ordered: list[str] | None = None

    def load(self, path: bytes, stamp: tuple[int, int], fold: Callable[[str], str]) -> None:
        """Read the directory. Two host names that differ only in case: the first in byte order is shown."""
        found: dict[str, tuple[str, bytes]] = {}
        with os.scandir(path) as listing:
            for entry in sorted(e.name for e in listing):
                wire = to_wire(entry)
                if wire is not None:
                    found.setdefault(fold(wire), (wire, entry))
        self.by_fold = found
        self.ordered = None
        self.stamp = stamp

    def add(self, folded: str, wire: str, host: bytes) -> None:
        self.by_fold[folded] = (wire, host)
        self.ordered = None

    def discard(self, folded: str) -> None:
        if self.by_fold.pop(folded, None) is not None:
            self.ordered = None

    def in_order(self) -> list[str]:
        """Folded names, sorted."""
        if self.ordered is None:
            self.ordered = sorted(self.by_fold)
        return self.ordered
