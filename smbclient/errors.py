"""Errors: what a response with an error status means, and which `OSError` a blocking caller gets for it.

Source: [MS-SMB2] 2.2.2 SMB2 ERROR Response; [MS-ERREF] 2.3 NTSTATUS.
"""

from __future__ import annotations

import errno

from smbproto.errors import WireError
from smbproto.smb2.error import ErrorResponse, SymbolicLinkError, decode_error_contexts_untrusted
from smbproto.status import Status, StatusError, StoppedOnSymlink

__all__ = ["error_of", "os_error_of"]

_ERRNO = {
    Status.OBJECT_NAME_NOT_FOUND: errno.ENOENT,
    Status.OBJECT_PATH_NOT_FOUND: errno.ENOENT,
    Status.NO_SUCH_FILE: errno.ENOENT,
    Status.DELETE_PENDING: errno.ENOENT,
    Status.BAD_NETWORK_NAME: errno.ENOENT,
    Status.NO_EAS_ON_FILE: errno.ENODATA,
    Status.NONEXISTENT_EA_ENTRY: errno.ENODATA,
    Status.OBJECT_NAME_COLLISION: errno.EEXIST,
    Status.OBJECT_NAME_INVALID: errno.EINVAL,
    Status.OBJECT_PATH_SYNTAX_BAD: errno.EINVAL,
    Status.INVALID_PARAMETER: errno.EINVAL,
    Status.INVALID_INFO_CLASS: errno.EINVAL,
    Status.NOT_A_REPARSE_POINT: errno.EINVAL,
    Status.ACCESS_DENIED: errno.EACCES,
    Status.NETWORK_ACCESS_DENIED: errno.EACCES,
    Status.SHARING_VIOLATION: errno.EBUSY,
    Status.FILE_LOCK_CONFLICT: errno.EAGAIN,
    Status.LOCK_NOT_GRANTED: errno.EAGAIN,
    Status.CANNOT_DELETE: errno.EPERM,
    Status.PRIVILEGE_NOT_HELD: errno.EPERM,
    Status.LOGON_FAILURE: errno.EACCES,
    Status.WRONG_PASSWORD: errno.EACCES,
    Status.NO_SUCH_USER: errno.EACCES,
    Status.ACCOUNT_DISABLED: errno.EACCES,
    Status.ACCOUNT_LOCKED_OUT: errno.EACCES,
    Status.ACCOUNT_RESTRICTION: errno.EACCES,
    Status.PASSWORD_EXPIRED: errno.EACCES,
    Status.PASSWORD_MUST_CHANGE: errno.EACCES,
    Status.SMB_GUEST_LOGON_BLOCKED: errno.EACCES,
    Status.FILE_IS_A_DIRECTORY: errno.EISDIR,
    Status.NOT_A_DIRECTORY: errno.ENOTDIR,
    Status.DIRECTORY_NOT_EMPTY: errno.ENOTEMPTY,
    Status.DISK_FULL: errno.ENOSPC,
    Status.QUOTA_EXCEEDED: errno.EDQUOT,
    Status.MEDIA_WRITE_PROTECTED: errno.EROFS,
    Status.NOT_SAME_DEVICE: errno.EXDEV,
    Status.TOO_MANY_LINKS: errno.EMLINK,
    Status.TOO_MANY_OPENED_FILES: errno.EMFILE,
    Status.NAME_TOO_LONG: errno.ENAMETOOLONG,
    Status.FILE_CLOSED: errno.EBADF,
    Status.INVALID_HANDLE: errno.EBADF,
    Status.NOT_SUPPORTED: errno.EOPNOTSUPP,
    Status.NOT_IMPLEMENTED: errno.EOPNOTSUPP,
    Status.INVALID_DEVICE_REQUEST: errno.EOPNOTSUPP,
    Status.EAS_NOT_SUPPORTED: errno.EOPNOTSUPP,
    Status.NETWORK_NAME_DELETED: errno.ESTALE,
    Status.USER_SESSION_DELETED: errno.ESTALE,
    Status.NETWORK_SESSION_EXPIRED: errno.ESTALE,
    Status.CONNECTION_DISCONNECTED: errno.ECONNRESET,
    Status.CONNECTION_RESET: errno.ECONNRESET,
    Status.CONNECTION_REFUSED: errno.ECONNREFUSED,
    Status.IO_TIMEOUT: errno.ETIMEDOUT,
    Status.CANCELLED: errno.ECANCELED,
    Status.INSUFFICIENT_RESOURCES: errno.ENOMEM,
    Status.NO_MEMORY: errno.ENOMEM,
    Status.STOPPED_ON_SYMLINK: errno.ELOOP,
    Status.PIPE_BROKEN: errno.EPIPE,
    Status.PIPE_DISCONNECTED: errno.EPIPE,
}


def error_of(status: int, message: memoryview, doing: str) -> StatusError:
    """The error of a response. `doing` says what was tried, on what."""
    if status == Status.STOPPED_ON_SYMLINK:
        try:
            link = _symlink_untrusted(message)
        except WireError as error:
            return StatusError(Status.STOPPED_ON_SYMLINK, f"{doing} (and the link is unreadable: {error})")
        return StoppedOnSymlink(
            link.substitute_name,
            link.print_name,
            relative=link.is_relative,
            unparsed_path_length_bytes=link.unparsed_path_length,
        )
    return StatusError(Status(status), doing)


def _symlink_untrusted(message: memoryview) -> SymbolicLinkError:
    body = ErrorResponse.decode_untrusted(message)
    data = body.error_data
    if body.error_context_count:
        data = decode_error_contexts_untrusted(data, body.error_context_count)[0].data
    return SymbolicLinkError.decode_untrusted(data)


def os_error_of(error: StatusError, path: str | None = None) -> OSError:
    """The OSError (FileNotFoundError, PermissionError, ...) that says the same."""
    number = _ERRNO.get(error.status, errno.EIO)
    if path is None:
        return OSError(number, str(error))
    return OSError(number, str(error), path)
