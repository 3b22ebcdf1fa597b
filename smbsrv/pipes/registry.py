"""Which named pipes there are: the RPC services of IPC$. Source: [MS-SMB2] 3.3.5.9 Receiving an SMB2 CREATE
Request; [MS-SRVS] 2.1, [MS-WKST] 2.1, [MS-LSAT] 2.1, [MS-SAMR] 2.1 Transport: the pipes' names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from smbproto.rpc.association import Association
from smbproto.rpc.lsarpc import LsaService
from smbproto.rpc.port import Host
from smbproto.rpc.samr import SamService
from smbproto.rpc.service import Service
from smbproto.rpc.srvsvc import ServerService
from smbproto.rpc.wkssvc import WorkstationService
from smbsrv.pipes.host import ServerHost
from smbsrv.pipes.rpc_pipe import RpcPipe

if TYPE_CHECKING:
    from smbsrv.pipes.port import Pipe
    from smbsrv.server import Server
    from smbsrv.session import Session

# Windows has LSA and SAM in one process, so that either may be bound over either pipe.
_SECURITY: Sequence[Callable[[Host], Service]] = (LsaService, SamService)
SERVICES: dict[str, Sequence[Callable[[Host], Service]]] = {
    "srvsvc": (ServerService,),
    "wkssvc": (WorkstationService,),
    "lsarpc": _SECURITY,
    "samr": _SECURITY,
    "lsass": _SECURITY,
}
"""By the pipe's name, lower case."""


def has_service(server: Server, name: str) -> bool:
    return name.casefold() in server.pipes or name.casefold() in SERVICES


def open_service(server: Server, session: Session, name: str) -> Pipe | None:
    """A new open of the pipe `name`; None: there is no such pipe."""
    own = server.pipes.get(name.casefold())
    if own is not None:
        return own(server, session)
    services = SERVICES.get(name.casefold())
    if services is None:
        return None
    host = ServerHost(server, session)
    return RpcPipe(Association(name.casefold(), [make(host) for make in services]), server.runtime)
