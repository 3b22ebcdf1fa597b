"""[MS-SMB2] 2.2.2 SMB2 ERROR Response, with its contexts."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Annotated, ClassVar, Final, NamedTuple

from smbproto import limits
from smbproto.codec import (
    BYTES,
    Buffer,
    Counted,
    Message,
    decode_utf16,
    encode_utf16,
    message,
    reserved1,
    reserved2,
    rest,
    structure,
    u8,
    u16,
    u32,
)
from smbproto.errors import WireError
from smbproto.fscc.constants import IO_REPARSE_TAG_SYMLINK, SYMLINK_FLAG_RELATIVE

SMB2_ERROR_ID_DEFAULT: Final = 0x00000000
SMB2_ERROR_ID_SHARE_REDIRECT: Final = 0x72645253
SYMLINK_ERROR_TAG: Final = 0x4C4D5953

# The body of an error response that says nothing but its status.
ERROR_RESPONSE_EMPTY: Final = struct.pack("<HBBIB", 9, 0, 0, 0, 0)


class ErrorContext(NamedTuple):
    """[MS-SMB2] 2.2.2.1 SMB2 ERROR Context Response."""

    error_id: int
    data: bytes


@message(structure_size=9)
class ErrorResponse(Message):
    """[MS-SMB2] 2.2.2 SMB2 ERROR Response. `error_data` is a list of contexts in dialect 3.1.1 where
    `error_context_count` is not 0; else the data itself: a symbolic link, or the length that would do."""

    error_context_count: u8 = 0
    reserved: ClassVar[reserved1]
    error_data: Annotated[bytes, Counted("I", BYTES)] = b""


_CONTEXT = struct.Struct("<II")


def decode_error_contexts_untrusted(data: Buffer, count: int) -> tuple[ErrorContext, ...]:
    """Raises: WireError."""
    if count > limits.ERROR_CONTEXTS_MAX:
        raise WireError(f"{count} error contexts; at most {limits.ERROR_CONTEXTS_MAX}")
    contexts = []
    at = 0
    for _ in range(count):
        if at + _CONTEXT.size > len(data):
            raise WireError(f"an error context at {at} lies outside {len(data)} bytes")
        length, error_id = _CONTEXT.unpack_from(data, at)
        at += _CONTEXT.size
        if at + length > len(data):
            raise WireError(f"an error context of {length} bytes runs over its {len(data)}")
        contexts.append(ErrorContext(error_id, bytes(data[at : at + length])))
        at += length + -length % 8
    return tuple(contexts)


def encode_error_contexts(contexts: Sequence[ErrorContext]) -> bytes:
    out = bytearray()
    for error_id, data in contexts:
        out += bytes(-len(out) % 8)
        out += _CONTEXT.pack(len(data), error_id) + data
    return bytes(out)


def error_body(error_data: bytes, *, dialect_311: bool, error_id: int = SMB2_ERROR_ID_DEFAULT) -> bytes:
    """The response's body with data: dialect 3.1.1 puts them into a context."""
    if not dialect_311:
        return ErrorResponse(error_data=error_data).encode()
    return ErrorResponse(
        error_context_count=1, error_data=encode_error_contexts([ErrorContext(error_id, error_data)])
    ).encode()


# SymLinkLength, SymLinkErrorTag, ReparseTag, ReparseDataLength, UnparsedPathLength, SubstituteNameOffset and
# Length, PrintNameOffset and Length, Flags
_SYMLINK = struct.Struct("<IIIHHHHHHI")


@structure()
class SymbolicLinkError(Message):
    """[MS-SMB2] 2.2.2.2.1 Symbolic Link Error Response."""

    unparsed_path_length: u16  # bytes of the UTF-16 path behind the link
    flags: u32 = 0  # SYMLINK_FLAG_RELATIVE
    substitute_name: str
    print_name: str

    @classmethod
    def decode_untrusted(cls, buf: Buffer, base: int = 0) -> SymbolicLinkError:
        """Raises: WireError."""
        start = base + _SYMLINK.size
        if len(buf) < start:
            raise WireError(f"{len(buf) - base} bytes are too short for a symbolic link error")
        (_, error_tag, tag, _, unparsed, substitute_at, substitute_bytes, print_at, print_bytes,
         flags) = _SYMLINK.unpack_from(buf, base)  # fmt: skip
        if error_tag != SYMLINK_ERROR_TAG or tag != IO_REPARSE_TAG_SYMLINK:
            raise WireError(f"no symbolic link error: {error_tag:#x}, {tag:#x}")
        if start + max(substitute_at + substitute_bytes, print_at + print_bytes) > len(buf):
            raise WireError("a symbolic link error's names lie outside it")
        return cls(
            unparsed_path_length=unparsed,
            flags=flags,
            substitute_name=decode_utf16(
                buf[start + substitute_at : start + substitute_at + substitute_bytes]
            ),
            print_name=decode_utf16(buf[start + print_at : start + print_at + print_bytes]),
        )

    def encode(self) -> bytes:
        substitute, printed = encode_utf16(self.substitute_name), encode_utf16(self.print_name)
        names = len(substitute) + len(printed)
        head = _SYMLINK.pack(
            _SYMLINK.size - 4 + names, SYMLINK_ERROR_TAG, IO_REPARSE_TAG_SYMLINK, 12 + names,
            self.unparsed_path_length, 0, len(substitute), len(substitute), len(printed), self.flags,
        )  # fmt: skip
        return head + substitute + printed

    @property
    def is_relative(self) -> bool:
        return bool(self.flags & SYMLINK_FLAG_RELATIVE)


@structure()
class ShareRedirectError(Message):
    """[MS-SMB2] 2.2.2.2.2 Share Redirect Error Context Response: fixed part; `buffer` is IPAddrMoveList,
    ResourceName."""

    structure_length: u32
    notification_type: u32 = 3  # SHARE_MOVE_NOTIFICATION
    resource_name_offset: u32
    resource_name_length: u32
    reserved: ClassVar[reserved2]
    target_type: u16 = 0
    ip_address_count: u32
    buffer: rest = b""
