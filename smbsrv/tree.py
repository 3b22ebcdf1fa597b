"""Tree connects. Source: [MS-SMB2] 3.3.1.9 Per Tree Connect."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smbsrv.open import Open
    from smbsrv.session import Session
    from smbsrv.share import Share


@dataclass(slots=True, eq=False)
class TreeConnect:
    """`maximal_access` is what the share gives this user; `opens` by volatile id."""

    id: int
    session: Session
    share: Share
    maximal_access: int
    creation_s: float = 0.0
    opens: dict[int, Open] = field(default_factory=dict)
    encrypt: bool = False
