"""[MS-SMB2] 2.2.9 SMB2 TREE_CONNECT Request; 2.2.10 SMB2 TREE_CONNECT Response."""

from __future__ import annotations

import struct
from typing import Annotated, ClassVar, Final, NamedTuple, Self

from smbproto import limits
from smbproto.codec import (
    HEADER_BYTES,
    Buffer,
    Message,
    Names,
    decode_utf16,
    encode_utf16,
    message,
    reserved1,
    reserved4,
    u8,
    u16,
    u32,
)
from smbproto.errors import WireError

SMB2_TREE_CONNECT_FLAG_CLUSTER_RECONNECT: Final = 0x0001
SMB2_TREE_CONNECT_FLAG_REDIRECT_TO_OWNER: Final = 0x0002
SMB2_TREE_CONNECT_FLAG_EXTENSION_PRESENT: Final = 0x0004

SMB2_REMOTED_IDENTITY_TREE_CONNECT_CONTEXT_ID: Final = 0x0001

SMB2_SHARE_TYPE_DISK: Final = 0x01
SMB2_SHARE_TYPE_PIPE: Final = 0x02
SMB2_SHARE_TYPE_PRINT: Final = 0x03

SMB2_SHAREFLAG_MANUAL_CACHING: Final = 0x00000000
SMB2_SHAREFLAG_DFS: Final = 0x00000001
SMB2_SHAREFLAG_DFS_ROOT: Final = 0x00000002
SMB2_SHAREFLAG_AUTO_CACHING: Final = 0x00000010
SMB2_SHAREFLAG_VDO_CACHING: Final = 0x00000020
SMB2_SHAREFLAG_NO_CACHING: Final = 0x00000030
SMB2_SHAREFLAG_RESTRICT_EXCLUSIVE_OPENS: Final = 0x00000100
SMB2_SHAREFLAG_FORCE_SHARED_DELETE: Final = 0x00000200
SMB2_SHAREFLAG_ALLOW_NAMESPACE_CACHING: Final = 0x00000400
SMB2_SHAREFLAG_ACCESS_BASED_DIRECTORY_ENUM: Final = 0x00000800
SMB2_SHAREFLAG_FORCE_LEVELII_OPLOCK: Final = 0x00001000
SMB2_SHAREFLAG_ENABLE_HASH_V1: Final = 0x00002000
SMB2_SHAREFLAG_ENABLE_HASH_V2: Final = 0x00004000
SMB2_SHAREFLAG_ENCRYPT_DATA: Final = 0x00008000
SMB2_SHAREFLAG_IDENTITY_REMOTING: Final = 0x00040000
SMB2_SHAREFLAG_COMPRESS_DATA: Final = 0x00100000
SMB2_SHAREFLAG_ISOLATED_TRANSPORT: Final = 0x00200000

SMB2_SHARE_CAP_DFS: Final = 0x00000008
SMB2_SHARE_CAP_CONTINUOUS_AVAILABILITY: Final = 0x00000010
SMB2_SHARE_CAP_SCALEOUT: Final = 0x00000020
SMB2_SHARE_CAP_CLUSTER: Final = 0x00000040
SMB2_SHARE_CAP_ASYMMETRIC: Final = 0x00000080
SMB2_SHARE_CAP_REDIRECT_TO_OWNER: Final = 0x00000100

SHARE_TYPES = Names(((1, "DISK"), (2, "PIPE"), (3, "PRINT")), flags=False)
SHARE_CAPABILITIES = Names(
    (
        (0x08, "DFS"),
        (0x10, "CONTINUOUS_AVAILABILITY"),
        (0x20, "SCALEOUT"),
        (0x40, "CLUSTER"),
        (0x80, "ASYMMETRIC"),
        (0x100, "REDIRECT_TO_OWNER"),
    )
)
CONNECT_FLAGS = Names(((1, "CLUSTER_RECONNECT"), (2, "REDIRECT_TO_OWNER"), (4, "EXTENSION_PRESENT")))


class TreeConnectContext(NamedTuple):
    """[MS-SMB2] 2.2.9.2 SMB2 TREE_CONNECT_CONTEXT Request Values."""

    type: int
    data: bytes


_REQUEST = struct.Struct("<HHHH")  # StructureSize, Flags, PathOffset, PathLength
_REQUEST_STRUCTURE_SIZE = 9
_EXTENSION = struct.Struct("<IH10x")  # TreeConnectContextOffset, TreeConnectContextCount
_CONTEXT = struct.Struct("<HHI")


