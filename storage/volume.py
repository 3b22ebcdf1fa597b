"""Port: a volume, as a server may ask of it, in [MS-FSA] terms. Opens, caching grants, locks, notifications,
bytes.

Implementations: `storage/objectstore/volume.py` (the one arbiter, over a `FileSystem`), later `cluster/csv`
(the same port on nodes that are not the coordinator). A server names leases and delivers breaks; it never
decides.

Waiting: every `async` method may wait only through `storage.runtime`; most return inline. `*_now` methods
never wait. Errors: StatusError (smbproto.status) from every method; storage errors are mapped inside
(objectstore/errors.py), but for a disk or host that fails where nothing was expected to: then StorageError,
and `status_error` maps it. Names: paths are relative to the volume's root, components separated by "\\", no
leading or trailing "\\", "" is the root; the last component may carry ":stream:type". Times are FILETIME;
access masks, attributes, options are the integers of [MS-DTYP] and [MS-FSCC]; sizes and offsets are bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from storage.errors import StorageError
from storage.fs.port import (
    Entry,
    ExtendedAttribute,
    Node,
    QuotaControl,
    QuotaRecord,
    Stream,
    VolumeIdentity,
    VolumeUsage,
)
from storage.objectstore.errors import status_error

__all__ = [
    "NO_LEASE",
    "BreakSink",
    "CachingGrant",
    "CachingRequest",
    "DirectoryScan",
    "DurableRequest",
    "Entry",
    "ExtendedAttribute",
    "File",
    "LeaseBreak",
    "Node",
    "OpenRequest",
    "OpenResult",
    "QuotaControl",
    "QuotaRecord",
    "RangeLock",
    "StorageError",
    "Stream",
    "Token",
    "Volume",
    "VolumeIdentity",
    "VolumeUsage",
    "status_error",
]


@dataclass(frozen=True, slots=True)
class Token:
    """Who asks ([MS-DTYP] 2.5.2 Token/Authorization Context). SIDs in text form, e.g. "S-1-5-21-..."; `sids`
    is the user,
    then every group, S-1-1-0 and S-1-5-11 included where they apply. Privileges by name
    ("SeBackupPrivilege")."""

    user: str
    sids: frozenset[str]
    owner: str
    group: str
    privileges: frozenset[str] = frozenset()
    name: str = ""


@dataclass(frozen=True, slots=True)
class CachingRequest:
    """What caching an open asks for.

    Either an oplock (`lease_key` empty): `level` is SMB2_OPLOCK_LEVEL_NONE 0, II 1, EXCLUSIVE 8, BATCH 9.
    Or a lease: `lease_key` 16 bytes, `state` a union of SMB2_LEASE_READ_CACHING 1, HANDLE 2, WRITE 4;
    `version` 1 or 2;
    `epoch` and `parent_key` (b"" when the flag is not set) for version 2. `client_guid` names the lease with
    the key.
    """

    level: int = 0
    lease_key: bytes = b""
    state: int = 0
    version: int = 0
    epoch: int = 0
    parent_key: bytes = b""
    client_guid: bytes = b""


NO_LEASE = CachingRequest()


@dataclass(frozen=True, slots=True)
class CachingGrant:
    """What was granted. `level` as in the request, 0xFF for a lease; for a lease also its state now, whether
    a break of it is
    in progress (SMB2_LEASE_FLAG_BREAK_IN_PROGRESS), its epoch and version."""

    level: int = 0
    lease_key: bytes = b""
    state: int = 0
    is_breaking: bool = False
    epoch: int = 0
    version: int = 0
    parent_key: bytes = b""


@dataclass(frozen=True, slots=True)
class DurableRequest:
    """`version` 1 or 2 ([MS-SMB2] 2.2.13.2.3, 2.2.13.2.11); version 2 has a CreateGuid and a timeout (0: we
    choose)."""

    version: int
    create_guid: bytes = b""
    timeout_ms: int = 0
    persistent: bool = False


@dataclass(slots=True)
class OpenRequest:
    """[MS-FSA] 2.1.5.1 Server Requests an Open of a File."""

    path: str
    desired_access: int
    share_access: int
    disposition: int
    options: int
    attributes: int
    token: Token
    caching: CachingRequest = NO_LEASE
    durable: DurableRequest | None = None
    access_limit: int = 0x001F01FF
    """What the share lets this user have at most (TreeConnect.MaximalAccess)."""
    root: str = ""
    """The share's directory on the volume; `path` is below it, and names given back are relative to it."""
    is_read_only: bool = False
    security: bytes = b""
    eas: Sequence[ExtendedAttribute] = ()
    allocation_bytes: int = 0
    client_guid: bytes = b""
    process_id: int = 0
    snapshot: int = 0
    """FILETIME of the TWrp context; 0: the live volume."""
    app_instance_id: bytes = b""
    context: object = None
    """Opaque to the object store; kept as `File.context` (the server's Open)."""


