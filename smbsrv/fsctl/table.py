"""Which FSCTLs there are. Any other is INVALID_DEVICE_REQUEST, as a file system that does not know it
answers.

Source: [MS-SMB2] 3.3.5.15 Receiving an SMB2 IOCTL Request; [MS-FSA] 2.1.5.10 Server Requests an FsControl
Request.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum
from typing import NamedTuple

from smbproto import fscc
from smbsrv.fsctl import (
    allocated_ranges,
    compression,
    copychunk,
    dfs_referrals,
    duplicate_extents,
    file_regions,
    network_interfaces,
    object_id,
    pipe_peek,
    pipe_transceive,
    pipe_wait,
    read_hash,
    reparse_point,
    resiliency,
    resume_key,
    snapshots,
    sparse,
    trim,
    validate_negotiate,
    zero_data,
)
from smbsrv.fsctl.call import Call, Outcome


class Target(Enum):
    """What the FileId of the request names."""

    NONE = "none"
    FILE = "file"
    PIPE = "pipe"


class Fsctl(NamedTuple):
    target: Target
    run: Callable[[Call], Awaitable[Outcome]]


FSCTLS: dict[int, Fsctl] = {
    fscc.FSCTL_PIPE_TRANSCEIVE: Fsctl(Target.PIPE, pipe_transceive.run),
    fscc.FSCTL_PIPE_PEEK: Fsctl(Target.PIPE, pipe_peek.run),
    fscc.FSCTL_PIPE_WAIT: Fsctl(Target.NONE, pipe_wait.run),
    fscc.FSCTL_DFS_GET_REFERRALS: Fsctl(Target.NONE, dfs_referrals.run),
    fscc.FSCTL_DFS_GET_REFERRALS_EX: Fsctl(Target.NONE, dfs_referrals.run),
    fscc.FSCTL_VALIDATE_NEGOTIATE_INFO: Fsctl(Target.NONE, validate_negotiate.run),
    fscc.FSCTL_QUERY_NETWORK_INTERFACE_INFO: Fsctl(Target.NONE, network_interfaces.run),
    fscc.FSCTL_SRV_REQUEST_RESUME_KEY: Fsctl(Target.FILE, resume_key.run),
    fscc.FSCTL_SRV_COPYCHUNK: Fsctl(Target.FILE, copychunk.run),
    fscc.FSCTL_SRV_COPYCHUNK_WRITE: Fsctl(Target.FILE, copychunk.run),
    fscc.FSCTL_SRV_ENUMERATE_SNAPSHOTS: Fsctl(Target.FILE, snapshots.run),
    fscc.FSCTL_SRV_READ_HASH: Fsctl(Target.FILE, read_hash.run),
    fscc.FSCTL_LMR_REQUEST_RESILIENCY: Fsctl(Target.FILE, resiliency.run),
    fscc.FSCTL_GET_REPARSE_POINT: Fsctl(Target.FILE, reparse_point.get),
    fscc.FSCTL_SET_REPARSE_POINT: Fsctl(Target.FILE, reparse_point.set_),
    fscc.FSCTL_DELETE_REPARSE_POINT: Fsctl(Target.FILE, reparse_point.delete),
    fscc.FSCTL_SET_SPARSE: Fsctl(Target.FILE, sparse.run),
    fscc.FSCTL_SET_ZERO_DATA: Fsctl(Target.FILE, zero_data.run),
    fscc.FSCTL_QUERY_ALLOCATED_RANGES: Fsctl(Target.FILE, allocated_ranges.run),
    fscc.FSCTL_FILE_LEVEL_TRIM: Fsctl(Target.FILE, trim.run),
    fscc.FSCTL_DUPLICATE_EXTENTS_TO_FILE: Fsctl(Target.FILE, duplicate_extents.run),
    fscc.FSCTL_DUPLICATE_EXTENTS_TO_FILE_EX: Fsctl(Target.FILE, duplicate_extents.run_ex),
    fscc.FSCTL_CREATE_OR_GET_OBJECT_ID: Fsctl(Target.FILE, object_id.create_or_get),
    fscc.FSCTL_GET_OBJECT_ID: Fsctl(Target.FILE, object_id.get),
    fscc.FSCTL_SET_OBJECT_ID: Fsctl(Target.FILE, object_id.set_),
    fscc.FSCTL_DELETE_OBJECT_ID: Fsctl(Target.FILE, object_id.delete),
    fscc.FSCTL_GET_COMPRESSION: Fsctl(Target.FILE, compression.get),
    fscc.FSCTL_SET_COMPRESSION: Fsctl(Target.FILE, compression.set_),
    fscc.FSCTL_QUERY_FILE_REGIONS: Fsctl(Target.FILE, file_regions.run),
}
