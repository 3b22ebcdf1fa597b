"""TREE_CONNECT. Source: [MS-SMB2] 3.3.5.7 Receiving an SMB2 TREE_CONNECT Request."""

from __future__ import annotations

from smbproto.errors import ProtocolViolation
from smbproto.smb2.tree_connect import (
    SMB2_SHARE_TYPE_DISK,
    SMB2_SHARE_TYPE_PIPE,
    SMB2_SHAREFLAG_ACCESS_BASED_DIRECTORY_ENUM,
    SMB2_SHAREFLAG_ENCRYPT_DATA,
    SMB2_SHAREFLAG_FORCE_LEVELII_OPLOCK,
    TreeConnectRequest,
    TreeConnectResponse,
)
from smbproto.status import Status, StatusError
from smbsrv.limits import need
from smbsrv.request import Request
from smbsrv.session import Session
from smbsrv.share import Share
from smbsrv.tree import TreeConnect

FULL_ACCESS = 0x001F01FF
READ_ACCESS = 0x001200A9
PATH_CHARACTERS_MAX = 1024


async def handle(request: Request) -> bytes:
    session = request.session
    assert session is not None
    _require_protection(request, session)
    share = _share_of(request, TreeConnectRequest.decode_untrusted(request.message).path)
    must_encrypt = _must_encrypt(request, share)
    access = maximal_access(share, session)
    if share.max_uses:
        uses = sum(
            tree.share is share for known in request.server.sessions.values() for tree in known.trees.values()
        )
        need(uses < share.max_uses, f"connections to {share.name}", Status.REQUEST_NOT_ACCEPTED)
    need(len(session.trees) < request.server.limits.trees_per_session, "tree connects of a session")
    tree_id, session.next_tree_id = session.next_tree_id, session.next_tree_id + 1
    tree = TreeConnect(tree_id, session, share, access, request.server.runtime.now(), encrypt=must_encrypt)
    session.trees[tree_id] = tree
    request.tree, request.tree_id = tree, tree_id
    flags = share.caching_mode
    if share.access_based_enumeration:
        flags |= SMB2_SHAREFLAG_ACCESS_BASED_DIRECTORY_ENUM
    if share.force_level_ii:
        flags |= SMB2_SHAREFLAG_FORCE_LEVELII_OPLOCK
    if must_encrypt:
        flags |= SMB2_SHAREFLAG_ENCRYPT_DATA
    return TreeConnectResponse(
        share_type=SMB2_SHARE_TYPE_PIPE if share.is_pipe else SMB2_SHARE_TYPE_DISK,
        share_flags=flags,
        maximal_access=access,
    ).encode()


def _require_protection(request: Request, session: Session) -> None:
    """In 3.1.1 the first message after the session setup proves that nobody was in between. Raises:
    ProtocolViolation."""
    if request.connection.dialect < 0x0311 or session.is_anonymous or session.is_guest:
        return
    if not request.is_encrypted and not request.must_sign:
        raise ProtocolViolation("a TREE_CONNECT that is neither signed nor encrypted")


def _share_of(request: Request, path: str) -> Share:
    r"""The share that \\server\share means; any server name is ours. Raises: StatusError."""
    parts = path.split("\\")
    if len(path) > PATH_CHARACTERS_MAX or len(parts) != 4 or parts[0] or parts[1] or not parts[2]:
        raise StatusError(Status.INVALID_PARAMETER, r"the path is not \\server\share")
    share = request.server.find_share(parts[3])
    if share is None:
        raise StatusError(Status.BAD_NETWORK_NAME, f"no share {parts[3]!r}")
    return share


def _must_encrypt(request: Request, share: Share) -> bool:
    """Whether requests on this tree connect must be encrypted. Raises: StatusError ACCESS_DENIED if the
    client cannot."""
    session = request.session
    assert session is not None
    if not share.encrypt_data:
        return False
    if session.sealer is None:
        if request.server.config.reject_unencrypted_access:
            raise StatusError(
                Status.ACCESS_DENIED, f"share {share.name} must be encrypted, the client cannot"
            )
        return False
    return True


def maximal_access(share: Share, session: Session) -> int:
    """TreeConnect.MaximalAccess. Raises: StatusError ACCESS_DENIED if it is nothing."""
    assert session.token is not None
    access = 0 if share.access else FULL_ACCESS
    for sid, mask in share.access.items():
        if sid in session.token.sids:
            access |= mask
    if share.is_read_only:
        access &= READ_ACCESS
    if not access:
        raise StatusError(Status.ACCESS_DENIED, f"{session.user_name!r} has no right to share {share.name}")
    return access
