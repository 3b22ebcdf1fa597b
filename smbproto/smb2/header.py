"""[MS-SMB2] 2.2.1 SMB2 Packet Header: asynchronous (2.2.1.1) and synchronous (2.2.1.2) form."""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import Annotated, Final, Self

from smbproto.codec import Buffer, Message, Names, bytes16, structure, u16, u32, u64
from smbproto.errors import WireError

SMB2_PROTOCOL_ID: Final = b"\xfeSMB"
SMB2_HEADER_BYTES: Final = 64

# ProtocolId, StructureSize (64), CreditCharge, Status or ChannelSequence | Reserved << 16, Command,
# CreditRequest or CreditResponse, Flags, NextCommand, MessageId, then Reserved, TreeId or AsyncId, SessionId,
# Signature.
HEADER: Final = Struct("<4sHHIHHIIQIIQ16s")
HEADER_ASYNC: Final = Struct("<4sHHIHHIIQQQ16s")

SIGNATURE_OFFSET: Final = 48
NO_SIGNATURE: Final = bytes(16)

SMB2_FLAGS_SERVER_TO_REDIR: Final = 0x00000001
SMB2_FLAGS_ASYNC_COMMAND: Final = 0x00000002
SMB2_FLAGS_RELATED_OPERATIONS: Final = 0x00000004
SMB2_FLAGS_SIGNED: Final = 0x00000008
SMB2_FLAGS_PRIORITY_MASK: Final = 0x00000070
SMB2_FLAGS_DFS_OPERATIONS: Final = 0x10000000
SMB2_FLAGS_REPLAY_OPERATION: Final = 0x20000000

HEADER_FLAGS = Names(
    (
        (SMB2_FLAGS_SERVER_TO_REDIR, "SERVER_TO_REDIR"),
        (SMB2_FLAGS_ASYNC_COMMAND, "ASYNC_COMMAND"),
        (SMB2_FLAGS_RELATED_OPERATIONS, "RELATED_OPERATIONS"),
        (SMB2_FLAGS_SIGNED, "SIGNED"),
        (SMB2_FLAGS_DFS_OPERATIONS, "DFS_OPERATIONS"),
        (SMB2_FLAGS_REPLAY_OPERATION, "REPLAY_OPERATION"),
    )
)

UNSOLICITED_MESSAGE_ID: Final = 0xFFFFFFFFFFFFFFFF  # oplock break notifications


class Command(IntEnum):
    """[MS-SMB2] 2.2.1.2 SMB2 Packet Header - SYNC, field Command."""

    NEGOTIATE = 0x0000
    SESSION_SETUP = 0x0001
    LOGOFF = 0x0002
    TREE_CONNECT = 0x0003
    TREE_DISCONNECT = 0x0004
    CREATE = 0x0005
    CLOSE = 0x0006
    FLUSH = 0x0007
    READ = 0x0008
    WRITE = 0x0009
    LOCK = 0x000A
    IOCTL = 0x000B
    CANCEL = 0x000C
    ECHO = 0x000D
    QUERY_DIRECTORY = 0x000E
    CHANGE_NOTIFY = 0x000F
    QUERY_INFO = 0x0010
    SET_INFO = 0x0011
    OPLOCK_BREAK = 0x0012
    SERVER_TO_CLIENT_NOTIFICATION = 0x0013


COMMANDS = Names(tuple((c.value, c.name) for c in Command), flags=False)


@structure()
class Header(Message):
    """Both forms: `async_id` counts where `flags` has ASYNC_COMMAND, `tree_id` (and `process_id`) where it
    has not."""

    credit_charge: u16 = 0
    status: u32 = 0  # in a request of SMB 3.x: ChannelSequence in the low 16 bits
    command: Annotated[u16, COMMANDS]
    credits: u16 = 0  # requested, or granted
    flags: Annotated[u32, HEADER_FLAGS] = 0
    next_command: u32 = 0  # bytes from this header to the next one of a compound; 0 in the last
    message_id: u64 = 0
    process_id: u32 = 0xFEFF
    tree_id: u32 = 0
    async_id: u64 = 0
    session_id: u64 = 0
    signature: bytes16 = NO_SIGNATURE

    @classmethod
    def decode_untrusted(cls, buf: Buffer, base: int = 0) -> Self:
        """The header at `base`. Raises: WireError if it is short or is no SMB2 header."""
        if len(buf) < base + SMB2_HEADER_BYTES:
            raise WireError(f"{len(buf) - base} bytes are too short for an SMB2 header")
        (magic, size, charge, status, command, credit, flags, following, message_id, process_id, tree_id,
         session_id, signature) = HEADER.unpack_from(buf, base)  # fmt: skip
        if magic != SMB2_PROTOCOL_ID or size != SMB2_HEADER_BYTES:
            raise WireError(f"no SMB2 header: {magic!r}, StructureSize {size}")
        is_async = flags & SMB2_FLAGS_ASYNC_COMMAND
        return cls(
            credit_charge=charge, status=status, command=command, credits=credit, flags=flags,
            next_command=following, message_id=message_id, process_id=0 if is_async else process_id,
            tree_id=0 if is_async else tree_id, async_id=process_id | tree_id << 32 if is_async else 0,
            session_id=session_id, signature=signature,
        )  # fmt: skip

    def encode(self) -> bytes:
        """64 bytes."""
        if self.flags & SMB2_FLAGS_ASYNC_COMMAND:
            low, high = self.async_id & 0xFFFFFFFF, self.async_id >> 32
        else:
            low, high = self.process_id, self.tree_id
        return HEADER.pack(
            SMB2_PROTOCOL_ID, SMB2_HEADER_BYTES, self.credit_charge, self.status, self.command, self.credits,
            self.flags, self.next_command, self.message_id, low, high, self.session_id, self.signature,
        )  # fmt: skip

    @property
    def channel_sequence(self) -> int:
        """[MS-SMB2] 2.2.1.2 SMB2 Packet Header - SYNC: of a request with dialect 3.x."""
        return self.status & 0xFFFF

    @property
    def is_response(self) -> bool:
        return bool(self.flags & SMB2_FLAGS_SERVER_TO_REDIR)

    @property
    def is_async(self) -> bool:
        return bool(self.flags & SMB2_FLAGS_ASYNC_COMMAND)