def _decode_contexts_untrusted(buf: Buffer, at: int, count: int) -> tuple[TreeConnectContext, ...]:
    if count > limits.TREE_CONNECT_CONTEXTS_MAX:
        raise WireError(f"{count} tree connect contexts; at most {limits.TREE_CONNECT_CONTEXTS_MAX}")
    contexts = []
    for _ in range(count):
        if at + _CONTEXT.size > len(buf):
            raise WireError(f"a tree connect context at {at} lies outside its message")
        kind, length, _ = _CONTEXT.unpack_from(buf, at)
        at += _CONTEXT.size
        if at + length > len(buf):
            raise WireError(f"tree connect context {kind} with {length} bytes runs over its message")
        contexts.append(TreeConnectContext(kind, bytes(buf[at : at + length])))
        at += length + -length % 8
    return tuple(contexts)


@message(structure_size=9)
class TreeConnectRequest(Message):
    """[MS-SMB2] 2.2.9 SMB2 TREE_CONNECT Request, with 2.2.9.1 SMB2 TREE_CONNECT Request Extension where there
    are contexts (dialect 3.1.1). The extension's context offset counts from the request, not from the
    header."""

    flags: Annotated[u16, CONNECT_FLAGS] = 0
    path_pair: ClassVar[reserved4]
    path: str
    contexts: tuple[TreeConnectContext, ...] = ()

    @classmethod
    def decode_untrusted(cls, buf: Buffer, base: int = 0) -> Self:
        """Raises: WireError."""
        start = base + HEADER_BYTES
        if len(buf) < start + _REQUEST.size:
            raise WireError(f"{len(buf) - base} bytes are too short for a TREE_CONNECT request")
        size, flags, offset, length = _REQUEST.unpack_from(buf, start)
        first = base + offset
        if size != _REQUEST_STRUCTURE_SIZE:
            raise WireError(f"TREE_CONNECT request: StructureSize {size}")
        if length and (first < start + _REQUEST.size or first + length > len(buf)):
            raise WireError(f"a path of {length} bytes at {offset} lies outside its message")
        path = decode_utf16(buf[first : first + length]) if length else ""
        return cls(flags=flags, path=path, contexts=cls._extension_untrusted(buf, start, flags))

    @staticmethod
    def _extension_untrusted(buf: Buffer, start: int, flags: int) -> tuple[TreeConnectContext, ...]:
        if not flags & SMB2_TREE_CONNECT_FLAG_EXTENSION_PRESENT:
            return ()
        at = start + _REQUEST.size
        if at + _EXTENSION.size > len(buf):
            raise WireError("the TREE_CONNECT extension lies outside its message")
        offset, count = _EXTENSION.unpack_from(buf, at)
        if count and start + offset < at + _EXTENSION.size:
            raise WireError(f"tree connect contexts at {offset} lie in the fixed part")
        return _decode_contexts_untrusted(buf, start + offset, count)

    def encode(self) -> bytes:
        path = encode_utf16(self.path)
        offset = HEADER_BYTES + _REQUEST.size
        if not self.contexts:
            out = _REQUEST.pack(_REQUEST_STRUCTURE_SIZE, self.flags, offset, len(path)) + path
            return out if path else out + b"\0"
        flags = self.flags | SMB2_TREE_CONNECT_FLAG_EXTENSION_PRESENT
        head = _REQUEST.pack(_REQUEST_STRUCTURE_SIZE, flags, offset + _EXTENSION.size, len(path))
        end = _REQUEST.size + _EXTENSION.size + len(path)
        extended = bytearray(head + _EXTENSION.pack(end + -end % 8, len(self.contexts)) + path)
        for kind, data in self.contexts:
            extended += bytes(-len(extended) % 8)
            extended += _CONTEXT.pack(kind, len(data), 0) + data
        return bytes(extended)


@message(structure_size=16)
class TreeConnectResponse(Message):
    """[MS-SMB2] 2.2.10 SMB2 TREE_CONNECT Response."""

    share_type: Annotated[u8, SHARE_TYPES]
    reserved: ClassVar[reserved1]
    share_flags: u32 = 0
    capabilities: Annotated[u32, SHARE_CAPABILITIES] = 0
    maximal_access: u32
