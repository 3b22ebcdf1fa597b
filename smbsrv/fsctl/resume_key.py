"""FSCTL_SRV_REQUEST_RESUME_KEY: a name for an open, by which a server-side copy finds its source.

Source: [MS-SMB2] 3.3.5.15.5 Handling a Server-Side Data Copy Request for Source File Key; 2.2.32.3
SRV_REQUEST_RESUME_KEY Response. The key is opaque to the client; it holds both halves of the FileId and the
session's id, and is good within that session only."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from smbproto.fscc.fsctl import ResumeKey
from smbproto.status import Status, StatusError
from smbsrv.fsctl.call import Call, Outcome

if TYPE_CHECKING:
    from smbsrv.open import Open
    from smbsrv.session import Session

_KEY = Struct("<QQQ")
_OUTPUT_BYTES = 32


async def run(call: Call) -> Outcome:
    """Raises: INVALID_PARAMETER if there is no room for the answer."""
    call.need_output(_OUTPUT_BYTES, Status.INVALID_PARAMETER)
    opened = call.opened
    assert opened is not None and opened.session is not None
    opened.resume_key = _KEY.pack(opened.persistent_id, opened.volatile_id, opened.session.id)
    return Outcome(ResumeKey(resume_key=opened.resume_key).encode())


def open_of_key(session: Session, key: bytes) -> Open:
    """The open of this session that was given `key`. Raises: OBJECT_NAME_NOT_FOUND."""
    _, volatile_id, _ = _KEY.unpack(key)
    opened = session.opens.get(volatile_id)
    if opened is None or opened.resume_key != key or opened.file is None:
        raise StatusError(Status.OBJECT_NAME_NOT_FOUND, "no open has this resume key")
    return opened
