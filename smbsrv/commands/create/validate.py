"""The fixed part of a CREATE request: what it asks, and whether it may be asked at all.

Source: [MS-SMB2] 2.2.13 SMB2 CREATE Request; 3.3.5.9 Receiving an SMB2 CREATE Request, phases "Path Name
Validation", "Create Options Validation", "Request Parameter Validation". Whether the open succeeds is decided
by the object store, not here.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from smbproto.dtyp import ACCESS_SYSTEM_SECURITY, DELETE, MAXIMUM_ALLOWED, map_generic
from smbproto.fscc import (
    FILE_CREATE_TREE_CONNECTION,
    FILE_DELETE_ON_CLOSE,
    FILE_DIRECTORY_FILE,
    FILE_MAXIMUM_DISPOSITION,
    FILE_NON_DIRECTORY_FILE,
    FILE_OPEN_BY_FILE_ID,
    FILE_RESERVE_OPFILTER,
)
from smbproto.status import Status, StatusError
from smbsrv.commands.create.contexts import NO_CONTEXTS, Contexts, read_contexts

if TYPE_CHECKING:
    from smbsrv.tree import TreeConnect

# StructureSize, SecurityFlags, RequestedOplockLevel, ImpersonationLevel, SmbCreateFlags, Reserved,
# DesiredAccess,
# FileAttributes, ShareAccess, CreateDisposition, CreateOptions, NameOffset, NameLength,
# CreateContextsOffset, ...Length
_FIXED = Struct("<HxBI8x8xIIIIIHHII")
_FIXED_BYTES = 56
_BUFFER = 64 + _FIXED_BYTES

IMPERSONATION_DELEGATE = 3
FILE_SHARE_VALID = 0x7
OPTIONS_NOT_SUPPORTED = FILE_CREATE_TREE_CONNECTION | FILE_OPEN_BY_FILE_ID | FILE_RESERVE_OPFILTER
OPTIONS_INVALID = 0xFF000000
"""Windows refuses these (capture; also what smbtorture's smb2.create.gentest expects)."""


class Wish(NamedTuple):
    """What a CREATE request asks for."""

    oplock_level: int
    impersonation_level: int
    desired_access: int
    attributes: int
    share_access: int
    disposition: int
    options: int
    name: str
    contexts: Contexts


def decode_untrusted(message: memoryview) -> Wish:
    """The request as it stands. Raises: StatusError INVALID_PARAMETER; WireError for malformed contexts."""
    if len(message) < _BUFFER:
        raise StatusError(Status.INVALID_PARAMETER, f"{len(message)} bytes are no CREATE request")
    (size, level, impersonation, access, attributes, share, disposition, options, name_offset, name_length,
     chain_offset, chain_length) = _FIXED.unpack_from(message, 64)  # fmt: skip
    if size != 57:
        raise StatusError(Status.INVALID_PARAMETER, f"StructureSize {size}")
    name = ""
    if name_length:
        # 3.3.5.9: NameLength beyond the request, no multiple of 2, or NameOffset below the Buffer field
        if name_length % 2 or name_offset < _BUFFER or name_offset + name_length > len(message):
            raise StatusError(Status.INVALID_PARAMETER, f"a name of {name_length} bytes at {name_offset}")
        name = str(message[name_offset : name_offset + name_length], "utf-16-le", "surrogatepass")
    contexts = NO_CONTEXTS
    if chain_length:
        if chain_offset % 8 or chain_offset < _BUFFER or chain_offset + chain_length > len(message):
            raise StatusError(
                Status.INVALID_PARAMETER, f"create contexts of {chain_length} bytes at {chain_offset}"
            )
        contexts = read_contexts(message[chain_offset : chain_offset + chain_length])
    return Wish(level, impersonation, access, attributes, share, disposition, options, name, contexts)


def check_parameters(wish: Wish, options: int) -> None:
    """[MS-SMB2] 3.3.5.9, "Create Options Validation" and 2.2.13; not asked of a reconnect, whose other fields
    mean nothing.

    Raises: BAD_IMPERSONATION_LEVEL, INVALID_PARAMETER, NOT_SUPPORTED.
    """
    if wish.impersonation_level > IMPERSONATION_DELEGATE:
        raise StatusError(Status.BAD_IMPERSONATION_LEVEL, f"impersonation level {wish.impersonation_level}")
    if wish.disposition > FILE_MAXIMUM_DISPOSITION or wish.share_access & ~FILE_SHARE_VALID:
        raise StatusError(
            Status.INVALID_PARAMETER, f"disposition {wish.disposition}, share access {wish.share_access:#x}"
        )
    if options & OPTIONS_INVALID:
        raise StatusError(Status.INVALID_PARAMETER, f"create options {options:#010x}")
    if options & OPTIONS_NOT_SUPPORTED:
        raise StatusError(Status.NOT_SUPPORTED, f"create options {options:#010x}")
    if options & FILE_DIRECTORY_FILE and options & FILE_NON_DIRECTORY_FILE:
        raise StatusError(Status.INVALID_PARAMETER, "both a directory and no directory")


def check_share_access(desired: int, options: int, tree: TreeConnect) -> None:
    """[MS-SMB2] 3.3.5.9, "Open Execution": DesiredAccess against TreeConnect.MaximalAccess. Raises:
    ACCESS_DENIED."""
    wanted = map_generic(desired) & ~(MAXIMUM_ALLOWED | ACCESS_SYSTEM_SECURITY)
    if options & FILE_DELETE_ON_CLOSE:
        wanted |= DELETE
    if wanted & ~tree.maximal_access:
        raise StatusError(
            Status.ACCESS_DENIED, f"the share gives {tree.maximal_access:#x}, {wanted:#x} was asked"
        )


def _without_dots(name: str) -> str:
    """Windows takes "." and ".." on the way out of a path, but for "x\\..\\" at its beginning, which is
    INVALID_PARAMETER ([MS-SMB2] 3.3.5.9, behaviour note); [MS-FSCC] 2.1.5.1 Dot Directory Names."""
    *way, last = name.split("\\")
    if len(way) > 1 and way[1] == "..":
        raise StatusError(Status.INVALID_PARAMETER, "a path that begins with a way down and up again")
    kept: list[str] = []
    for component in way:
        if component == "..":
            if not kept:
                raise StatusError(Status.OBJECT_PATH_SYNTAX_BAD, "no path leads above the share")
            kept.pop()
        elif component != ".":
            kept.append(component)
    return "\\".join([*kept, last])


def path_of(name: str, options: int) -> tuple[str, int]:
    """The path for the volume port, and the options with what a trailing "\\" says.

    [MS-SMB2] 3.3.5.9, "Path Name Validation": a leading "\\" is INVALID_PARAMETER. [MS-FSA] 2.1.5.1: a
    trailing one names a directory; with FILE_NON_DIRECTORY_FILE it is OBJECT_NAME_INVALID.
    """
    if not name:
        return "", options
    if name[0] == "\\":
        raise StatusError(Status.INVALID_PARAMETER, "a path name begins with a backslash")
    if ".\\" in name:
        name = _without_dots(name)
    if name[-1] == "\\":
        if options & FILE_NON_DIRECTORY_FILE:
            raise StatusError(Status.OBJECT_NAME_INVALID, "a file's name ends in a backslash")
        return name[:-1], options | FILE_DIRECTORY_FILE
    return name, options
