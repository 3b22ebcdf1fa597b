"""What create contexts hold. The chain itself: `create.py`.

ExtA holds a list of `fscc.ea.FullEa`, SecD a `dtyp.SecurityDescriptor`; the shared virtual disk context is
opaque here.

Source: [MS-SMB2] 2.2.13.2 SMB2_CREATE_CONTEXT Request Values; 2.2.14.2 SMB2_CREATE_CONTEXT Response Values.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final

from smbproto.codec import FileId, Message, bytes16, reserved2, reserved4, reserved8, structure, u16, u32, u64
from smbproto.errors import WireError
from smbproto.smb2.create import LEASE_STATES

SMB2_CREATE_EA_BUFFER: Final = b"ExtA"
SMB2_CREATE_SD_BUFFER: Final = b"SecD"
SMB2_CREATE_DURABLE_HANDLE_REQUEST: Final = b"DHnQ"
SMB2_CREATE_DURABLE_HANDLE_RECONNECT: Final = b"DHnC"
SMB2_CREATE_ALLOCATION_SIZE: Final = b"AlSi"
SMB2_CREATE_QUERY_MAXIMAL_ACCESS_REQUEST: Final = b"MxAc"
SMB2_CREATE_TIMEWARP_TOKEN: Final = b"TWrp"
SMB2_CREATE_QUERY_ON_DISK_ID: Final = b"QFid"
SMB2_CREATE_REQUEST_LEASE: Final = b"RqLs"  # version 1 or 2, by the length of its data
SMB2_CREATE_DURABLE_HANDLE_REQUEST_V2: Final = b"DH2Q"
SMB2_CREATE_DURABLE_HANDLE_RECONNECT_V2: Final = b"DH2C"
SMB2_CREATE_APP_INSTANCE_ID: Final = bytes.fromhex("45BCA66AEFA7F74A9008FA462E144D74")
SMB2_CREATE_APP_INSTANCE_VERSION: Final = bytes.fromhex("B982D0B73B56074FA07B524A8116A010")
SVHDX_OPEN_DEVICE_CONTEXT: Final = bytes.fromhex("9CCBCF9E04C1E643980E158DA1F6EC83")
POSIX_CREATE_CONTEXT: Final = bytes.fromhex("93AD25509CB411E7B42383DE968BCD7C")  # not ours to answer
AAPL_CREATE_CONTEXT: Final = b"AAPL"  # not ours to answer

SMB2_DHANDLE_FLAG_PERSISTENT: Final = 0x00000002

SMB2_LEASE_FLAG_BREAK_IN_PROGRESS: Final = 0x00000002
SMB2_LEASE_FLAG_PARENT_LEASE_KEY_SET: Final = 0x00000004

LEASE_V1_BYTES: Final = 32
LEASE_V2_BYTES: Final = 52


@structure()
class DurableHandleRequest(Message):
    """[MS-SMB2] 2.2.13.2.3 SMB2_CREATE_DURABLE_HANDLE_REQUEST (DHnQ)."""

    reserved: ClassVar[reserved8]
    reserved_2: ClassVar[reserved8]


@structure()
class DurableHandleResponse(Message):
    """[MS-SMB2] 2.2.14.2.3 SMB2_CREATE_DURABLE_HANDLE_RESPONSE (DHnQ)."""

    reserved: ClassVar[reserved8]


@structure()
class DurableHandleReconnect(Message):
    """[MS-SMB2] 2.2.13.2.4 SMB2_CREATE_DURABLE_HANDLE_RECONNECT (DHnC)."""

    file_id: FileId


@structure()
class AllocationSize(Message):
    """[MS-SMB2] 2.2.13.2.6 SMB2_CREATE_ALLOCATION_SIZE (AlSi)."""

    allocation_size: u64


@structure()
class MaximalAccessRequest(Message):
    """[MS-SMB2] 2.2.13.2.5 SMB2_CREATE_QUERY_MAXIMAL_ACCESS_REQUEST (MxAc), in its form with a time; it may
    also be empty, see `maximal_access_timestamp_untrusted`."""

    timestamp: u64


@structure()
class MaximalAccessResponse(Message):
    """[MS-SMB2] 2.2.14.2.5 SMB2_CREATE_QUERY_MAXIMAL_ACCESS_RESPONSE (MxAc)."""

    query_status: u32 = 0
    maximal_access: u32


@structure()
class TimewarpToken(Message):
    """[MS-SMB2] 2.2.13.2.7 SMB2_CREATE_TIMEWARP_TOKEN (TWrp)."""

    timestamp: u64


@structure()
class OnDiskId(Message):
    """[MS-SMB2] 2.2.14.2.9 SMB2_CREATE_QUERY_ON_DISK_ID (QFid). The request is empty."""

    disk_file_id: u64
    volume_id: u64
    reserved: ClassVar[reserved8]
    reserved_2: ClassVar[reserved8]


@structure()
class Lease(Message):
    """[MS-SMB2] 2.2.13.2.8 SMB2_CREATE_REQUEST_LEASE; 2.2.14.2.10 SMB2_CREATE_RESPONSE_LEASE (RqLs)."""

    lease_key: bytes16
    lease_state: Annotated[u32, LEASE_STATES]
    lease_flags: u32 = 0
    lease_duration: ClassVar[reserved8]


@structure()
class LeaseV2(Message):
    """[MS-SMB2] 2.2.13.2.10 SMB2_CREATE_REQUEST_LEASE_V2; 2.2.14.2.11 SMB2_CREATE_RESPONSE_LEASE_V2
    (RqLs)."""

    lease_key: bytes16
    lease_state: Annotated[u32, LEASE_STATES]
    lease_flags: u32 = 0
    lease_duration: ClassVar[reserved8]
    parent_lease_key: bytes16 = bytes(16)
    epoch: u16 = 0
    reserved: ClassVar[reserved2]


@structure()
class DurableHandleRequestV2(Message):
    """[MS-SMB2] 2.2.13.2.11 SMB2_CREATE_DURABLE_HANDLE_REQUEST_V2 (DH2Q)."""

    timeout_ms: u32 = 0  # 0: the server chooses
    flags: u32 = 0
    reserved: ClassVar[reserved8]
    create_guid: bytes16


@structure()
class DurableHandleResponseV2(Message):
    """[MS-SMB2] 2.2.14.2.12 SMB2_CREATE_DURABLE_HANDLE_RESPONSE_V2 (DH2Q)."""

    timeout_ms: u32
    flags: u32 = 0


@structure()
class DurableHandleReconnectV2(Message):
    """[MS-SMB2] 2.2.13.2.12 SMB2_CREATE_DURABLE_HANDLE_RECONNECT_V2 (DH2C)."""

    file_id: FileId
    create_guid: bytes16
    flags: u32 = 0


@structure(structure_size=20)
class AppInstanceId(Message):
    """[MS-SMB2] 2.2.13.2.13 SMB2_CREATE_APP_INSTANCE_ID."""

    reserved: ClassVar[reserved2]
    app_instance_id: bytes16


@structure(structure_size=24)
class AppInstanceVersion(Message):
    """[MS-SMB2] 2.2.13.2.15 SMB2_CREATE_APP_INSTANCE_VERSION."""

    reserved: ClassVar[reserved2]
    padding: ClassVar[reserved4]
    app_instance_version_high: u64
    app_instance_version_low: u64


def decode_lease_untrusted(data: bytes) -> Lease | LeaseV2:
    """Version 1 or 2, by its length. Raises: WireError."""
    if len(data) == LEASE_V1_BYTES:
        return Lease.decode_untrusted(data)
    if len(data) == LEASE_V2_BYTES:
        return LeaseV2.decode_untrusted(data)
    raise WireError(f"a lease context of {len(data)} bytes; {LEASE_V1_BYTES} or {LEASE_V2_BYTES}")


def maximal_access_timestamp_untrusted(data: bytes) -> int:
    """The request's time, 0 if it has none. Raises: WireError."""
    return MaximalAccessRequest.decode_untrusted(data).timestamp if data else 0
