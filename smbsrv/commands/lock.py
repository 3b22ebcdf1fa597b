"""LOCK: byte-range locks and unlocks, and their replay.

Source: [MS-SMB2] 3.3.5.14 Receiving an SMB2 LOCK Request; 3.3.5.14.1 Processing Unlocks; 3.3.5.14.2
Processing Locks. Whether a lock is granted, and who waits, is the object store's decision.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from smbproto.smb2.lock import (
    SMB2_LOCKFLAG_EXCLUSIVE_LOCK,
    SMB2_LOCKFLAG_FAIL_IMMEDIATELY,
    SMB2_LOCKFLAG_SHARED_LOCK,
    SMB2_LOCKFLAG_UNLOCK,
    LockElement,
    LockRequest,
)
from smbproto.status import Status, StatusError
from smbsrv.request import Reply, Request
from storage.volume import RangeLock

if TYPE_CHECKING:
    from smbsrv.open import Open
    from storage.volume import File

LOCK_SEQUENCE_BUCKETS = 64
SMB2_GLOBAL_CAP_MULTI_CHANNEL = 0x00000008
DIALECT_2_0_2 = 0x0202
_RESPONSE = b"\x04\0\0\0"  # [MS-SMB2] 2.2.27 SMB2 LOCK Response
_KINDS = (SMB2_LOCKFLAG_SHARED_LOCK, SMB2_LOCKFLAG_EXCLUSIVE_LOCK)


async def handle(request: Request) -> Reply | bytes:
    """[MS-SMB2] 3.3.5.14 Receiving an SMB2 LOCK Request."""
    message = LockRequest.decode_untrusted(request.message)
    opened = request.open_of(*message.file_id)
    if not opened.is_persistent:
        opened.is_replay_eligible = False
    file = opened.file
    if file is None:
        raise StatusError(Status.INVALID_DEVICE_REQUEST, "a pipe has no bytes to lock")
    if not message.locks:
        raise StatusError(Status.INVALID_PARAMETER, "no locks")
    bucket = _bucket(request, opened, message)
    sequence = message.lock_sequence_number
    if bucket is not None:
        assert opened.lock_sequence is not None
        if opened.lock_sequence[bucket] == sequence:
            return _RESPONSE
        opened.lock_sequence[bucket] = -1
    if message.locks[0].flags & SMB2_LOCKFLAG_UNLOCK:
        _unlock(file, message.locks)
    else:
        await _lock(file, message.locks)
    if bucket is not None and opened.lock_sequence is not None:
        opened.lock_sequence[bucket] = sequence
    return _RESPONSE


def _bucket(request: Request, opened: Open, message: LockRequest) -> int | None:
    """Which entry of Open.LockSequenceArray tells whether this was done before; None: none does.

    [MS-SMB2] 3.3.5.14: where the client may have lost the first answer: resilient, durable and persistent
    opens, and any with several channels. LockSequenceIndex counts from 1; 0 and what is over 64 has no entry.
    """
    connection = request.connection
    if connection.dialect == DIALECT_2_0_2 or not 1 <= message.lock_sequence_index <= LOCK_SEQUENCE_BUCKETS:
        return None
    may_repeat = (
        opened.is_resilient
        or opened.is_durable
        or opened.is_persistent
        or connection.server_capabilities & SMB2_GLOBAL_CAP_MULTI_CHANNEL
    )
    if not may_repeat:
        return None
    if opened.lock_sequence is None:
        opened.lock_sequence = [-1] * LOCK_SEQUENCE_BUCKETS
    return message.lock_sequence_index - 1


def _unlock(file: File, locks: Sequence[LockElement]) -> None:
    """[MS-SMB2] 3.3.5.14.1 Processing Unlocks: one after another; what was unlocked before a bad one stays
    unlocked. Who waits is served once, at the end."""
    ranges: list[RangeLock] = []
    bad: LockElement | None = None
    for element in locks:
        if element.flags != SMB2_LOCKFLAG_UNLOCK:
            bad = element
            break
        ranges.append(RangeLock(element.offset, element.length))
    if ranges:
        file.unlock(ranges)
    if bad is not None:
        raise StatusError(Status.INVALID_PARAMETER, f"lock flags {bad.flags:#x} among unlocks")


async def _lock(file: File, locks: Sequence[LockElement]) -> None:
    """[MS-SMB2] 3.3.5.14.2 Processing Locks: all or none; several must fail immediately."""
    at_once = bool(locks[0].flags & SMB2_LOCKFLAG_FAIL_IMMEDIATELY)
    ranges: list[RangeLock] = []
    for element in locks:
        kind = element.flags & ~SMB2_LOCKFLAG_FAIL_IMMEDIATELY
        if kind not in _KINDS:
            raise StatusError(Status.INVALID_PARAMETER, f"lock flags {element.flags:#x}")
        if len(locks) > 1 and not element.flags & SMB2_LOCKFLAG_FAIL_IMMEDIATELY:
            raise StatusError(Status.INVALID_PARAMETER, "of several locks one would wait")
        ranges.append(RangeLock(element.offset, element.length, kind == SMB2_LOCKFLAG_EXCLUSIVE_LOCK))
    await file.lock(ranges, at_once)
