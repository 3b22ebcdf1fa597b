"""The server that a test talks to, ours or a peer: its address, users and shares; nothing of how it works."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from interop.process import Process


@dataclass
class Target:
    """A running server. `share` is the one that tests may fill; `shares` names all of them."""

    kind: str                        # "serve", "pool", "samba", "impacket"
    process: Process
    port: int
    user: str
    password: str
    share: str
    host: str = "127.0.0.1"
    second_user: str = ""
    second_password: str = ""
    shares: dict[str, str] = field(default_factory=dict)     # what it is for -> its name
    folder: Path | None = None       # the host's folder behind `share`, where it is one

    @property
    def is_ours(self) -> bool:
        return self.kind in ("serve", "pool")

    @property
    def unc(self) -> str:
        return f"//{self.host}/{self.share}"

    def stop(self) -> int:
        """End it, and give its exit status."""
        return self.process.stop()
