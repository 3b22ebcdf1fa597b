"""[MS-SMB2] 2.2.13 SMB2 CREATE Request; 2.2.14 SMB2 CREATE Response; the chain of 2.2.13.2
SMB2_CREATE_CONTEXT.

What the contexts hold: `contexts.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Annotated, ClassVar, Final, NamedTuple

from smbproto import limits
from smbproto.codec import (
    Buffer,
    Codec,
    FileId,
    Message,
    Names,
    Pair,
    message,
    reserved8,
    u8,
    u32,
    u64,
    utf16,
)
from smbproto.errors import WireError
from smbproto.fscc.fsctl_codes import FILE_ATTRIBUTE_NAMES, FILE_SHARE_NAMES

SMB2_OPLOCK_LEVEL_NONE: Final = 0x00
SMB2_OPLOCK_LEVEL_II: Final = 0x01
SMB2_OPLOCK_LEVEL_EXCLUSIVE: Final = 0x08
SMB2_OPLOCK_LEVEL_BATCH: Final = 0x09
SMB2_OPLOCK_LEVEL_LEASE: Final = 0xFF

SMB2_IMPERSONATION_ANONYMOUS: Final = 0x00000000
SMB2_IMPERSONATION_IDENTIFICATION: Final = 0x00000001
SMB2_IMPERSONATION_IMPERSONATION: Final = 0x00000002
SMB2_IMPERSONATION_DELEGATE: Final = 0x00000003

SMB2_CREATE_FLAG_REPARSEPOINT: Final = 0x01

SMB2_LEASE_NONE: Final = 0x00
SMB2_LEASE_READ_CACHING: Final = 0x01
SMB2_LEASE_HANDLE_CACHING: Final = 0x02
SMB2_LEASE_WRITE_CACHING: Final = 0x04

OPLOCK_LEVELS = Names(((0, "NONE"), (1, "II"), (8, "EXCLUSIVE"), (9, "BATCH"), (255, "LEASE")), flags=False)
LEASE_STATES = Names(((1, "R"), (2, "H"), (4, "W")))
DISPOSITIONS = Names(
    ((0, "SUPERSEDE"), (1, "OPEN"), (2, "CREATE"), (3, "OPEN_IF"), (4, "OVERWRITE"), (5, "OVERWRITE_IF")),
    flags=False,
)
ACTIONS = Names(((0, "SUPERSEDED"), (1, "OPENED"), (2, "CREATED"), (3, "OVERWRITTEN")), flags=False)

# For the hot path. StructureSize (89), OplockLevel, Flags, CreateAction, four times, AllocationSize,
# EndofFile, FileAttributes, Reserved2, persistent and volatile FileId, CreateContextsOffset,
# CreateContextsLength.
CREATE_RESPONSE: Final = Struct("<HBBIQQQQQQIIQQII")
CREATE_RESPONSE_CONTEXTS_OFFSET: Final = 152  # where a response's contexts stand, from the header


class CreateContext(NamedTuple):
    """[MS-SMB2] 2.2.13.2 SMB2_CREATE_CONTEXT Request Values: a name (four letters or 16 bytes) and its
    data."""

    name: bytes
    data: bytes = b""


_CONTEXT = Struct("<IHHHHI")  # Next, NameOffset, NameLength, Reserved, DataOffset, DataLength


def decode_contexts_untrusted(data: Buffer) -> tuple[CreateContext, ...]:
    """The chain, in its order. Raises: WireError, also over the limits on count and size."""
    size = len(data)
    if size > limits.CREATE_CONTEXT_BYTES_MAX:
        raise WireError(f"{size} bytes of create contexts; at most {limits.CREATE_CONTEXT_BYTES_MAX}")
    contexts: list[CreateContext] = []
    at = 0
    while size:
        if at + _CONTEXT.size > size or len(contexts) == limits.CREATE_CONTEXTS_MAX:
            raise WireError(f"create context {len(contexts)} at {at} of {size} bytes: too many, or outside")
        following, name_at, name_bytes, _, data_at, data_bytes = _CONTEXT.unpack_from(data, at)
        end = at + following if following else size
        if following and (following < _CONTEXT.size or following % 8 or end > size):
            raise WireError(f"the create context after {at} would be {following} bytes further, of {size}")
        name_from, data_from = at + name_at, at + data_at
        if name_at < _CONTEXT.size or not name_bytes or name_from + name_bytes > end:
            raise WireError(f"a create context's name ({name_bytes} bytes at {name_at}) lies outside it")
        if data_bytes and (data_at < _CONTEXT.size or data_from + data_bytes > end):
            raise WireError(f"a create context's data ({data_bytes} bytes at {data_at}) lie outside it")
        value = bytes(data[data_from : data_from + data_bytes]) if data_bytes else b""
        contexts.append(CreateContext(bytes(data[name_from : name_from + name_bytes]), value))
        if not following:
            break
        at = end
    return tuple(contexts)


def encode_contexts(contexts: Sequence[CreateContext]) -> bytes:
    """The chain: name at 16, data 8-aligned behind it, each context but the last padded to 8 bytes."""
    if not contexts:
        return b""
    parts: list[bytes] = []
    last = len(contexts) - 1
    for index, (name, data) in enumerate(contexts):
        data_at = (16 + len(name) + 7) & ~7
        length = data_at + len(data) if data else 16 + len(name)
        padding = -length % 8 if index < last else 0
        head = _CONTEXT.pack(
            length + padding if index < last else 0, 16, len(name), 0, data_at if data else 0, len(data)
        )  # fmt: skip
        body = name + bytes(data_at - 16 - len(name)) + data if data else name
        parts.append(head + body + bytes(padding))
    return b"".join(parts)


Contexts = Annotated[
    tuple[CreateContext, ...], Pair("II", Codec(decode_contexts_untrusted, encode_contexts), align=8)
]


@message(structure_size=57)
class CreateRequest(Message):
    """[MS-SMB2] 2.2.13 SMB2 CREATE Request."""

    security_flags: u8 = 0
    requested_oplock_level: Annotated[u8, OPLOCK_LEVELS] = SMB2_OPLOCK_LEVEL_NONE
    impersonation_level: u32 = SMB2_IMPERSONATION_IMPERSONATION
    smb_create_flags: u64 = 0
    reserved: ClassVar[reserved8]
    desired_access: u32
    file_attributes: Annotated[u32, Names(FILE_ATTRIBUTE_NAMES)] = 0
    share_access: Annotated[u32, Names(FILE_SHARE_NAMES)] = 0
    create_disposition: Annotated[u32, DISPOSITIONS]
    create_options: u32 = 0
    name: utf16 = ""
    contexts: Contexts = ()


@message(structure_size=89)
class CreateResponse(Message):
    """[MS-SMB2] 2.2.14 SMB2 CREATE Response."""

    oplock_level: Annotated[u8, OPLOCK_LEVELS] = SMB2_OPLOCK_LEVEL_NONE
    flags: u8 = 0
    create_action: Annotated[u32, ACTIONS]
    creation_time: u64 = 0
    last_access_time: u64 = 0
    last_write_time: u64 = 0
    change_time: u64 = 0
    allocation_size: u64 = 0
    end_of_file: u64 = 0
    file_attributes: Annotated[u32, Names(FILE_ATTRIBUTE_NAMES)] = 0
    reserved: u32 = 0
    file_id: FileId
    contexts: Contexts = ()
