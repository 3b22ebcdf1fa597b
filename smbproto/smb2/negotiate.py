"""[MS-SMB2] 2.2.3 SMB2 NEGOTIATE Request; 2.2.4 SMB2 NEGOTIATE Response; 2.2.3.1 SMB2 NEGOTIATE_CONTEXT."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Annotated, ClassVar, Final, NamedTuple, Self

from smbproto import limits
from smbproto.codec import (
    BYTES,
    HEADER_BYTES,
    U16S,
    Buffer,
    Counted,
    Message,
    Names,
    bytes16,
    message,
    reserved2,
    reserved4,
    rest_text,
    structure,
    u16,
    u32,
    u64,
)
from smbproto.errors import WireError

SMB2_DIALECT_202: Final = 0x0202
SMB2_DIALECT_210: Final = 0x0210
SMB2_DIALECT_300: Final = 0x0300
SMB2_DIALECT_302: Final = 0x0302
SMB2_DIALECT_311: Final = 0x0311
SMB2_DIALECT_WILDCARD: Final = 0x02FF  # in answer to a multi-protocol negotiate only

SMB2_NEGOTIATE_SIGNING_ENABLED: Final = 0x0001
SMB2_NEGOTIATE_SIGNING_REQUIRED: Final = 0x0002

SMB2_GLOBAL_CAP_DFS: Final = 0x00000001
SMB2_GLOBAL_CAP_LEASING: Final = 0x00000002
SMB2_GLOBAL_CAP_LARGE_MTU: Final = 0x00000004
SMB2_GLOBAL_CAP_MULTI_CHANNEL: Final = 0x00000008
SMB2_GLOBAL_CAP_PERSISTENT_HANDLES: Final = 0x00000010
SMB2_GLOBAL_CAP_DIRECTORY_LEASING: Final = 0x00000020
SMB2_GLOBAL_CAP_ENCRYPTION: Final = 0x00000040
SMB2_GLOBAL_CAP_NOTIFICATIONS: Final = 0x00000080

SMB2_PREAUTH_INTEGRITY_CAPABILITIES: Final = 0x0001
SMB2_ENCRYPTION_CAPABILITIES: Final = 0x0002
SMB2_COMPRESSION_CAPABILITIES: Final = 0x0003
SMB2_NETNAME_NEGOTIATE_CONTEXT_ID: Final = 0x0005
SMB2_TRANSPORT_CAPABILITIES: Final = 0x0006
SMB2_RDMA_TRANSFORM_CAPABILITIES: Final = 0x0007
SMB2_SIGNING_CAPABILITIES: Final = 0x0008
SMB2_CONTEXTTYPE_RESERVED: Final = 0x0100  # POSIX extensions of others

HASH_SHA512: Final = 0x0001

CIPHER_AES128_CCM: Final = 0x0001
CIPHER_AES128_GCM: Final = 0x0002
CIPHER_AES256_CCM: Final = 0x0003
CIPHER_AES256_GCM: Final = 0x0004

COMPRESSION_NONE: Final = 0x0000
COMPRESSION_LZNT1: Final = 0x0001
COMPRESSION_LZ77: Final = 0x0002
COMPRESSION_LZ77_HUFFMAN: Final = 0x0003
COMPRESSION_PATTERN_V1: Final = 0x0004
COMPRESSION_LZ4: Final = 0x0005
SMB2_COMPRESSION_CAPABILITIES_FLAG_NONE: Final = 0x00000000
SMB2_COMPRESSION_CAPABILITIES_FLAG_CHAINED: Final = 0x00000001

SMB2_ACCEPT_TRANSPORT_LEVEL_SECURITY: Final = 0x00000001

SMB2_RDMA_TRANSFORM_NONE: Final = 0x0000
SMB2_RDMA_TRANSFORM_ENCRYPTION: Final = 0x0001
SMB2_RDMA_TRANSFORM_SIGNING: Final = 0x0002

SIGNING_HMAC_SHA256: Final = 0x0000
SIGNING_AES_CMAC: Final = 0x0001
SIGNING_AES_GMAC: Final = 0x0002

SECURITY_MODES = Names(((1, "SIGNING_ENABLED"), (2, "SIGNING_REQUIRED")))
CAPABILITIES = Names(
    (
        (0x01, "DFS"),
        (0x02, "LEASING"),
        (0x04, "LARGE_MTU"),
        (0x08, "MULTI_CHANNEL"),
        (0x10, "PERSISTENT_HANDLES"),
        (0x20, "DIRECTORY_LEASING"),
        (0x40, "ENCRYPTION"),
        (0x80, "NOTIFICATIONS"),
    )
)

U16List = Annotated[tuple[int, ...], Counted("H", U16S, unit=2)]


class NegotiateContext(NamedTuple):
    """[MS-SMB2] 2.2.3.1 SMB2 NEGOTIATE_CONTEXT Request Values, 2.2.4.1 for the response."""

    type: int
    data: bytes


_CONTEXT = struct.Struct("<HHI")


def _decode_contexts_untrusted(buf: Buffer, offset: int, count: int) -> tuple[NegotiateContext, ...]:
    if count > limits.NEGOTIATE_CONTEXTS_MAX:
        raise WireError(f"{count} negotiate contexts; at most {limits.NEGOTIATE_CONTEXTS_MAX}")
    contexts = []
    for _ in range(count):
        if offset + _CONTEXT.size > len(buf):
            raise WireError(f"a negotiate context at {offset} lies outside its message of {len(buf)} bytes")
        kind, length, _ = _CONTEXT.unpack_from(buf, offset)
        offset += _CONTEXT.size
        if offset + length > len(buf):
            raise WireError(
                f"negotiate context {kind:#x} with {length} bytes at {offset} runs over its message"
            )
        contexts.append(NegotiateContext(kind, bytes(buf[offset : offset + length])))
        offset += length + -length % 8
    return tuple(contexts)


def _encode_contexts(contexts: Sequence[NegotiateContext]) -> bytes:
    """Each but the last padded to 8 bytes."""
    out = bytearray()
    for kind, data in contexts:
        out += bytes(-len(out) % 8)
        out += _CONTEXT.pack(kind, len(data), 0) + data
    return bytes(out)


def find_context(contexts: Sequence[NegotiateContext], kind: int) -> bytes | None:
    """The data of the first context of that type."""
    return next((context.data for context in contexts if context.type == kind), None)


# StructureSize, DialectCount, SecurityMode, Reserved, Capabilities, ClientGuid, context offset, count,
# Reserved2
_REQUEST = struct.Struct("<HHHHI16sIHH")


@message(structure_size=36)
class NegotiateRequest(Message):
    """[MS-SMB2] 2.2.3 SMB2 NEGOTIATE Request. It has contexts where 3.1.1 is among the dialects, and only
    there: the same bytes are ClientStartTime otherwise."""

    dialects: U16List
    security_mode: Annotated[u16, SECURITY_MODES]
    reserved: ClassVar[reserved2]
    capabilities: Annotated[u32, CAPABILITIES] = 0
    client_guid: bytes16 = bytes(16)
    context_offset: ClassVar[reserved4]
    context_count: ClassVar[reserved4]
    contexts: tuple[NegotiateContext, ...] = ()

    @classmethod
    def decode_untrusted(cls, buf: Buffer, base: int = 0) -> Self:
        """Raises: WireError."""
        start = base + HEADER_BYTES
        if len(buf) < start + _REQUEST.size:
            raise WireError(f"{len(buf) - base} bytes are too short for a NEGOTIATE request")
        size, count, mode, _, capabilities, guid, offset, contexts, _ = _REQUEST.unpack_from(buf, start)
        end = start + _REQUEST.size + 2 * count
        if size != _REQUEST.size or count > limits.DIALECTS_MAX or end > len(buf):
            raise WireError(
                f"NEGOTIATE request: StructureSize {size}, {count} dialects, {len(buf) - base} bytes"
            )
        dialects = struct.unpack_from(f"<{count}H", buf, start + _REQUEST.size)
        found: tuple[NegotiateContext, ...] = ()
        if SMB2_DIALECT_311 in dialects and contexts:
            if base + offset < end:
                raise WireError(f"negotiate contexts at {offset} lie in the dialects")
            found = _decode_contexts_untrusted(buf, base + offset, contexts)
        return cls(
            dialects=dialects, security_mode=mode, capabilities=capabilities, client_guid=guid, contexts=found
        )  # fmt: skip

    def encode(self) -> bytes:
        dialects = struct.pack(f"<{len(self.dialects)}H", *self.dialects)
        offset = HEADER_BYTES + _REQUEST.size + len(dialects)
        padding = bytes(-offset % 8) if self.contexts else b""
        head = _REQUEST.pack(
            _REQUEST.size, len(self.dialects), self.security_mode, 0, self.capabilities, self.client_guid,
            offset + len(padding) if self.contexts else 0, len(self.contexts), 0,
        )  # fmt: skip
        return head + dialects + padding + _encode_contexts(self.contexts)


# StructureSize, SecurityMode, DialectRevision, NegotiateContextCount, ServerGuid, Capabilities,
# MaxTransactSize, MaxReadSize, MaxWriteSize, SystemTime, ServerStartTime, buffer offset and length,
# NegotiateContextOffset
_RESPONSE = struct.Struct("<HHHH16sIIIIQQHHI")
_RESPONSE_STRUCTURE_SIZE = 65


@message(structure_size=65)
class NegotiateResponse(Message):
    """[MS-SMB2] 2.2.4 SMB2 NEGOTIATE Response. `contexts` with dialect 3.1.1 only."""

    security_mode: Annotated[u16, SECURITY_MODES]
    dialect_revision: u16
    context_count: ClassVar[reserved2]
    server_guid: bytes16
    capabilities: Annotated[u32, CAPABILITIES] = 0
    max_transact_size: u32
    max_read_size: u32
    max_write_size: u32
    system_time: u64 = 0
    server_start_time: u64 = 0
    buffer_offset: ClassVar[reserved4]
    context_offset: ClassVar[reserved4]
    security_buffer: bytes = b""
    contexts: tuple[NegotiateContext, ...] = ()

    @classmethod
    def decode_untrusted(cls, buf: Buffer, base: int = 0) -> Self:
        """Raises: WireError."""
        start = base + HEADER_BYTES
        if len(buf) < start + _RESPONSE.size:
            raise WireError(f"{len(buf) - base} bytes are too short for a NEGOTIATE response")
        (size, mode, dialect, count, guid, capabilities, transact, read, write, now, started, offset, length,
         context_offset) = _RESPONSE.unpack_from(buf, start)  # fmt: skip
        fixed_end = start + _RESPONSE.size
        if size != _RESPONSE_STRUCTURE_SIZE:
            raise WireError(f"NEGOTIATE response: StructureSize {size}")
        token = b""
        if length:
            if base + offset < fixed_end or base + offset + length > len(buf):
                raise WireError(f"a security buffer of {length} bytes at {offset} lies outside its message")
            token = bytes(buf[base + offset : base + offset + length])
        contexts: tuple[NegotiateContext, ...] = ()
        if dialect == SMB2_DIALECT_311 and count:
            if base + context_offset < fixed_end:
                raise WireError(f"negotiate contexts at {context_offset} lie in the fixed part")
            contexts = _decode_contexts_untrusted(buf, base + context_offset, count)
        return cls(
            security_mode=mode, dialect_revision=dialect, server_guid=guid, capabilities=capabilities,
            max_transact_size=transact, max_read_size=read, max_write_size=write, system_time=now,
            server_start_time=started, security_buffer=token, contexts=contexts,
        )  # fmt: skip

    def encode(self) -> bytes:
        offset = HEADER_BYTES + _RESPONSE.size
        end = offset + len(self.security_buffer)
        padding = bytes(-end % 8) if self.contexts else b""
        head = _RESPONSE.pack(
            _RESPONSE_STRUCTURE_SIZE, self.security_mode, self.dialect_revision, len(self.contexts),
            self.server_guid, self.capabilities, self.max_transact_size, self.max_read_size,
            self.max_write_size, self.system_time, self.server_start_time, offset, len(self.security_buffer),
            end + len(padding) if self.contexts else 0,
        )  # fmt: skip
        out = head + self.security_buffer + padding + _encode_contexts(self.contexts)
        return out if len(out) >= _RESPONSE_STRUCTURE_SIZE else out + b"\0"


@structure()
class PreauthIntegrityCapabilities(Message):
    """[MS-SMB2] 2.2.3.1.1 SMB2_PREAUTH_INTEGRITY_CAPABILITIES."""

    hash_algorithms: U16List
    salt: Annotated[bytes, Counted("H", BYTES)] = b""


@structure()
class EncryptionCapabilities(Message):
    """[MS-SMB2] 2.2.3.1.2 SMB2_ENCRYPTION_CAPABILITIES. In a response a cipher of 0 means: none in common."""

    ciphers: U16List


@structure()
class CompressionCapabilities(Message):
    """[MS-SMB2] 2.2.3.1.3 SMB2_COMPRESSION_CAPABILITIES."""

    algorithms: U16List
    padding: ClassVar[reserved2]
    flags: u32 = SMB2_COMPRESSION_CAPABILITIES_FLAG_NONE


@structure()
class NetnameContext(Message):
    """[MS-SMB2] 2.2.3.1.4 SMB2_NETNAME_NEGOTIATE_CONTEXT_ID."""

    net_name: rest_text


@structure()
class TransportCapabilities(Message):
    """[MS-SMB2] 2.2.3.1.5 SMB2_TRANSPORT_CAPABILITIES."""

    flags: u32 = 0


@structure()
class RdmaTransformCapabilities(Message):
    """[MS-SMB2] 2.2.3.1.6 SMB2_RDMA_TRANSFORM_CAPABILITIES."""

    transform_ids: U16List
    reserved: ClassVar[reserved2]
    reserved_2: ClassVar[reserved4]


@structure()
class SigningCapabilities(Message):
    """[MS-SMB2] 2.2.3.1.7 SMB2_SIGNING_CAPABILITIES."""

    algorithms: U16List
