"""A session: its shares, and the proof that nobody changed the negotiation.

Source: [MS-SMB2] 3.2.4.2.4 Connecting to the Share; 3.2.5.5 Receiving an SMB2 TREE_CONNECT Response; 3.2.4.23
Application Requests Terminating an Authenticated Context.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smbclient.errors import error_of
from smbclient.port import Channel
from smbclient.tree import Tree
from smbproto.codec import RELATED_FILE_ID
from smbproto.errors import ProtocolViolation, WireError
from smbproto.fscc import FSCTL_VALIDATE_NEGOTIATE_INFO
from smbproto.smb2.header import Command
from smbproto.smb2.ioctl import IoctlRequest, IoctlResponse
from smbproto.smb2.logoff import LogoffRequest
from smbproto.smb2.tree_connect import SMB2_SHAREFLAG_ENCRYPT_DATA, TreeConnectRequest, TreeConnectResponse
from smbproto.status import Status, StatusError

if TYPE_CHECKING:
    from smbproto.rpc.share_list import ShareInfo

__all__ = ["Session"]

VALIDATE_OUTPUT_BYTES = 24
OLD_SERVER = (  # the signed refusals of servers that have no VALIDATE_NEGOTIATE_INFO
    Status.NOT_SUPPORTED,
    Status.INVALID_DEVICE_REQUEST,
    Status.FS_DRIVER_REQUIRED,
    Status.FILE_CLOSED,
)


class Session:
    """An authenticated session. Trees are connected once and kept."""

    def __init__(self, channel: Channel, host: str) -> None:
        self.channel = channel
        self.host = host
        self._trees: dict[str, Tree] = {}
        self._is_validated = False

    @property
    def dialect(self) -> int:
        return self.channel.negotiated.dialect

    @property
    def is_encrypted(self) -> bool:
        """Everything of this session is encrypted, whatever the share."""
        return self.channel.session.encrypt_data

    async def tree(self, share: str) -> Tree:
        """The share. Raises: StatusError BAD_NETWORK_NAME, ACCESS_DENIED."""
        known = self._trees.get(share.lower())
        if known is None:
            known = self._trees[share.lower()] = await self._connect(share)
        return known

    async def shares(self) -> list[ShareInfo]:
        """The shares that the server tells of. Raises: StatusError."""
        from smbclient.rpc import list_shares

        return await list_shares(self)

    async def logoff(self) -> None:
        """End the session; all its files are closed."""
        self._trees.clear()
        body = LogoffRequest().encode()
        reply = await self.channel.submit(Command.LOGOFF, body, tree_id=0, sealed=False)
        status, message = await reply.wait()
        if status != Status.SUCCESS:
            raise error_of(status, message, "logging off")

    async def _connect(self, share: str) -> Tree:
        path = f"\\\\{self.host}\\{share}"
        reply = await self.channel.submit(
            Command.TREE_CONNECT, TreeConnectRequest(path=path).encode(), tree_id=0, sealed=False
        )
        status, message = await reply.wait()
        if status != Status.SUCCESS:
            raise error_of(status, message, f"connecting to {path}")
        response = TreeConnectResponse.decode_untrusted(message)
        tree_id = int.from_bytes(message[36:40], "little")
        sealed = bool(response.share_flags & SMB2_SHAREFLAG_ENCRYPT_DATA)
        if sealed and self.channel.session.sealer is None:
            raise StatusError(Status.ACCESS_DENIED, f"{path} demands encryption, which was not negotiated")
        tree = Tree(self.channel, share, tree_id, response, sealed=sealed)
        if not self._is_validated:
            await self._validate_negotiation(tree)
            self._is_validated = True
        return tree

    async def _validate_negotiation(self, tree: Tree) -> None:
        """Below 3.1.1, whose keys prove it, ask the server under our signature what it heard in NEGOTIATE.

        Raises: StatusError CONNECTION_DISCONNECTED if that differs.
        """
        config, negotiated = self.channel.config, self.channel.negotiated
        if (
            negotiated.dialect >= 0x0311
            or max(config.dialects) < 0x0300
            or self.channel.session.signer is None
        ):
            return
        request = IoctlRequest(
            ctl_code=FSCTL_VALIDATE_NEGOTIATE_INFO,
            file_id=RELATED_FILE_ID,
            input=config.validate_request(),
            max_output_response=VALIDATE_OUTPUT_BYTES,
        )
        reply = await self.channel.submit(
            Command.IOCTL, request.encode(), tree_id=tree.tree_id, sealed=tree.sealed
        )
        status, message = await reply.wait()
        if status in OLD_SERVER and negotiated.dialect < 0x0300:
            return
        try:
            if status != Status.SUCCESS:
                raise ProtocolViolation(f"VALIDATE_NEGOTIATE_INFO is answered with {Status(status).name}")
            negotiated.check_validation(IoctlResponse.decode_untrusted(message).output)
        except (ProtocolViolation, WireError) as error:
            self.channel.give_up(str(error))
            raise StatusError(Status.CONNECTION_DISCONNECTED, str(error)) from error
