"""The port between what a client asks for and the connection that carries it.

`smbclient/io/connection.py` implements it over a real stream. Code on this side awaits only what it gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from smbproto.codec import Buffer
from smbproto.endpoint.client_frames import Outgoing
from smbproto.endpoint.client_negotiate import ClientConfig, Negotiated
from smbproto.endpoint.client_session import ClientSession

__all__ = ["Channel", "Reply"]


class Reply(Protocol):
    """The answer to one request, now or later."""

    async def wait(self) -> tuple[int, memoryview]:
        """Status and message, whatever the status.

        Raises: StatusError CONNECTION_DISCONNECTED. Cancel: the server is asked to give the request up.
        """
        ...

    def abandon(self) -> None:
        """Nobody will wait: the server is asked to give the request up, and its answer is dropped."""
        ...


class Channel(Protocol):
    """A connection with a session on it."""

    @property
    def config(self) -> ClientConfig: ...

    @property
    def negotiated(self) -> Negotiated: ...

    @property
    def session(self) -> ClientSession: ...

    def credits_free(self) -> int:
        """Credits that a request could use without waiting."""
        ...

    def credits_owned(self) -> int:
        """Credits free or in use; a request that costs more would wait for ever."""
        ...

    def give_up(self, why: str) -> None:
        """The connection cannot be trusted: nothing is sent on it any more, and who waits is told why."""
        ...

    async def submit(
        self,
        command: int,
        body: Buffer,
        payload: Buffer = b"",
        *,
        tree_id: int,
        sealed: bool,
        charge: int = 1,
    ) -> Reply:
        """Send a request as soon as there are credits for it. Raises: StatusError CONNECTION_DISCONNECTED."""
        ...

    async def submit_related(self, requests: Sequence[Outgoing], *, sealed: bool) -> Sequence[Reply]:
        """Send requests as one related compound."""
        ...
