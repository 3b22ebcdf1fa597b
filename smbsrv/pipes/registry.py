"""Which named pipes there are. Source: [MS-SMB2] 3.3.5.9 Receiving an SMB2 CREATE Request
(SHARE_TYPE_PIPE)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from smbsrv.pipes.port import Pipe
    from smbsrv.server import Server
    from smbsrv.session import Session

SERVICES: dict[str, Callable[[Server, Session], Pipe]] = {}
"""By the pipe's name, lower case."""


def has_service(server: Server, name: str) -> bool:
    return name.casefold() in server.pipes or name.casefold() in SERVICES


def open_service(server: Server, session: Session, name: str) -> Pipe | None:
    """A new open of the pipe `name`; None: there is no such pipe."""
    make = server.pipes.get(name.casefold()) or SERVICES.get(name.casefold())
    return None if make is None else make(server, session)
