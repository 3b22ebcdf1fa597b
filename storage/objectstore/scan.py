"""The cursor of a directory open.

Sources: [MS-FSA] 2.1.5.6.3 Directory Information Queries; 2.1.4.4 Algorithm for Determining if a FileName
Is in an Expression; [MS-SMB2] 3.3.5.18 Receiving an SMB2 QUERY_DIRECTORY Request.
It reads ahead a chunk of entries and goes on from the last name, so a directory that changes meanwhile
gives each name that stays exactly once. Listing costs a list look-up an entry where the pattern lets all
through. A pattern is compared with short names too where it has the "~" that all computed ones have; by
Windows always, so that there "*.htm" finds "x.html".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from smbproto import dtyp
from smbproto.status import Status, StatusError
from storage.errors import StorageError
from storage.fs.port import Entry
from storage.objectstore.errors import status_error
from storage.objectstore.names import has_wildcards, matcher
from storage.objectstore.shortnames import computed, find_by_short_name, is_short

if TYPE_CHECKING:
    from storage.objectstore.file import OpenFile

CHUNK_ENTRIES: Final = 512


class Scan:
    """Implements `storage.volume.DirectoryScan`."""

    __slots__ = ("_after", "_chunk", "_directory", "_file", "_is_at_end", "_next", "pattern")

    def __init__(self, file: OpenFile, pattern: str) -> None:
        self.pattern = pattern or "*"
        self._file = file
        self._directory = file.node
        self.restart()

    def short_name(self, entry: Entry) -> str:
        name = entry.name
        return "" if is_short(name) else computed(self._file.volume.fs.fold(name))

    def restart(self) -> None:
        self._chunk: list[Entry] = []
        self._next = 0
        self._after: str | None = None
        self._is_at_end = False
        pattern = self.pattern
        if not has_wildcards(pattern):
            fs = self._file.volume.fs
            entry = fs.lookup(self._directory, pattern) or find_by_short_name(fs, self._directory, pattern)
            self._chunk = [entry] if entry is not None else []
            self._is_at_end = True
            return
        matches = matcher(pattern, self._file.volume.fs.fold)
        dots = (Entry(".", self._directory), Entry("..", self._file.volume.parent_in_share(self._file)))
        self._chunk = [entry for entry in dots if matches is None or matches(entry.name)]

    def next(self) -> Entry | None:
        index = self._next
        chunk = self._chunk
        if index >= len(chunk):
            if not self._fill():
                return None
            chunk = self._chunk
            index = 0
        self._next = index + 1
        return chunk[index]

    def unread(self, entry: Entry) -> None:
        assert self._next > 0 and self._chunk[self._next - 1] is entry
        self._next -= 1

    def _fill(self) -> bool:
        fs = self._file.volume.fs
        matches = matcher(self.pattern, fs.fold)
        has_tilde = "~" in self.pattern
        while not self._is_at_end:
            try:
                found = fs.entries(self._directory, self._after, CHUNK_ENTRIES)
            except StorageError as error:
                raise status_error(error) from error
            self._is_at_end = len(found) < CHUNK_ENTRIES
            if found:
                self._after = found[-1].name
            if matches is not None:
                fold = fs.fold
                found = [
                    entry
                    for entry in found
                    if matches(fold(entry.name))
                    or (has_tilde and not is_short(entry.name) and matches(computed(fold(entry.name))))
                ]
            if found:
                self._chunk = found
                self._next = 0
                return True
        self._chunk = []
        self._next = 0
        return False


def start(file: OpenFile, pattern: str, restart: bool, reopen: bool) -> Scan:
    """The pattern of the first call stays until `reopen`."""
    if not file.is_directory:
        raise StatusError(Status.INVALID_PARAMETER, "only a directory can be listed")
    file.require(dtyp.FILE_LIST_DIRECTORY)
    listing = file.listing
    if listing is None or reopen:
        listing = file.listing = Scan(file, pattern)
    elif restart:
        listing.restart()
    return listing