@dataclass(slots=True)
class OpenResult:
    """`action`: FILE_SUPERSEDED 0, OPENED 1, CREATED 2, OVERWRITTEN 3."""

    file: File
    action: int
    caching: CachingGrant
    is_durable: bool = False
    durable_timeout_ms: int = 0


@dataclass(frozen=True, slots=True)
class LeaseBreak:
    """[MS-SMB2] 2.2.23.2 Lease Break Notification, as decided; `epoch` is 0 for a version 1 lease."""

    client_guid: bytes
    lease_key: bytes
    current: int
    new: int
    epoch: int
    ack_required: bool


@dataclass(frozen=True, slots=True)
class RangeLock:
    """One element of a LOCK request."""

    offset: int
    length: int
    exclusive: bool = False


class BreakSink(Protocol):
    """What the server does for the object store. Plain calls that queue a message; they never wait and never
    call back."""

    def oplock_break(self, file: File, level: int, ack_required: bool) -> bool:
        """False: the client is gone and cannot be told. If it had to answer, its opens end
        (`open_purged`)."""
        ...

    def lease_break(self, notice: LeaseBreak) -> bool: ...
    def open_purged(self, file: File) -> None:
        """A kept open is gone (expired, or it stood in the way of another); forget it."""
        ...


class DirectoryScan(Protocol):
    """The cursor of a directory open. Entries come with "." and ".." first where the pattern lets them
    through."""

    pattern: str

    def next(self) -> Entry | None: ...
    def unread(self, entry: Entry) -> None:
        """It did not fit; `next` gives it again."""
        ...

    def short_name(self, entry: Entry) -> str:
        """The entry's 8.3 name; "" if its name is one already."""
        ...


