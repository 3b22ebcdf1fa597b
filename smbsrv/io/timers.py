"""What happens by the clock, for all connections in one task.

- A request that takes over a second gets its interim response ([MS-SMB2] 3.3.4.2), so that no client takes us
for dead.
- A connection without a session is dropped after a while ([MS-SMB2] 3.3.5.2: limits on strangers are ours).
- A break that has not arrived is told again on another connection ([MS-SMB2] 3.3.4.6, 3.3.4.7).
- A session whose ticket is over expires ([MS-SMB2] 3.3.2.1 Session Expiration Timer).
Lease breaks and kept opens have their timers in the object store.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import trio

from smbsrv.server import Server
from smbsrv.session import SessionState

__all__ = ["run_timers"]

log = logging.getLogger("sofs.smb")

TICK_S = 0.5


async def run_timers(server: Server, tick: Callable[[float], None]) -> None:
    """Until cancelled. `tick` is the driver's own part."""
    while True:
        await trio.sleep(TICK_S)
        now = server.runtime.now()
        interim_responses(server, now)
        drop_strangers(server, now)
        expire_sessions(server, now)
        server.retelling.tick(now)
        tick(now)


def interim_responses(server: Server, now: float) -> None:
    for connection in list(server.connections):  # to tell it may show that it is gone
        for job in list(connection.jobs):
            if not job.async_id and now - job.started_s > server.limits.interim_s and job.may_wait():
                job.interim()


def drop_strangers(server: Server, now: float) -> None:
    for connection in list(server.connections):
        if not connection.has_session and now - connection.created_s > server.limits.unauthenticated_s:
            log.warning("dropped connection=%d peer=%s: nobody logged on", connection.id, connection.peer)
            connection.driver.close(connection)


def expire_sessions(server: Server, now: float) -> None:
    for session in server.sessions.values():
        if session.state is SessionState.VALID and now > session.expires_s:
            session.state = SessionState.EXPIRED
            log.info("expired %r", session)
