"""An authentication under way: a new session, an old one once more, or one that is bound to a further
connection.

Source: [MS-SMB2] 3.3.5.5.1 Authenticating a New Session; 3.3.5.5.2 Reauthenticating an Existing Session;
3.3.5.5.3 Handling GSS-API Authentication. It lives on `Session.setups` under the connection it runs on. No
I/O.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from smbproto.security.authentication import Authenticated, AuthenticationFailed, NotYet
from smbproto.security.ntlm import NtlmAcceptor
from smbproto.security.spnego import ACCEPT_COMPLETED, Accepted, NegResp, SpnegoAcceptor
from smbproto.status import Status, StatusError
from smbsrv.guesses import source_of
from smbsrv.limits import need

if TYPE_CHECKING:
    from smbproto.security.preauth import PreauthIntegrity
    from smbsrv.connection import Connection
    from smbsrv.server import Account, Server

__all__ = ["Purpose", "Setup"]


class Purpose(Enum):
    """What the authentication is for."""

    NEW = "new session"
    AGAIN = "reauthentication"
    BINDING = "session binding"


@dataclass(slots=True, eq=False)
class Setup:
    """`account` is whom the last token named; `preauth` goes over the setup's messages (3.1.1); `source` is
    where the client is, as far as guesses count."""

    purpose: Purpose
    server: Server
    acceptor: SpnegoAcceptor
    preauth: PreauthIntegrity
    source: str
    account: Account | None = None
    is_unknown_user: bool = False
    is_wrapped: bool = True
    rounds: int = 0
    user: str | None = None
    """Who the client says it is, once it has said so."""

    @classmethod
    def begin(cls, purpose: Purpose, server: Server, connection: Connection) -> Setup:
        config, runtime = server.config, server.runtime
        ntlm = NtlmAcceptor(config.name, config.domain, runtime.random_bytes, runtime.filetime())
        preauth = connection.endpoint.preauth.copy()
        return cls(purpose, server, SpnegoAcceptor(ntlm), preauth, source_of(connection.peer))

    async def step(self, token: bytes) -> Accepted:
        """Take the client's token, if need be after a wait. Raises: AuthenticationFailed, WireError,
        StatusError; the setup is then over."""
        self.rounds += 1
        need(
            self.rounds <= self.server.limits.setup_rounds, "rounds of a session setup", Status.LOGON_FAILURE
        )
        if token.startswith(b"NTLMSSP\0"):
            self.is_wrapped = False
        server = self.server
        try:
            accepted = await self._when_it_may(token)
        except AuthenticationFailed as error:
            if self.is_unknown_user and server.config.guest is not None and self.purpose is Purpose.NEW:
                return self._as_guest()
            if self.user is not None and error.status == Status.LOGON_FAILURE:
                server.guesses.failed(self.source, self.user, server.runtime.now())
            raise
        if accepted.identity is not None and self.user is not None:
            server.guesses.succeeded(self.source, self.user, server.runtime.now())
        return accepted

    async def _when_it_may(self, token: bytes) -> Accepted:
        runtime, guesses = self.server.runtime, self.server.guesses
        until_s = runtime.now() + guesses.limits.wait_max_s
        while True:
            try:
                return self.acceptor.step(token, self._hash_of)
            except NotYet as error:
                wait_s = error.wait_s
            if runtime.now() + wait_s > until_s or guesses.waiting >= guesses.limits.waiting_max:
                raise StatusError(Status.ACCOUNT_LOCKED_OUT, f"too many failed attempts of {self.user!r}")
            guesses.waiting += 1
            try:
                await runtime.sleep(wait_s)
            finally:
                guesses.waiting -= 1

    def _hash_of(self, user: str, domain: str) -> bytes | None:
        account = self.server.authenticator.lookup(user, domain)
        self.user = user if account is None else account.name
        wait_s = self.server.guesses.attempt(self.source, self.user, self.server.runtime.now())
        if wait_s > 0:
            raise NotYet(wait_s)
        self.account = account
        self.is_unknown_user = account is None
        return None if account is None else account.nt_hash

    def _as_guest(self) -> Accepted:
        """An unknown user where guests are let in: no key, so nothing of this session can be signed."""
        token = NegResp(ACCEPT_COMPLETED).encode() if self.is_wrapped else b""
        return Accepted(token, Authenticated("Guest", self.server.config.domain, "", b""))
