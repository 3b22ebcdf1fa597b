"""What the host has no place for, kept in one extended attribute of each file.

`user.sofs.meta`: "<4sIQQ" magic b"SFM1", FILE_ATTRIBUTE_* bits that were set by clients, creation time,
change time (FILETIME). Others: `user.sofs.sd` (self-relative security descriptor), `user.sofs.ea` (EA list),
`user.sofs.reparse`, `user.sofs.oid`, `user.sofs.s:<name>` (one stream each). Where the host has no extended
attributes these live as long as the server does.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Sequence

from storage.fs.port import ExtendedAttribute

META = b"user.sofs.meta"
SECURITY = b"user.sofs.sd"
EAS = b"user.sofs.ea"
REPARSE = b"user.sofs.reparse"
OBJECT_ID = b"user.sofs.oid"
STREAM_PREFIX = b"user.sofs.s:"

_META = struct.Struct("<4sIQQ")
_MAGIC = b"SFM1"
_EA = struct.Struct("<BBH")
EPOCH_1601_100NS = 116444736000000000
_NONE = (errno.ENODATA, errno.EOPNOTSUPP, errno.EPERM, errno.EACCES, errno.ENOENT, errno.ENOTDIR)
"""The last three: a file that the server may not read shows without what is kept in it, and so does one that
others remove meanwhile."""


def filetime_of(ns: int) -> int:
    """Nanoseconds since 1970 to 100 ns since 1601."""
    return ns // 100 + EPOCH_1601_100NS


def unix_ns_of(filetime: int) -> int:
    return (filetime - EPOCH_1601_100NS) * 100


def get(path: bytes | int, name: bytes) -> bytes:
    """The attribute's value; b"" where there is none or the host cannot have one."""
    try:
        return os.getxattr(path, name)
    except OSError as error:
        if error.errno in _NONE:
            return b""
        raise


def put(path: bytes | int, name: bytes, value: bytes) -> bool:
    """Set, or remove when empty. False: the host has no room or no support for it."""
    try:
        if value:
            os.setxattr(path, name, value)
        else:
            os.removexattr(path, name)
    except OSError as error:
        if error.errno == errno.ENODATA:
            return True
        if error.errno in (
            errno.EOPNOTSUPP,
            errno.ENOSPC,
            errno.E2BIG,
            errno.ERANGE,
            errno.EPERM,
            errno.EDQUOT,
        ):
            return False
        raise
    return True


def pack_meta(attributes: int, created: int, changed: int) -> bytes:
    return _META.pack(_MAGIC, attributes, created, changed)


def unpack_meta(value: bytes) -> tuple[int, int, int] | None:
    """(attributes, created, changed); None if the value is not ours."""
    if len(value) != _META.size:
        return None
    magic, attributes, created, changed = _META.unpack(value)
    return (attributes, created, changed) if magic == _MAGIC else None


def pack_eas(eas: Sequence[ExtendedAttribute]) -> bytes:
    return b"".join(_EA.pack(e.flags, len(e.name), len(e.value)) + e.name + e.value for e in eas)


def unpack_eas(value: bytes) -> list[ExtendedAttribute]:
    """Stops at the first entry that does not fit: a damaged tail loses only itself."""
    found: list[ExtendedAttribute] = []
    at = 0
    while at + _EA.size <= len(value):
        flags, name_length, value_length = _EA.unpack_from(value, at)
        end = at + _EA.size + name_length + value_length
        if end > len(value):
            break
        name = value[at + _EA.size : at + _EA.size + name_length]
        found.append(ExtendedAttribute(name, value[at + _EA.size + name_length : end], flags))
        at = end
    return found