class File(Protocol):
    """An open ([MS-FSA] 2.1.1.6 Per Open). One per CREATE; `close` ends it."""

    node: Node
    stream: Stream | None
    """None for an open of a directory itself."""
    granted_access: int
    share_access: int
    options: int
    """Create options; FILE_DELETE_ON_CLOSE, WRITE_THROUGH, SYNCHRONOUS_* and so on."""
    is_directory: bool
    context: object
    current_offset: int
    """FilePositionInformation."""
    mode: int
    """FileModeInformation."""

    @property
    def volume(self) -> Volume: ...
    @property
    def caching(self) -> CachingGrant:
        """What it is granted now."""
        ...

    # bytes
    def read_now(self, offset: int, into: memoryview) -> int:
        """Bytes read into the beginning of `into`; -1: await `read`. StatusError END_OF_FILE at or past the
        end,
        FILE_LOCK_CONFLICT, INVALID_DEVICE_REQUEST for a directory, ACCESS_DENIED."""
        ...

    async def read(self, offset: int, into: memoryview) -> int: ...
    def write_now(self, offset: int, data: memoryview) -> bool: ...
    async def write(self, offset: int, data: memoryview, through: bool = False) -> None: ...
    async def flush(self) -> None: ...
    async def set_end_of_file(self, size_bytes: int) -> None: ...
    async def set_allocation(self, allocated_bytes: int) -> None: ...
    async def set_valid_data(self, valid_bytes: int) -> None: ...
    async def zero_data(self, offset: int, beyond: int) -> None: ...
    async def trim(self, ranges: Sequence[tuple[int, int]]) -> int:
        """Number of ranges done."""
        ...

    def allocated_ranges(self, offset: int, length: int) -> list[tuple[int, int]]: ...
    async def copy_from(self, source: File, source_offset: int, offset: int, length: int) -> int:
        """Server-side copy of one chunk, shared clusters where possible; locks of both are honoured. Bytes
        copied."""
        ...

    async def duplicate_extents(self, source: File, source_offset: int, offset: int, length: int) -> None: ...
    def set_sparse(self, sparse: bool) -> None: ...

    # locks
    async def lock(self, ranges: Sequence[RangeLock], fail_immediately: bool) -> None:
        """All or none. Waits (cancellable) unless fail_immediately; only one range may wait.
        LOCK_NOT_GRANTED."""
        ...

    def unlock(self, ranges: Sequence[RangeLock]) -> None:
        """Each range exactly as it was locked; RANGE_NOT_LOCKED at the first that was not, earlier ones stay
        unlocked."""
        ...

    # names, attributes
    def name(self) -> str:
        """The path by which it is known now, relative to the share's root, with a leading "\\" and the
        stream suffix."""
        ...

    def short_name(self) -> str:
        """The 8.3 name of the last component, which also opens it; "" for the share's root."""
        ...

    def is_delete_pending(self) -> bool: ...
    def link_count(self) -> int:
        """Links that are not pending deletion, as FileStandardInformation shows it."""
        ...

    def streams(self) -> list[Stream]: ...
    def maximal_access(self) -> int: ...
    async def set_basic(
        self, created: int, accessed: int, written: int, changed: int, attributes: int
    ) -> None:
        """[MS-FSA] 2.1.5.15.2: time 0 leave, -1 stop updating through this open, -2 resume; attributes 0
        leave."""
        ...

    async def set_disposition(self, flags: int) -> None:
        """FILE_DISPOSITION_DELETE 1, POSIX_SEMANTICS 2, FORCE_IMAGE_SECTION_CHECK 4, ON_CLOSE 8,
        IGNORE_READONLY 16."""
        ...

    async def rename(self, target: str, replace: bool, posix: bool = False) -> None:
        """`target` is a full path below the share's root, or ":stream:type" to rename a stream."""
        ...

    async def link(self, target: str, replace: bool) -> None: ...
    def eas(self) -> list[ExtendedAttribute]: ...
    async def set_eas(self, eas: Sequence[ExtendedAttribute]) -> None:
        """Merge: a value of b"" removes that name."""
        ...

    def security(self, information: int) -> bytes:
        """Self-relative descriptor with the parts asked for (OWNER 1, GROUP 2, DACL 4, SACL 8, LABEL 16)."""
        ...

    async def set_security(self, information: int, descriptor: bytes) -> None: ...
    def reparse(self) -> bytes: ...
    async def set_reparse(self, buffer: bytes) -> None: ...
    async def delete_reparse(self, buffer: bytes) -> None: ...
    def object_id(self, create: bool) -> bytes: ...
    def set_object_id(self, object_id: bytes) -> None: ...
    def delete_object_id(self) -> None: ...

    # quotas
    quota_scan_at: bytes
    """The SID after which an enumeration through this open goes on; b"" at the beginning."""

    def usage(self) -> VolumeUsage:
        """The volume's, within what an enforced quota leaves to the user of the open."""
        ...

    def quota_control(self) -> QuotaControl | None:
        """None: the volume keeps no quotas; the calls below are then NOT_SUPPORTED."""
        ...

    def set_quota_control(self, control: QuotaControl) -> None: ...
    def quotas(self) -> list[QuotaRecord]:
        """Those that the user may see, in the order of their SIDs' bytes."""
        ...

    def quota(self, sid: bytes) -> QuotaRecord: ...
    def set_quotas(self, records: Sequence[QuotaRecord]) -> None:
        """Thresholds and limits; a limit of -2 takes the entry away (NO_MATCH if there is none)."""
        ...

    # directories
    def scan(self, pattern: str, restart: bool, reopen: bool) -> DirectoryScan:
        """The pattern of the first call stays until `reopen`; `restart` goes back to the first entry."""
        ...

    async def watch(
        self, completion_filter: int, watch_tree: bool, output_limit: int
    ) -> list[tuple[int, str]]:
        """Wait for changes; (FILE_ACTION_*, name relative to this directory). Raises NOTIFY_ENUM_DIR when
        too many
        changed to say, NOTIFY_CLEANUP when the open closes, DELETE_PENDING. Cancellable."""
        ...

    # life
    async def close(self) -> None:
        """Ends the open; delete-on-close, locks, caching and waiters are settled. Idempotent."""
        ...

    def client_lost(self) -> bool:
        """[MS-SMB2] 3.3.7.1: True: the open is kept for its timeout; False: the caller closes it."""
        ...

    def reclaim(self, context: object) -> None:
        """The client is back; KEPT -> LIVE."""
        ...


class Volume(Protocol):
    """A mounted volume."""

    identity: VolumeIdentity

    def attach(self, sink: BreakSink) -> None:
        """Where breaks are delivered. Exactly one sink."""
        ...

    async def open(self, request: OpenRequest) -> OpenResult:
        """Waits while others' caching is broken, and at a sharing violation until a lease holder let go of
        its handles."""
        ...

    def acknowledge_oplock(self, file: File, level: int) -> int:
        """The level now. StatusError INVALID_OPLOCK_PROTOCOL, INVALID_DEVICE_STATE as [MS-SMB2] 3.3.5.22.1
        says."""
        ...

    def acknowledge_lease(self, client_guid: bytes, lease_key: bytes, state: int) -> int:
        """The state now. StatusError OBJECT_NAME_NOT_FOUND, UNSUCCESSFUL, REQUEST_NOT_ACCEPTED ([MS-SMB2]
        3.3.5.22.2)."""
        ...

    def make_resilient(self, file: File, timeout_ms: int) -> None:
        """[MS-SMB2] 3.3.5.15.9 Handling a Resiliency Request: from now on the open is kept after its client's
        loss for this time, whatever it caches. INVALID_PARAMETER for a directory."""
        ...

    def granted_to(self, node: Node, token: Token) -> int:
        """What the node's descriptor gives this user: for access-based enumeration."""
        ...

    def usage(self) -> VolumeUsage: ...
    def snapshots(self) -> Sequence[int]: ...
    async def sync(self) -> None: ...
    async def close(self) -> None: ...
