"""Reparse points: the buffer around them, and what the tags of links and special files hold.

Source: [MS-FSCC] 2.1.2.2 REPARSE_DATA_BUFFER; 2.1.2.3 REPARSE_GUID_DATA_BUFFER; 2.1.2.4 Symbolic Link Reparse
Data Buffer; 2.1.2.5 Mount Point Reparse Data Buffer; 2.1.2.6 Network File System (NFS) Reparse Data Buffer;
2.1.2.7 LX SYMLINK REPARSE_DATA_BUFFER.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

from smbproto import limits
from smbproto.codec import Buffer, decode_utf16, encode_utf16
from smbproto.errors import WireError
from smbproto.fscc import constants

NFS_SPECFILE_LNK: Final = 0x00000000014B4E4C
NFS_SPECFILE_CHR: Final = 0x0000000000524843
NFS_SPECFILE_BLK: Final = 0x00000000004B4C42
NFS_SPECFILE_FIFO: Final = 0x000000004F464946
NFS_SPECFILE_SOCK: Final = 0x000000004B434F53

LX_SYMLINK_VERSION: Final = 2

_HEAD = Struct("<IHH")  # ReparseTag, ReparseDataLength, Reserved
_SYMLINK = Struct("<HHHHI")  # SubstituteName and PrintName: offset, length; Flags
_MOUNT_POINT = Struct("<HHHH")
_DEVICE = Struct("<QII")  # InodeType, major, minor
_GUID_BYTES = 16


class ReparsePoint(NamedTuple):
    """A whole buffer. `guid` (16 bytes) belongs to tags that are not Microsoft's, and only to them."""

    tag: int
    data: bytes
    guid: bytes = b""


class Link(NamedTuple):
    """Where a symbolic link or a mount point leads."""

    substitute_name: str
    print_name: str
    flags: int = 0  # SYMLINK_FLAG_RELATIVE; none in a mount point


class NfsFile(NamedTuple):
    """A special file of NFS clients."""

    inode_type: int  # NFS_SPECFILE_*
    target: str = ""  # of a symbolic link
    major: int = 0  # of a device
    minor: int = 0


def decode_reparse_untrusted(buf: Buffer) -> ReparsePoint:
    """The buffer must be exactly as long as it says. Raises: WireError; the server answers
    IO_REPARSE_DATA_INVALID."""
    if not _HEAD.size <= len(buf) <= limits.REPARSE_BUFFER_BYTES_MAX:
        raise WireError(f"a reparse buffer of {len(buf)} bytes")
    tag, length, _ = _HEAD.unpack_from(buf)
    guid_bytes = 0 if tag & constants.REPARSE_TAG_MICROSOFT_BIT else _GUID_BYTES
    start = _HEAD.size + guid_bytes
    if len(buf) != start + length:
        raise WireError(f"reparse tag {tag:#x}: {length} bytes of data in a buffer of {len(buf)}")
    return ReparsePoint(tag, bytes(buf[start:]), bytes(buf[_HEAD.size : start]))


def encode_reparse(point: ReparsePoint) -> bytes:
    return _HEAD.pack(point.tag, len(point.data), 0) + point.guid + point.data


def _link_untrusted(data: bytes, head: Struct, flags: int) -> Link:
    substitute_at, substitute_bytes, print_at, print_bytes = head.unpack_from(data)[:4]
    path = data[head.size :]
    if max(substitute_at + substitute_bytes, print_at + print_bytes) > len(path):
        raise WireError(f"a link's names lie outside its {len(data)} bytes")
    return Link(
        decode_utf16(path[substitute_at : substitute_at + substitute_bytes]),
        decode_utf16(path[print_at : print_at + print_bytes]),
        flags,
    )


def decode_symlink_untrusted(data: bytes) -> Link:
    """The data of IO_REPARSE_TAG_SYMLINK. Raises: WireError."""
    if len(data) < _SYMLINK.size:
        raise WireError(f"a symbolic link of {len(data)} bytes")
    return _link_untrusted(data, _SYMLINK, _SYMLINK.unpack_from(data)[4])


def encode_symlink(link: Link) -> ReparsePoint:
    substitute, printed = encode_utf16(link.substitute_name), encode_utf16(link.print_name)
    head = _SYMLINK.pack(0, len(substitute), len(substitute), len(printed), link.flags)
    return ReparsePoint(constants.IO_REPARSE_TAG_SYMLINK, head + substitute + printed)


def decode_mount_point_untrusted(data: bytes) -> Link:
    """The data of IO_REPARSE_TAG_MOUNT_POINT. Raises: WireError."""
    if len(data) < _MOUNT_POINT.size:
        raise WireError(f"a mount point of {len(data)} bytes")
    return _link_untrusted(data, _MOUNT_POINT, 0)


def encode_mount_point(link: Link) -> ReparsePoint:
    """Each name with a NUL behind it, which its length does not count."""
    substitute, printed = encode_utf16(link.substitute_name), encode_utf16(link.print_name)
    head = _MOUNT_POINT.pack(0, len(substitute), len(substitute) + 2, len(printed))
    return ReparsePoint(constants.IO_REPARSE_TAG_MOUNT_POINT, head + substitute + b"\0\0" + printed + b"\0\0")


def decode_nfs_untrusted(data: bytes) -> NfsFile:
    """The data of IO_REPARSE_TAG_NFS. Raises: WireError."""
    if len(data) < 8:
        raise WireError(f"an NFS special file of {len(data)} bytes")
    kind = int.from_bytes(data[:8], "little")
    if kind == NFS_SPECFILE_LNK:
        return NfsFile(kind, target=decode_utf16(data[8:]))
    if kind in (NFS_SPECFILE_CHR, NFS_SPECFILE_BLK):
        if len(data) != _DEVICE.size:
            raise WireError(f"an NFS device of {len(data)} bytes")
        return NfsFile(kind, "", *_DEVICE.unpack(data)[1:])
    if kind not in (NFS_SPECFILE_FIFO, NFS_SPECFILE_SOCK):
        raise WireError(f"NFS special file of type {kind:#x}")
    return NfsFile(kind)


def encode_nfs(file: NfsFile) -> ReparsePoint:
    data = file.inode_type.to_bytes(8, "little")
    if file.inode_type == NFS_SPECFILE_LNK:
        data += encode_utf16(file.target)
    elif file.inode_type in (NFS_SPECFILE_CHR, NFS_SPECFILE_BLK):
        data = _DEVICE.pack(file.inode_type, file.major, file.minor)
    return ReparsePoint(constants.IO_REPARSE_TAG_NFS, data)


def decode_lx_symlink_untrusted(data: bytes) -> str:
    """The target in the data of IO_REPARSE_TAG_LX_SYMLINK. Raises: WireError."""
    if len(data) < 4 or int.from_bytes(data[:4], "little") != LX_SYMLINK_VERSION:
        raise WireError("no LX symbolic link of version 2")
    try:
        return data[4:].decode()
    except UnicodeDecodeError:
        raise WireError("an LX symbolic link's target is not UTF-8") from None


def encode_lx_symlink(target: str) -> ReparsePoint:
    """The other tags of WSL (LX_FIFO, LX_CHR, LX_BLK, AF_UNIX) have no data: EAs describe the file."""
    return ReparsePoint(
        constants.IO_REPARSE_TAG_LX_SYMLINK, LX_SYMLINK_VERSION.to_bytes(4, "little") + target.encode()
    )
