"""FSCTLs of object ids. Source: [MS-FSCC] 2.3.1 FSCTL_CREATE_OR_GET_OBJECT_ID Request, 2.3.27
FSCTL_GET_OBJECT_ID Request, 2.3.77 FSCTL_SET_OBJECT_ID Request, 2.3.3 FSCTL_DELETE_OBJECT_ID Request;
[MS-FSA] 2.1.5.10.1, .14, .34, .3."""

from __future__ import annotations

from smbproto.dtyp import FILE_WRITE_ATTRIBUTES, FILE_WRITE_DATA
from smbproto.status import Status, StatusError
from smbsrv.fsctl.call import Call, Outcome

OBJECT_ID_BYTES = 64
RESTORE = "SeRestorePrivilege"


def _buffer(object_id: bytes) -> Outcome:
    if not object_id:
        raise StatusError(Status.OBJECTID_NOT_FOUND)
    return Outcome(object_id.ljust(OBJECT_ID_BYTES, b"\0"))


async def create_or_get(call: Call) -> Outcome:
    """Raises: INVALID_PARAMETER if there is no room for the answer."""
    call.need_output(OBJECT_ID_BYTES, Status.INVALID_PARAMETER)
    return _buffer(call.file.object_id(True))


async def get(call: Call) -> Outcome:
    """Raises: OBJECTID_NOT_FOUND, INVALID_PARAMETER."""
    call.need_output(OBJECT_ID_BYTES, Status.INVALID_PARAMETER)
    return _buffer(call.file.object_id(False))


async def set_(call: Call) -> Outcome:
    """[MS-FSA] 2.1.5.10.34: who may restore, may set. Raises: ACCESS_DENIED, INVALID_PARAMETER,
    DUPLICATE_NAME."""
    call.need_access(FILE_WRITE_DATA | FILE_WRITE_ATTRIBUTES)
    session = call.request.session
    assert session is not None and session.token is not None
    if len(call.input) != OBJECT_ID_BYTES:
        raise StatusError(Status.INVALID_PARAMETER, f"an object id of {len(call.input)} bytes")
    if RESTORE not in session.token.privileges:
        raise StatusError(Status.ACCESS_DENIED, f"needs {RESTORE}")
    call.file.set_object_id(call.input)
    return Outcome()


async def delete(call: Call) -> Outcome:
    """Raises: ACCESS_DENIED."""
    call.need_access(FILE_WRITE_DATA | FILE_WRITE_ATTRIBUTES)
    call.file.delete_object_id()
    return Outcome()
