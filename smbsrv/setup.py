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

from smbproto.security.authentication import Authenticated, AuthenticationFailed
from smbproto.security.ntlm import NtlmAcceptor
from smbproto.security.spnego import ACCEPT_COMPLETED, Accepted, NegResp, SpnegoAcceptor
from smbproto.status import Status
from smbsrv.limits import need

if TYPE_CHECKING:
    from smbproto.security.preauth import PreauthIntegrity
    from smbsrv.server import Account, Server

__all__ = ["Purpose", "Setup"]


class Purpose(Enum):
    """What the authentication is for."""

    NEW = "new session"
    AGAIN = "reauthentication"
    BINDING = "session binding"


@dataclass(slots=True, eq=False)
class Setup:
    """`account` is whom the last token named; `preauth` goes over the setup's messages (3.1.1)."""

    purpose: Purpose
    server: Server
    acceptor: SpnegoAcceptor
    preauth: PreauthIntegrity
    account: Account | None = None
    is_unknown_user: bool = False
    is_wrapped: bool = True
    rounds: int = 0

    @classmethod
    def begin(cls, purpose: Purpose, server: Server, preauth: PreauthIntegrity) -> Setup:
        config, runtime = server.config, server.runtime
        ntlm = NtlmAcceptor(config.name, config.domain, runtime.random_bytes, runtime.filetime())
        return cls(purpose, server, SpnegoAcceptor(ntlm), preauth.copy())

    def step(self, token: bytes) -> Accepted:
        """Take the client's token. Raises: AuthenticationFailed, WireError, StatusError; the setup is then
        over."""
        self.rounds += 1
        need(
            self.rounds <= self.server.limits.setup_rounds, "rounds of a session setup", Status.LOGON_FAILURE
        )
        if token.startswith(b"NTLMSSP\0"):
            self.is_wrapped = False
        try:
            return self.acceptor.step(token, self._hash_of)
        except AuthenticationFailed:
            if self.is_unknown_user and self.server.config.guest is not None and self.purpose is Purpose.NEW:
                return self._as_guest()
            raise

    def _hash_of(self, user: str, domain: str) -> bytes | None:
        self.account = self.server.authenticator.lookup(user, domain)
        self.is_unknown_user = self.account is None
        return None if self.account is None else self.account.nt_hash

    def _as_guest(self) -> Accepted:
        """An unknown user where guests are let in: no key, so nothing of this session can be signed."""
        token = NegResp(ACCEPT_COMPLETED).encode() if self.is_wrapped else b""
        return Accepted(token, Authenticated("Guest", self.server.config.domain, "", b""))
