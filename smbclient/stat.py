"""What is known of a file, in the words of Python's `os` and in those of [MS-FSCC].

Source: [MS-FSCC] 2.4.2 FileAllInformation; 2.4.24 FileIdFullDirectoryInformation; 2.6 File Attributes.
"""

from __future__ import annotations

import stat as modes
from dataclasses import dataclass

from smbproto import fscc
from smbproto.dtyp import unix_ns_from_filetime
from smbproto.fscc.directory import DirectoryEntry
from smbproto.fscc.file_info import FileAllInformation

__all__ = ["DirEntry", "StatResult", "VolumeStat"]


@dataclass(frozen=True, slots=True)
class StatResult:
    """Like `os.stat_result`, with the attributes of SMB. Times: nanoseconds since 1970. Sizes: bytes."""

    st_mode: int
    st_ino: int
    st_nlink: int
    st_size: int
    st_allocation_size: int
    st_atime_ns: int
    st_mtime_ns: int
    st_ctime_ns: int  # the change of anything, as in Unix
    st_birthtime_ns: int
    st_file_attributes: int
    st_reparse_tag: int = 0

    @property
    def st_atime(self) -> float:
        return self.st_atime_ns / 1e9

    @property
    def st_mtime(self) -> float:
        return self.st_mtime_ns / 1e9

    @property
    def st_ctime(self) -> float:
        return self.st_ctime_ns / 1e9

    @property
    def st_birthtime(self) -> float:
        return self.st_birthtime_ns / 1e9

    @property
    def st_blocks(self) -> int:
        """Allocated blocks of 512 bytes."""
        return self.st_allocation_size // 512

    def is_dir(self) -> bool:
        return modes.S_ISDIR(self.st_mode)

    def is_file(self) -> bool:
        return modes.S_ISREG(self.st_mode)

    def is_symlink(self) -> bool:
        return modes.S_ISLNK(self.st_mode)

    @staticmethod
    def of_all(info: FileAllInformation, reparse_tag: int = 0) -> StatResult:
        return StatResult(
            st_mode=mode_of(info.file_attributes, reparse_tag),
            st_ino=info.index_number,
            st_nlink=info.number_of_links,
            st_size=info.end_of_file,
            st_allocation_size=info.allocation_size,
            st_atime_ns=unix_ns_from_filetime(info.last_access_time),
            st_mtime_ns=unix_ns_from_filetime(info.last_write_time),
            st_ctime_ns=unix_ns_from_filetime(info.change_time),
            st_birthtime_ns=unix_ns_from_filetime(info.creation_time),
            st_file_attributes=info.file_attributes,
            st_reparse_tag=reparse_tag,
        )

    @staticmethod
    def of_entry(entry: DirectoryEntry) -> StatResult:
        """A listing does not tell the number of links: 1."""
        tag = entry.ea_size if entry.file_attributes & fscc.FILE_ATTRIBUTE_REPARSE_POINT else 0
        return StatResult(
            st_mode=mode_of(entry.file_attributes, tag),
            st_ino=entry.file_id,
            st_nlink=1,
            st_size=entry.end_of_file,
            st_allocation_size=entry.allocation_size,
            st_atime_ns=unix_ns_from_filetime(entry.last_access_time),
            st_mtime_ns=unix_ns_from_filetime(entry.last_write_time),
            st_ctime_ns=unix_ns_from_filetime(entry.change_time),
            st_birthtime_ns=unix_ns_from_filetime(entry.creation_time),
            st_file_attributes=entry.file_attributes,
            st_reparse_tag=tag,
        )


def mode_of(attributes: int, reparse_tag: int = 0) -> int:
    """The mode that Unix would show: type, and who may write by the READONLY attribute."""
    readable = 0o555 if attributes & fscc.FILE_ATTRIBUTE_READONLY else 0o777
    if attributes & fscc.FILE_ATTRIBUTE_REPARSE_POINT and reparse_tag == fscc.IO_REPARSE_TAG_SYMLINK:
        return modes.S_IFLNK | 0o777
    if attributes & fscc.FILE_ATTRIBUTE_DIRECTORY:
        return modes.S_IFDIR | readable
    return modes.S_IFREG | readable & 0o666


@dataclass(frozen=True, slots=True)
class DirEntry:
    """One name in a directory, with what the listing said of it. `path` is relative to the share."""

    name: str
    path: str
    stat: StatResult

    def is_dir(self) -> bool:
        return self.stat.is_dir()

    def is_file(self) -> bool:
        return self.stat.is_file()

    def is_symlink(self) -> bool:
        return self.stat.is_symlink()

    def inode(self) -> int:
        return self.stat.st_ino


@dataclass(frozen=True, slots=True)
class VolumeStat:
    """Sizes of the volume behind a share, in bytes."""

    total_bytes: int
    free_bytes: int  # for this caller
    actual_free_bytes: int
    allocation_unit_bytes: int
