"""Sessions. Source: [MS-SMB2] 3.3.1.8 Per Session.

       SESSION_SETUP        last token is right           lifetime of the ticket is over
    ----------------> IN_PROGRESS ----------> VALID ------------------------------> EXPIRED
                                                ^   SESSION_SETUP again (reauthentication)  |
                                                +-------------------------------------------+

A session outlives a connection as long as another channel has it. Its trees and opens end with it.
Owner: `Server.sessions`. No I/O.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smbproto.security.encryption import CipherId, Opener, Sealer
    from smbproto.security.keys import SessionKeys
    from smbproto.security.signing import Signer, SigningAlgorithm
    from smbsrv.channel import Channel
    from smbsrv.connection import Connection
    from smbsrv.open import Open
    from smbsrv.setup import Setup
    from smbsrv.tree import TreeConnect
    from storage.volume import Token


class SessionState(Enum):
    """Session.State."""

    IN_PROGRESS = "InProgress"
    VALID = "Valid"
    EXPIRED = "Expired"


@dataclass(slots=True, eq=False)
class Session:
    """`token` is set from VALID on. `opens` by volatile id. `channels` by connection."""

    id: int
    dialect: int
    client_guid: bytes
    state: SessionState = SessionState.IN_PROGRESS
    token: Token | None = None
    user_name: str = ""
    domain: str = ""
    workstation: str = ""
    is_guest: bool = False
    is_anonymous: bool = False
    signing_required: bool = False
    encrypt_data: bool = False
    keys: SessionKeys | None = None
    full_session_key: bytes = b""
    cipher: CipherId | None = None
    signing_algorithm: SigningAlgorithm | None = None
    signer: Signer | None = None
    """Of Session.SigningKey: verifies and answers a session binding."""
    sealer: Sealer | None = None
    opener: Opener | None = None
    creation_s: float = 0.0
    idle_s: float = 0.0
    expires_s: float = float("inf")
    channels: dict[Connection, Channel] = field(default_factory=dict)
    trees: dict[int, TreeConnect] = field(default_factory=dict)
    opens: dict[int, Open] = field(default_factory=dict)
    next_tree_id: int = 1
    setups: dict[Connection, Setup] = field(default_factory=dict)
    """Authentications under way, by the connection they run on."""

    @property
    def application_key(self) -> bytes:
        """Session.ApplicationKey, which pipes give to RPC services as the SMB session key."""
        return self.keys.application if self.keys is not None else bytes(16)

    def __repr__(self) -> str:
        return f"Session({self.id:#x}, {self.domain}\\{self.user_name}, {self.state.value})"
