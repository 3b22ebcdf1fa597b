"""The CREATE response and its contexts, in the order in which Windows writes them: DHnQ or DH2Q, MxAc, QFid,
RqLs.

Source: [MS-SMB2] 2.2.14 SMB2 CREATE Response; 2.2.14.2 SMB2_CREATE_CONTEXT Response Values; 3.3.5.9
("Response Construction"); 3.3.5.9.5 Handling the SMB2_CREATE_QUERY_MAXIMAL_ACCESS_REQUEST Create Context;
3.3.5.9.9 Handling the SMB2_CREATE_QUERY_ON_DISK_ID Create Context.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from smbproto.fscc import FILE_ATTRIBUTE_NORMAL, FILE_OPEN_REPARSE_POINT
from smbproto.status import Status
from smbsrv.commands.create.contexts import NO_CONTEXTS

if TYPE_CHECKING:
    from smbsrv.commands.create.contexts import Contexts
    from smbsrv.open import Open
    from storage.volume import CachingGrant, File

SMB2_CREATE_FLAG_REPARSEPOINT = 0x01
SMB2_OPLOCK_LEVEL_LEASE = 0xFF
SMB2_LEASE_FLAG_BREAK_IN_PROGRESS = 0x02
SMB2_LEASE_FLAG_PARENT_LEASE_KEY_SET = 0x04
SMB2_DHANDLE_FLAG_PERSISTENT = 0x02

# StructureSize (89), OplockLevel, Flags, CreateAction, four times, AllocationSize, EndofFile,
# FileAttributes, Reserved2,
# FileId, CreateContextsOffset, CreateContextsLength
_FIXED = Struct("<HBBIQQQQQQI4xQQII")
_CONTEXTS_OFFSET = 64 + 88
# Next, NameOffset (16), NameLength (4), Reserved, DataOffset (24), DataLength, name, padding
_HEAD = Struct("<IHHHHI4s4x")

_DHNQ = Struct("<8x")
_DH2Q = Struct("<II")  # Timeout in ms, Flags
_MXAC = Struct("<II")  # QueryStatus, MaximalAccess
_QFID = Struct("<QQ16x")  # DiskFileId, VolumeId
_LEASE_V1 = Struct("<16sII8x")  # LeaseKey, LeaseState, LeaseFlags, LeaseDuration
_LEASE_V2 = Struct("<16sII8x16sH2x")  # the same, ParentLeaseKey, Epoch, Reserved


def _chain(contexts: list[tuple[bytes, bytes]]) -> bytes:
    """SMB2_CREATE_CONTEXT structures, 8-byte aligned, Next 0 in the last."""
    parts: list[bytes] = []
    last = len(contexts) - 1
    for i, (tag, data) in enumerate(contexts):
        size = 24 + len(data)
        pad = -size % 8 if i < last else 0
        parts.append(_HEAD.pack(size + pad if i < last else 0, 16, 4, 0, 24, len(data), tag))
        parts.append(data + bytes(pad))
    return b"".join(parts)


def lease_context(grant: CachingGrant) -> tuple[bytes, bytes]:
    """RqLs: [MS-SMB2] 2.2.14.2.10 SMB2_CREATE_RESPONSE_LEASE, 2.2.14.2.11 SMB2_CREATE_RESPONSE_LEASE_V2."""
    flags = SMB2_LEASE_FLAG_BREAK_IN_PROGRESS if grant.is_breaking else 0
    if grant.version != 2:
        return (b"RqLs", _LEASE_V1.pack(grant.lease_key, grant.state, flags))
    if grant.parent_key:
        flags |= SMB2_LEASE_FLAG_PARENT_LEASE_KEY_SET
    return (
        b"RqLs",
        _LEASE_V2.pack(grant.lease_key, grant.state, flags, grant.parent_key or bytes(16), grant.epoch),
    )


def _maximal_access(opened: Open, file: File, timestamp: int) -> tuple[bytes, bytes]:
    """MxAc: [MS-SMB2] 2.2.14.2.5 SMB2_CREATE_QUERY_MAXIMAL_ACCESS_RESPONSE. Nothing is told of a file that
    has not changed since the client's Timestamp (3.3.5.9.5)."""
    if timestamp and timestamp == file.node.written:
        return (b"MxAc", _MXAC.pack(Status.NONE_MAPPED, 0))
    access = file.maximal_access()
    if opened.tree is not None:
        access &= opened.tree.maximal_access
    return (b"MxAc", _MXAC.pack(Status.SUCCESS, access))


def response_contexts(
    opened: Open, file: File, grant: CachingGrant, asked: Contexts, *, is_new: bool
) -> list[tuple[bytes, bytes]]:
    """`is_new`: a new open, or a replayed one; a reconnect answers with its lease alone."""
    contexts: list[tuple[bytes, bytes]] = []
    if asked is NO_CONTEXTS:
        return contexts
    if is_new and opened.durable_version == 1:
        contexts.append((b"DHnQ", _DHNQ.pack()))
    elif is_new and opened.durable_version == 2:
        flags = SMB2_DHANDLE_FLAG_PERSISTENT if opened.is_persistent else 0
        contexts.append((b"DH2Q", _DH2Q.pack(opened.durable_timeout_ms, flags)))
    if asked.maximal_access is not None:
        contexts.append(_maximal_access(opened, file, asked.maximal_access))
    if asked.on_disk_id:
        contexts.append((b"QFid", _QFID.pack(file.node.id, file.volume.identity.serial)))
    if grant.level == SMB2_OPLOCK_LEVEL_LEASE:
        contexts.append(lease_context(grant))
    return contexts


def response(
    opened: Open, file: File, asked: Contexts, action: int, *, is_new: bool = True, level: int | None = None
) -> bytes:
    """The body of the CREATE response, as the open is now; `level`: an oplock level other than the one
    held."""
    node, stream = file.node, file.stream
    grant = file.caching
    contexts = response_contexts(opened, file, grant, asked, is_new=is_new)
    chain = _chain(contexts) if contexts else b""
    # [MS-SMB2] 2.2.14: set if the open is of the reparse point itself.
    flags = (
        SMB2_CREATE_FLAG_REPARSEPOINT if node.reparse_tag and file.options & FILE_OPEN_REPARSE_POINT else 0
    )
    fixed = _FIXED.pack(
        89, grant.level if level is None else level, flags, action,
        node.created, node.accessed, node.written, node.changed_time,
        stream.allocated_bytes if stream is not None else 0, stream.size_bytes if stream is not None else 0,
        node.attributes or FILE_ATTRIBUTE_NORMAL, opened.persistent_id, opened.volatile_id,
        _CONTEXTS_OFFSET if chain else 0, len(chain))  # fmt: skip
    return fixed + chain


def pipe_response(opened: Open) -> bytes:
    """Of a named pipe: no times, no sizes; FILE_OPENED. [MS-SMB2] 3.3.5.9, "Response Construction"."""
    return _FIXED.pack(
        89,
        0,
        0,
        1,
        0,
        0,
        0,
        0,
        4096,
        0,
        FILE_ATTRIBUTE_NORMAL,
        opened.persistent_id,
        opened.volatile_id,
        0,
        0,
    )
