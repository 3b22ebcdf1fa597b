"""From a host's name to a session.

Source: [MS-SMB2] 3.2.4.2 Application Requests a Connection to a Share.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio

from smbclient.io.connection import BreakHandler, Connection
from smbclient.session import Session
from smbproto.endpoint.client_negotiate import ALL_DIALECTS, ClientConfig
from smbproto.endpoint.stream import ByteStream
from smbproto.io.tcp import PORT, open_tcp
from smbproto.status import Status, StatusError

__all__ = ["connect"]

CONNECT_TIMEOUT_S = 30.0
LOGOFF_TIMEOUT_S = 2.0


@asynccontextmanager
async def connect(
    host: str,
    port: int = PORT,
    *,
    user: str = "",
    password: str | None = None,
    domain: str = "",
    nt_hash: bytes | None = None,
    dialects: Sequence[int] = ALL_DIALECTS,
    encrypt: bool = False,
    require_signing: bool = True,
    client_guid: bytes | None = None,
    timeout_s: float = CONNECT_TIMEOUT_S,
    stream: ByteStream | None = None,
    on_break: BreakHandler | None = None,
) -> AsyncIterator[Session]:
    """A session on `host`, logged off and closed at the end. An empty `user` is anonymous.

    `user` may be DOMAIN\\name. `encrypt`: everything, or no session. `timeout_s` holds until the session is
    there. `stream`: an open one to use, in place of a TCP connection. Must be entered in a Trio task.
    Raises: StatusError LOGON_FAILURE, CONNECTION_REFUSED, IO_TIMEOUT, CONNECTION_DISCONNECTED and others.
    """
    if "\\" in user:
        domain, _, user = user.partition("\\")
    config = ClientConfig(
        client_guid=client_guid or os.urandom(16),
        server_name=host,
        dialects=tuple(sorted(dialects)),
        require_signing=require_signing and bool(user),
        require_encryption=encrypt,
    )
    with trio.CancelScope() as limit:
        limit.deadline = trio.current_time() + timeout_s
        own = stream or await _open(host, port)
        async with Connection.open(own, config, on_break=on_break) as connection:
            await connection.login(user, password, domain, hash_nt=nt_hash)
            limit.deadline = float("inf")
            session = Session(connection, host)
            try:
                yield session
            finally:
                await _leave(session, connection)
            return
    raise StatusError(
        Status.IO_TIMEOUT, f"{host} port {port} did not set up a session within {timeout_s:g} s"
    )


async def _open(host: str, port: int) -> ByteStream:
    try:
        return await open_tcp(host, port)
    except OSError as error:
        raise StatusError(
            Status.CONNECTION_REFUSED, f"cannot connect to {host} port {port}: {error}"
        ) from error


async def _leave(session: Session, connection: Connection) -> None:
    """Log off politely, but do not wait for a server that is silent."""
    if connection.is_broken:
        return
    with trio.move_on_after(LOGOFF_TIMEOUT_S, shield=True):
        try:
            await session.logoff()
        except StatusError:
            pass  # whatever it says, the session ends with the connection
