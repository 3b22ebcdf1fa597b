"""Shares: names under which volumes are served. Source: [MS-SMB2] 3.3.1.6 Per Share.

Configuration comes from above (`cluster/`), and may change while the server runs. Access to a share is
decided here, by its own list of rights; access to files is the object store's matter.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from storage.volume import Volume


@dataclass(slots=True)
class Share:
    """`volume` None: the IPC$ share. `path`: directory of the volume that is the share's root ("" the
    volume's root).

    `access`: SID text -> maximal access mask; empty: everyone authenticated has full access.
    """

    name: str
    volume: Volume | None
    path: str = ""
    remark: str = ""
    is_read_only: bool = False
    encrypt_data: bool = False
    is_continuously_available: bool = False
    force_level_ii: bool = False
    access_based_enumeration: bool = False
    caching_mode: int = 0
    """SMB2_SHAREFLAG_MANUAL_CACHING 0x00, AUTO 0x10, VDO 0x20, NO_CACHING 0x30."""
    max_uses: int = 0
    access: dict[str, int] = field(default_factory=dict)
    hidden: bool = False

    @property
    def is_pipe(self) -> bool:
        return self.volume is None
