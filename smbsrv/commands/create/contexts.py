"""The create contexts of a CREATE request, one function each.

Source: [MS-SMB2] 2.2.13.2 SMB2_CREATE_CONTEXT Request Values. What they mean is told where it is obeyed:
3.3.5.9.1 to 3.3.5.9.13 in `opening.py`, `reconnect.py`, `replay.py`, `app_instance.py`, `reply.py`.
Unknown contexts are ignored. Contexts come in any order; of two alike the last counts.
Limits: smbproto.limits.CREATE_CONTEXTS_MAX in one request. Raises: WireError, which the dispatcher answers
with INVALID_PARAMETER.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from smbproto.errors import WireError
from smbproto.smb2 import contexts as wire
from smbproto.smb2.create import decode_contexts_untrusted
from smbsrv.commands.ea_list import decode_eas
from storage.volume import ExtendedAttribute

TAG_BYTES_MIN = 4
"""Windows refuses shorter names (smbtorture's smb2.create.blob expects it)."""


class LeaseWish(NamedTuple):
    """[MS-SMB2] 2.2.13.2.8 SMB2_CREATE_REQUEST_LEASE, 2.2.13.2.10 SMB2_CREATE_REQUEST_LEASE_V2. `parent_key`
    b"": not set."""

    version: int
    key: bytes
    state: int
    parent_key: bytes = b""
    epoch: int = 0


class DurableWish(NamedTuple):
    """[MS-SMB2] 2.2.13.2.11 SMB2_CREATE_DURABLE_HANDLE_REQUEST_V2."""

    timeout_ms: int
    is_persistent: bool
    create_guid: bytes


class Reconnect(NamedTuple):
    """[MS-SMB2] 2.2.13.2.4 SMB2_CREATE_DURABLE_HANDLE_RECONNECT (version 1), 2.2.13.2.12 (version 2)."""

    version: int
    persistent_id: int
    volatile_id: int
    create_guid: bytes = b""
    is_persistent: bool = False


class Contexts:
    """What the contexts of one request ask for; None, b"" or False where a context is absent."""

    __slots__ = (
        "allocation_bytes",
        "app_instance_id",
        "app_instance_version",
        "durable_v1",
        "durable_v2",
        "eas",
        "lease",
        "maximal_access",
        "on_disk_id",
        "reconnect_v1",
        "reconnect_v2",
        "security",
        "snapshot",
    )

    def __init__(self) -> None:
        self.eas: tuple[ExtendedAttribute, ...] = ()
        self.security = b""
        self.durable_v1 = False
        self.durable_v2: DurableWish | None = None
        self.reconnect_v1: Reconnect | None = None
        self.reconnect_v2: Reconnect | None = None
        self.allocation_bytes = 0
        self.maximal_access: int | None = None
        """The Timestamp, 0 without one."""
        self.snapshot = 0
        self.on_disk_id = False
        self.lease: LeaseWish | None = None
        self.app_instance_id = b""
        self.app_instance_version: tuple[int, int] | None = None


NO_CONTEXTS = Contexts()
"""Shared by all requests without contexts; never written to."""


def _exact(name: str, data: bytes, *sizes: int) -> None:
    if len(data) not in sizes:
        raise WireError(f"create context {name} has {len(data)} bytes")


def extended_attributes(found: Contexts, data: bytes) -> None:
    """ExtA: [MS-SMB2] 2.2.13.2.1 SMB2_CREATE_EA_BUFFER."""
    found.eas = tuple(decode_eas(data))


def security_descriptor(found: Contexts, data: bytes) -> None:
    """SecD: [MS-SMB2] 2.2.13.2.2 SMB2_CREATE_SD_BUFFER. The object store judges the descriptor."""
    found.security = data


def durable_request(found: Contexts, data: bytes) -> None:
    """DHnQ: [MS-SMB2] 2.2.13.2.3 SMB2_CREATE_DURABLE_HANDLE_REQUEST. Its content is reserved."""
    _exact("DHnQ", data, 16)
    found.durable_v1 = True


def durable_reconnect(found: Contexts, data: bytes) -> None:
    """DHnC: [MS-SMB2] 2.2.13.2.4 SMB2_CREATE_DURABLE_HANDLE_RECONNECT."""
    _exact("DHnC", data, 16)
    found.reconnect_v1 = Reconnect(1, *wire.DurableHandleReconnect.decode_untrusted(data).file_id)


def allocation_size(found: Contexts, data: bytes) -> None:
    """AlSi: [MS-SMB2] 2.2.13.2.6 SMB2_CREATE_ALLOCATION_SIZE."""
    _exact("AlSi", data, 8)
    found.allocation_bytes = wire.AllocationSize.decode_untrusted(data).allocation_size


def maximal_access(found: Contexts, data: bytes) -> None:
    """MxAc: [MS-SMB2] 2.2.13.2.5 SMB2_CREATE_QUERY_MAXIMAL_ACCESS_REQUEST: empty, or a Timestamp."""
    _exact("MxAc", data, 0, 8)
    found.maximal_access = wire.maximal_access_timestamp_untrusted(data)


def timewarp(found: Contexts, data: bytes) -> None:
    """TWrp: [MS-SMB2] 2.2.13.2.7 SMB2_CREATE_TIMEWARP_TOKEN."""
    _exact("TWrp", data, 8)
    found.snapshot = wire.TimewarpToken.decode_untrusted(data).timestamp


def on_disk_id(found: Contexts, data: bytes) -> None:
    """QFid: [MS-SMB2] 2.2.13.2.9 SMB2_CREATE_QUERY_ON_DISK_ID. It has no content."""
    found.on_disk_id = True


def lease(found: Contexts, data: bytes) -> None:
    """RqLs: [MS-SMB2] 2.2.13.2.8 SMB2_CREATE_REQUEST_LEASE, or by its length 2.2.13.2.10
    SMB2_CREATE_REQUEST_LEASE_V2."""
    asked = wire.decode_lease_untrusted(data)
    if isinstance(asked, wire.LeaseV2):
        parent = (
            asked.parent_lease_key if asked.lease_flags & wire.SMB2_LEASE_FLAG_PARENT_LEASE_KEY_SET else b""
        )
        found.lease = LeaseWish(2, asked.lease_key, asked.lease_state, parent, asked.epoch)
    else:
        found.lease = LeaseWish(1, asked.lease_key, asked.lease_state)


def durable_request_v2(found: Contexts, data: bytes) -> None:
    """DH2Q: [MS-SMB2] 2.2.13.2.11 SMB2_CREATE_DURABLE_HANDLE_REQUEST_V2."""
    _exact("DH2Q", data, 32)
    asked = wire.DurableHandleRequestV2.decode_untrusted(data)
    persistent = bool(asked.flags & wire.SMB2_DHANDLE_FLAG_PERSISTENT)
    found.durable_v2 = DurableWish(asked.timeout_ms, persistent, asked.create_guid)


def durable_reconnect_v2(found: Contexts, data: bytes) -> None:
    """DH2C: [MS-SMB2] 2.2.13.2.12 SMB2_CREATE_DURABLE_HANDLE_RECONNECT_V2."""
    _exact("DH2C", data, 36)
    asked = wire.DurableHandleReconnectV2.decode_untrusted(data)
    persistent = bool(asked.flags & wire.SMB2_DHANDLE_FLAG_PERSISTENT)
    found.reconnect_v2 = Reconnect(2, *asked.file_id, asked.create_guid, persistent)


def app_instance_id(found: Contexts, data: bytes) -> None:
    """[MS-SMB2] 2.2.13.2.13 SMB2_CREATE_APP_INSTANCE_ID."""
    _exact("APP_INSTANCE_ID", data, 20)
    found.app_instance_id = wire.AppInstanceId.decode_untrusted(data).app_instance_id


def app_instance_version(found: Contexts, data: bytes) -> None:
    """[MS-SMB2] 2.2.13.2.15 SMB2_CREATE_APP_INSTANCE_VERSION."""
    _exact("APP_INSTANCE_VERSION", data, 24)
    asked = wire.AppInstanceVersion.decode_untrusted(data)
    found.app_instance_version = (asked.app_instance_version_high, asked.app_instance_version_low)


READERS: dict[bytes, Callable[[Contexts, bytes], None]] = {
    wire.SMB2_CREATE_EA_BUFFER: extended_attributes,
    wire.SMB2_CREATE_SD_BUFFER: security_descriptor,
    wire.SMB2_CREATE_DURABLE_HANDLE_REQUEST: durable_request,
    wire.SMB2_CREATE_DURABLE_HANDLE_RECONNECT: durable_reconnect,
    wire.SMB2_CREATE_ALLOCATION_SIZE: allocation_size,
    wire.SMB2_CREATE_QUERY_MAXIMAL_ACCESS_REQUEST: maximal_access,
    wire.SMB2_CREATE_TIMEWARP_TOKEN: timewarp,
    wire.SMB2_CREATE_QUERY_ON_DISK_ID: on_disk_id,
    wire.SMB2_CREATE_REQUEST_LEASE: lease,
    wire.SMB2_CREATE_DURABLE_HANDLE_REQUEST_V2: durable_request_v2,
    wire.SMB2_CREATE_DURABLE_HANDLE_RECONNECT_V2: durable_reconnect_v2,
    wire.SMB2_CREATE_APP_INSTANCE_ID: app_instance_id,
    wire.SMB2_CREATE_APP_INSTANCE_VERSION: app_instance_version,
}


def read_contexts(chain: memoryview) -> Contexts:
    """What CreateContextsOffset and CreateContextsLength point to. Raises: WireError; EA_LIST_INCONSISTENT
    and its kin."""
    found = Contexts()
    for name, data in decode_contexts_untrusted(chain):
        if len(name) < TAG_BYTES_MIN:
            raise WireError(f"a create context called {name!r}")
        reader = READERS.get(name)
        if reader is not None:
            reader(found, data)
    return found
