"""CANCEL. Source: [MS-SMB2] 3.3.5.16 Receiving an SMB2 CANCEL Request.

Only what waits for something of unknown length is stopped; a disk request that has begun is done anyway. The
cancelled request is answered with STATUS_CANCELLED, the CANCEL itself never.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smbsrv.connection import Connection


def cancel(connection: Connection, async_id: int, message_id: int) -> None:
    """By async id if there is one, else by message id; unknown ones are ignored."""
    if async_id:
        job = connection.asynchronous.get(async_id)
    else:
        job = next((job for job in connection.jobs if job.current.message_id == message_id), None)
    if job is not None and job.is_waiting and job.cancel is not None:
        job.cancel()
