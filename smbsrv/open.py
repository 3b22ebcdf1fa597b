"""Opens, as the server keeps them. Source: [MS-SMB2] 3.3.1.10 Per Open.

What the open may do, and whether it is kept after its client is gone, the object store knows (`file`); this
is the name that the client has for it, and what the protocol alone needs: channel sequence, resiliency,
replay. Owner: the server's tables (`Server.opens`, `Session.opens`). No I/O.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smbsrv.pipes.port import Pipe
    from smbsrv.session import Session
    from smbsrv.share import Share
    from smbsrv.tree import TreeConnect
    from storage.volume import File


@dataclass(slots=True, eq=False)
class Open:
    """`persistent_id` and `volatile_id` are the two halves of the FileId. Exactly one of `file` and `pipe` is
    set."""

    persistent_id: int
    volatile_id: int
    session: Session | None
    tree: TreeConnect | None
    share: Share | None = None
    """Stays while the client is gone, when `tree` is None."""
    file: File | None = None
    pipe: Pipe | None = None
    is_durable: bool = False
    is_resilient: bool = False
    is_persistent: bool = False
    is_replay_eligible: bool = False
    durable_version: int = 0
    durable_timeout_ms: int = 0
    resilient_timeout_ms: int = 0
    create_guid: bytes = b""
    app_instance_id: bytes = b""
    client_guid: bytes = b""
    durable_owner: str = ""
    """User SID that may reclaim it."""
    lease_key: bytes = b""
    lease_version: int = 0
    oplock_level: int = 0
    channel_sequence: int = 0
    outstanding: int = 0
    """Modifying requests in progress at this channel sequence ([MS-SMB2] 3.3.5.2.10)."""
    outstanding_before: int = 0
    lock_sequence: list[int] | None = None
    """64 entries, -1 invalid; only for resilient and persistent opens ([MS-SMB2] 3.3.5.14)."""
    create_action: int = 0
    create_reply: bytes = b""
    """Body of the CREATE response, for a replay."""
    path: str = ""
    resume_key: bytes = b""
    app_instance_version: tuple[int, int] | None = None
    is_listing: bool = False
    """A QUERY_DIRECTORY has begun a listing."""
    has_listed: bool = False
    """That listing has answered once."""
    held_breaks: list[Callable[[], object]] = field(default_factory=list)
    """Break notifications that came before the CREATE was answered: they follow the answer."""
    ea_index: int = 0
    """Where the next query for a single extended attribute goes on."""
