"""Headers that stand before a message that is encrypted or compressed, and the RDMA transforms.

Source: [MS-SMB2] 2.2.41 SMB2 TRANSFORM_HEADER; 2.2.42 SMB2 COMPRESSION_TRANSFORM_HEADER; 2.2.43
SMB2_RDMA_TRANSFORM.
"""

from __future__ import annotations

from struct import Struct
from typing import Annotated, ClassVar, Final, Self

from smbproto.codec import (
    BYTES,
    Buffer,
    Counted,
    Message,
    bytes16,
    reserved1,
    reserved2,
    reserved4,
    rest,
    structure,
    u8,
    u16,
    u32,
    u64,
)
from smbproto.errors import WireError

SMB2_TRANSFORM_PROTOCOL_ID: Final = b"\xfdSMB"
SMB2_COMPRESSION_PROTOCOL_ID: Final = b"\xfcSMB"
SMB2_TRANSFORM_BYTES: Final = 52
TRANSFORM_NONCE_OFFSET: Final = 20  # the associated data of the AEAD: from the nonce to the header's end
TRANSFORM_FLAG_ENCRYPTED: Final = 0x0001  # 3.1.1; as EncryptionAlgorithm of 3.0: AES128_CCM

# ProtocolId, Signature, Nonce, OriginalMessageSize, Reserved, Flags, SessionId
TRANSFORM_HEADER: Final = Struct("<4s16s16sIHHQ")

SMB2_COMPRESSION_FLAG_NONE: Final = 0x0000
SMB2_COMPRESSION_FLAG_CHAINED: Final = 0x0001


@structure()
class TransformHeader(Message):
    """[MS-SMB2] 2.2.41 SMB2 TRANSFORM_HEADER."""

    signature: bytes16 = bytes(16)
    nonce: bytes16  # 11 bytes (CCM) or 12 (GCM), then zeros
    original_message_size: u32
    flags: u16 = TRANSFORM_FLAG_ENCRYPTED
    session_id: u64

    @classmethod
    def decode_untrusted(cls, buf: Buffer, base: int = 0) -> Self:
        """Raises: WireError."""
        if len(buf) < base + SMB2_TRANSFORM_BYTES:
            raise WireError(f"{len(buf) - base} bytes are too short for a TRANSFORM_HEADER")
        magic, signature, nonce, size, _, flags, session_id = TRANSFORM_HEADER.unpack_from(buf, base)
        if magic != SMB2_TRANSFORM_PROTOCOL_ID:
            raise WireError(f"no TRANSFORM_HEADER: {magic!r}")
        return cls(
            signature=signature, nonce=nonce, original_message_size=size, flags=flags, session_id=session_id
        )

    def encode(self) -> bytes:
        """52 bytes."""
        return TRANSFORM_HEADER.pack(
            SMB2_TRANSFORM_PROTOCOL_ID, self.signature, self.nonce, self.original_message_size, 0, self.flags,
            self.session_id,
        )  # fmt: skip


@structure()
class CompressionTransformHeader(Message):
    """[MS-SMB2] 2.2.42.1 SMB2_COMPRESSION_TRANSFORM_HEADER_UNCHAINED, with its protocol id."""

    protocol_id: u32 = int.from_bytes(SMB2_COMPRESSION_PROTOCOL_ID, "little")
    original_compressed_segment_size: u32
    compression_algorithm: u16
    flags: u16 = SMB2_COMPRESSION_FLAG_NONE
    offset: u32  # where the compressed part starts, from this header's end; in the chained form a length
    payload: rest = b""


@structure()
class CompressionChainedPayloadHeader(Message):
    """[MS-SMB2] 2.2.42.2.1 SMB2_COMPRESSION_CHAINED_PAYLOAD_HEADER, without OriginalPayloadSize, which stands
    in the payload's first four bytes for LZNT1, LZ77, LZ77+Huffman and LZ4."""

    compression_algorithm: u16
    flags: u16 = SMB2_COMPRESSION_FLAG_NONE
    length: u32


@structure()
class CompressionPatternPayload(Message):
    """[MS-SMB2] 2.2.42.2.2 SMB2_COMPRESSION_PATTERN_PAYLOAD_V1."""

    pattern: u8
    reserved_1: ClassVar[reserved1]
    reserved_2: ClassVar[reserved2]
    repetitions: u32


@structure()
class RdmaTransform(Message):
    """[MS-SMB2] 2.2.43 SMB2_RDMA_TRANSFORM; `transforms` are SMB2_RDMA_CRYPTO_TRANSFORM structures, then
    descriptors."""

    rdma_descriptor_offset: u16
    rdma_descriptor_length: u16
    channel: u32
    transform_count: u16
    reserved: ClassVar[reserved2]
    reserved_2: ClassVar[reserved4]
    transforms: rest = b""


@structure()
class RdmaCryptoTransform(Message):
    """[MS-SMB2] 2.2.43.1 SMB2_RDMA_CRYPTO_TRANSFORM."""

    transform_type: u16
    signature: Annotated[bytes, Counted("H", BYTES)] = b""
    nonce: Annotated[bytes, Counted("H", BYTES, align=8)] = b""
    reserved: ClassVar[reserved2]
