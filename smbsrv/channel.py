"""Channels: one session on one connection. Source: [MS-SMB2] 3.3.1.14 Per Channel; 3.3.1.8 Per Session.

Every session has a Channel on each connection that it is bound to, the first one included, in every dialect:
it holds what verifies and signs there. Encryption keys belong to the session, so all its channels share one
Sealer and one Opener.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smbproto.security.encryption import Opener, Sealer
    from smbproto.security.signing import Signer
    from smbsrv.connection import Connection
    from smbsrv.session import Session


@dataclass(slots=True, eq=False)
class Channel:
    """`signer` None: not authenticated yet, or a guest or anonymous session, which has no key."""

    session: Session
    connection: Connection
    signer: Signer | None = None
    sealer: Sealer | None = None
    opener: Opener | None = None
