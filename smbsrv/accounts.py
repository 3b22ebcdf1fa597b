"""Port: the account database, as the pipes lsarpc and samr show it. `cluster.accounts.Accounts` implements
it; `Server.accounts` holds it.

Source: [MS-SAMR] 3.1.1 Abstract Data Model, as much of it as a server without a domain has. Authentication
asks elsewhere (`smbsrv.server.Authenticator`): no hash passes here.
"""

from __future__ import annotations

from collections.abc import Sequence

from smbproto.rpc.port import Accounts, UserView

__all__ = ["Accounts", "NoAccounts", "UserView"]


class NoAccounts:
    """A server that was given none: a machine SID, and nobody."""

    machine_sid = "S-1-5-21-0-0-0"

    def users(self) -> Sequence[UserView]:
        return ()

    def find(self, name: str) -> UserView | None:
        return None
