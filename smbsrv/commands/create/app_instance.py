"""SMB2_CREATE_APP_INSTANCE_ID and _VERSION: an application that moved to another client takes its opens with
it.

Source: [MS-SMB2] 3.3.5.9.13 Handling the SMB2_CREATE_APP_INSTANCE_ID Create Context; 3.3.5.9.14 Handling the
SMB2_CREATE_APP_INSTANCE_VERSION Create Context. A reconnect (DH2C) does not come here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smbproto.status import Status, StatusError
from smbsrv.commands.create.grants import DIALECT_3_0, DIALECT_3_1_1

if TYPE_CHECKING:
    from smbsrv.commands.create.contexts import Contexts
    from smbsrv.open import Open
    from smbsrv.request import Request


def _other_of(request: Request, app_instance_id: bytes, path: str) -> Open | None:
    """The open of the same application instance and file, on the same share, by another client."""
    assert request.tree is not None
    wanted = path.casefold()
    for opened in request.server.opens.values():
        if (
            opened.app_instance_id == app_instance_id
            and opened.client_guid != request.connection.client_guid
            and opened.share is request.tree.share
            and opened.path.casefold() == wanted
        ):
            return opened
    return None


async def close_other(request: Request, contexts: Contexts, path: str) -> None:
    """Close what the application has open through another client, unless this request's version is not newer.

    Raises: FILE_FORCED_CLOSED for a version that is not newer, or for none where the open has one (what
    Windows does: WPTS Negative_AppInstanceVersion_SMB311_NoVersion, AppInstanceVersion_SMB311_SMB302).
    """
    if not contexts.app_instance_id or request.connection.dialect < DIALECT_3_0:
        return
    other = _other_of(request, contexts.app_instance_id, path)
    if other is None:
        return
    version, had = contexts.app_instance_version, other.app_instance_version
    if request.connection.dialect < DIALECT_3_1_1:
        version = None
    if had is not None and (version is None or version <= had):
        raise StatusError(Status.FILE_FORCED_CLOSED, f"application version {version} is not newer than {had}")
    await request.server.close_open(other)
