"""One request on its way through a command handler, and its reply. Source: [MS-SMB2] 3.3.5.2 Receiving Any Message.

The dispatcher makes a Request only after the message was verified, decrypted, found inside the credit window and its session
and tree connect were resolved. Handlers read `message` (it begins at the SMB2 header; all offsets in SMB2 bodies are
relative to it) and return a body. `open_of` resolves a FileId, including the one that a related compound inherits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from smbproto.status import Status, StatusError

if TYPE_CHECKING:
    from smbsrv.connection import Connection
    from smbsrv.open import Open
    from smbsrv.server import Server
    from smbsrv.session import Session
    from smbsrv.tree import TreeConnect

RELATED_FILE_ID = 0xFFFFFFFFFFFFFFFF


@dataclass(slots=True)
class Reply:
    """`body` follows the 64-byte header; its offsets are relative to that header."""

    body: bytes | bytearray | memoryview
    status: int = Status.SUCCESS


@dataclass(slots=True)
class Chain:
    """What later requests of a related compound inherit ([MS-SMB2] 3.3.5.2.7.2 Handling Compounded Related Requests)."""

    open: Open | None = None
    status: int = Status.SUCCESS
    """Of the request before; an error of a CREATE is passed on."""


class Request:
    """See the module. `session` is set for all but NEGOTIATE, SESSION_SETUP; `tree` for all that need a TreeId."""

    __slots__ = (
        "chain",
        "channel_sequence",
        "command",
        "connection",
        "credit_charge",
        "flags",
        "is_encrypted",
        "is_related",
        "message",
        "message_id",
        "open",
        "process_id",
        "server",
        "session",
        "tree",
    )

    def __init__(
        self,
        server: Server,
        connection: Connection,
        message: memoryview,
        command: int,
        message_id: int,
        flags: int,
        credit_charge: int,
    ) -> None:
        self.server = server
        self.connection = connection
        self.message = message
        self.command = command
        self.message_id = message_id
        self.flags = flags
        self.credit_charge = credit_charge
        self.channel_sequence = 0
        self.process_id = 0
        self.is_encrypted = False
        self.is_related = False
        self.session: Session | None = None
        self.tree: TreeConnect | None = None
        self.open: Open | None = None
        self.chain: Chain | None = None

    def open_of(self, persistent_id: int, volatile_id: int) -> Open:
        """The Open of this FileId on this session and tree.

        Raises: StatusError FILE_CLOSED; INVALID_PARAMETER for an inherited id where nothing is inherited; the status of
        the request before, if that failed. Source: [MS-SMB2] 3.3.5.2.7.2; each command's "locate the open".
        """
        chain = self.chain
        if self.is_related and chain is not None and volatile_id == RELATED_FILE_ID:
            found = chain.open
            if found is None:
                raise StatusError(Status(chain.status) if chain.status >= 0xC0000000 else Status.INVALID_PARAMETER)
        else:
            assert self.session is not None
            known = self.session.opens.get(volatile_id)
            if known is None or known.persistent_id != persistent_id:
                raise StatusError(Status.FILE_CLOSED)
            found = known
        if found.tree is not self.tree:
            raise StatusError(Status.FILE_CLOSED)
        self.open = found
        if chain is not None:
            chain.open = found
        return found
