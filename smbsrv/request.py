"""One request on its way through a command handler, and its reply. Source: [MS-SMB2] 3.3.5.2 Receiving Any
Message.

The dispatcher makes a Request only after the message was verified, decrypted, found inside the credit window
and its session and tree connect were resolved. Handlers read `message` (it begins at the SMB2 header; all
offsets in SMB2 bodies are relative to it) and return a body. `open_of` resolves a FileId, including the one
that a related compound inherits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from smbproto.smb2.header import SMB2_FLAGS_REPLAY_OPERATION, Command
from smbproto.status import Status, StatusError

if TYPE_CHECKING:
    from smbproto.security.preauth import PreauthIntegrity
    from smbproto.security.signing import Signer
    from smbsrv.channel import Channel
    from smbsrv.connection import Connection
    from smbsrv.open import Open
    from smbsrv.server import Server
    from smbsrv.session import Session
    from smbsrv.tree import TreeConnect

_MODIFYING = frozenset((Command.WRITE, Command.SET_INFO, Command.IOCTL))


@dataclass(slots=True)
class Reply:
    """`body` follows the 64-byte header; its offsets are relative to that header.

    `frame`: memory in which `body` lies at `smbproto.endpoint.framing.BODY_START`, with TAG_BYTES of slack
    behind it: a reply with much data is sent from there and not copied. `preauth`: a hash that goes on over
    this response.
    """

    body: bytes | bytearray | memoryview
    status: int = Status.SUCCESS
    frame: bytearray | None = None
    preauth: PreauthIntegrity | None = None


@dataclass(slots=True)
class Chain:
    """What later requests of a related compound inherit ([MS-SMB2] 3.3.5.2.7.2 Handling Compounded Related
    Requests)."""

    open: Open | None = None
    had_file_id: bool = False
    """Whether a request before named or made an open, be it in vain."""
    status: int = Status.SUCCESS
    """Of the request before; an error of a CREATE is passed on."""
    session_id: int = 0
    tree_id: int = 0


class Request:
    """See the module. `session` is set for all but NEGOTIATE, SESSION_SETUP; `tree` for all that need a
    TreeId.

    `session_id` and `tree_id` go into the response header: SESSION_SETUP and TREE_CONNECT set them. `signer`
    signs the response if `must_sign`.
    """

    # Defaults of the class, not set for every instance: most requests keep most of them.
    credits_requested = 0
    channel_sequence = 0
    process_id = 0
    session_id = 0
    tree_id = 0
    is_encrypted = False
    is_related = False
    must_sign = False
    early: StatusError | None = None
    """Decided before the handler was asked: a wrong signature and the like."""
    signer: Signer | None = None
    sealed_by: Channel | None = None
    channel: Channel | None = None
    session: Session | None = None
    tree: TreeConnect | None = None
    open: Open | None = None
    counted: Open | None = None
    chain: Chain | None = None
    outlives_connection = False
    """Goes on when its connection is lost while its session has another: a client may ask for it again
    there."""

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
    @property
    def is_replay(self) -> bool:
        return bool(self.flags & SMB2_FLAGS_REPLAY_OPERATION) and self.connection.dialect >= 0x0300

    def open_of(self, persistent_id: int, volatile_id: int) -> Open:
        """The Open of this FileId on this session and tree; in a related request, whatever its FileId says,
        that of the request before.

        Raises: StatusError FILE_CLOSED; INVALID_HANDLE for an inherited id where nothing is inherited; the
        status of the request before, if that failed. Source: [MS-SMB2] 3.3.5.2.7.2; each command's "locate
        the open".
        """
        chain = self.chain
        if self.is_related and chain is not None:
            found = chain.open
            if found is None:
                if chain.had_file_id and chain.status >= 0xC0000000:
                    raise StatusError(Status(chain.status))
                raise StatusError(Status.INVALID_HANDLE)
            if found.session is not self.session:
                raise StatusError(Status.FILE_CLOSED)
        else:
            if chain is not None:
                chain.had_file_id = True
            assert self.session is not None
            known = self.session.opens.get(volatile_id)
            if known is None or known.persistent_id != persistent_id:
                raise StatusError(Status.FILE_CLOSED)
            found = known
        if found.tree is not self.tree:
            raise StatusError(Status.FILE_CLOSED)
        self.open = found
        if self.connection.dialect >= 0x0300:
            self._check_channel_sequence(found)
        return found

    def set_open(self, open: Open) -> None:
        """CREATE made it: later requests of the compound mean it."""
        self.open = open

    def _check_channel_sequence(self, open: Open) -> None:
        """[MS-SMB2] 3.3.5.2.10 Verifying the Channel Sequence Number. Counts the request; `done` counts it
        out."""
        ahead = (self.channel_sequence - open.channel_sequence) & 0xFFFF
        is_stale = ahead > 0x7FFF
        if is_stale or (self.is_replay and open.outstanding_before):
            if self.command in _MODIFYING:
                raise StatusError(Status.FILE_NOT_AVAILABLE, f"channel sequence {self.channel_sequence}")
            return
        if ahead:
            open.outstanding_before += open.outstanding
            open.outstanding = 0
            open.channel_sequence = self.channel_sequence
        if self.counted is None:
            open.outstanding += 1
            self.counted = open

    def done(self) -> None:
        """The response is made."""
        open = self.counted
        if open is not None:
            self.counted = None
            if open.channel_sequence == self.channel_sequence:
                open.outstanding -= 1
            else:
                open.outstanding_before -= 1
