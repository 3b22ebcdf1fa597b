"""[MS-SMB2] 2.2.26 SMB2 LOCK Request; 2.2.27 SMB2 LOCK Response."""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from typing import Annotated, ClassVar, Final, NamedTuple

from smbproto.codec import Buffer, Codec, Counted, FileId, Message, message, reserved2, u32

SMB2_LOCKFLAG_SHARED_LOCK: Final = 0x00000001
SMB2_LOCKFLAG_EXCLUSIVE_LOCK: Final = 0x00000002
SMB2_LOCKFLAG_UNLOCK: Final = 0x00000004
SMB2_LOCKFLAG_FAIL_IMMEDIATELY: Final = 0x00000010


class LockElement(NamedTuple):
    """[MS-SMB2] 2.2.26.1 SMB2_LOCK_ELEMENT Structure. Units: bytes."""

    offset: int
    length: int
    flags: int


_ELEMENT = Struct("<QQII")


def _decode_elements(data: Buffer) -> tuple[LockElement, ...]:
    return tuple(
        LockElement(offset, length, flags) for offset, length, flags, _ in _ELEMENT.iter_unpack(data)
    )


def _encode_elements(locks: Iterable[LockElement]) -> bytes:
    return b"".join(_ELEMENT.pack(*lock, 0) for lock in locks)


@message(structure_size=48, counted_bytes=24)
class LockRequest(Message):
    """[MS-SMB2] 2.2.26 SMB2 LOCK Request. StructureSize counts the first lock."""

    locks: Annotated[
        tuple[LockElement, ...], Counted("H", Codec(_decode_elements, _encode_elements), unit=_ELEMENT.size)
    ]
    lock_sequence: u32 = 0  # LockSequenceIndex << 4 | LockSequenceNumber; reserved in SMB 2.0.2
    file_id: FileId

    @property
    def lock_sequence_number(self) -> int:
        return self.lock_sequence & 0xF

    @property
    def lock_sequence_index(self) -> int:
        return self.lock_sequence >> 4


@message(structure_size=4)
class LockResponse(Message):
    """[MS-SMB2] 2.2.27 SMB2 LOCK Response."""

    reserved: ClassVar[reserved2]
