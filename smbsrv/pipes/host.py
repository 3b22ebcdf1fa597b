"""What the services of IPC$ see of this server. Implements `smbproto.rpc.port.Host`.

Source: [MS-SRVS] 3.1.1 Abstract Data Model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smbproto.rpc.port import Accounts, Caller, FileView, SessionView, ShareView

if TYPE_CHECKING:
    from smbsrv.open import Open
    from smbsrv.server import Server
    from smbsrv.session import Session
    from smbsrv.share import Share

STYPE_DISKTREE = 0x00000000
STYPE_IPC = 0x00000003
STYPE_SPECIAL = 0x80000000
ADMINISTRATORS = "S-1-5-32-544"
FILETIME_TICKS_PER_S = 10_000_000
CSC_MASK = 0x30

# [MS-SRVS] 2.2.4.7 FILE_INFO_3: PERM_FILE_READ, WRITE, CREATE by the access that the open has
_READS = 0x00000001
_WRITES = 0x00000002 | 0x00000004


class ServerHost:
    """One for each open of a pipe: it knows who asks."""

    def __init__(self, server: Server, session: Session) -> None:
        self._server = server
        self.name = server.config.name
        self.workgroup = server.config.domain
        self.comment = server.config.comment
        self.accounts: Accounts = server.accounts
        token = session.token
        self.caller = Caller(
            name=session.user_name or (token.name if token is not None else ""),
            domain=session.domain or self.name,
            sid=token.user if token is not None else "",
            is_admin=token is not None and ADMINISTRATORS in token.sids,
            is_anonymous=session.is_anonymous or token is None,
        )

    def shares(self) -> list[ShareView]:
        uses: dict[int, int] = {}
        for session in self._server.sessions.values():
            for tree in session.trees.values():
                uses[id(tree.share)] = uses.get(id(tree.share), 0) + 1
        return [self._share(share, uses.get(id(share), 0)) for share in self._server.shares.values()]

    def _share(self, share: Share, uses: int) -> ShareView:
        kind = STYPE_IPC | STYPE_SPECIAL if share.is_pipe else STYPE_DISKTREE
        path = "" if share.is_pipe else f"C:\\{share.name}"
        return ShareView(
            share.name,
            kind,
            share.remark,
            path,
            share.max_uses,
            uses,
            share.caching_mode & CSC_MASK,
            b"",
            share.hidden,
        )

    def sessions(self) -> list[SessionView]:
        now = self._server.runtime.now()
        return [
            SessionView(
                client=next(iter(session.channels)).peer if session.channels else "",
                user=session.user_name,
                opens=len(session.opens),
                active_s=max(0, int(now - session.creation_s)),
                idle_s=max(0, int(now - session.idle_s)),
            )
            for session in self._server.sessions.values()
            if session.token is not None
        ]

    def files(self) -> list[FileView]:
        return [self._file(opened) for opened in self._server.opens.values()]

    def _file(self, opened: Open) -> FileView:
        access = opened.file.granted_access if opened.file is not None else 0x3
        permissions = (_READS if access & 0x21 else 0) | (_WRITES if access & 0x6 else 0)
        share = opened.share
        where = f"C:\\{share.name}\\" if share is not None and not share.is_pipe else "\\PIPE\\"
        user = opened.session.user_name if opened.session is not None else ""
        return FileView(opened.persistent_id, permissions, 0, where + opened.path, user)

    def filetime(self) -> int:
        return self._server.runtime.filetime()

    def uptime_s(self) -> int:
        return (self.filetime() - self._server.statistics.started_filetime) // FILETIME_TICKS_PER_S
