"""What an authentication ends with: an identity and its key, or `AuthenticationFailed`.

Source: [MS-SMB2] 3.3.5.5.3 Handling GSS-API Authentication.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from smbproto.status import Status, StatusError

__all__ = ["Authenticated", "AuthenticationFailed", "HashLookup", "NotYet"]

HashLookup: TypeAlias = Callable[[str, str], bytes | None]
"""(user, domain) -> NT hash of 16 bytes, or None for an unknown user. Raises: NotYet."""


class NotYet(Exception):
    """From a look-up: nothing was verified; the acceptor takes the same token again after `wait_s`
    seconds."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"ask again in {wait_s:.1f} s")
        self.wait_s = wait_s


class AuthenticationFailed(StatusError):
    """The peer did not prove who it is. The message is for our log, never for the peer."""

    __slots__ = ()

    def __init__(self, message: str, status: Status = Status.LOGON_FAILURE) -> None:
        super().__init__(status, message)


@dataclass(frozen=True, slots=True)
class Authenticated:
    """Who the peer is. `session_key` is the full key of the mechanism; repr does not show it."""

    user: str
    domain: str
    workstation: str
    session_key: bytes
    is_anonymous: bool = False
    has_mic: bool = False  # the three messages were bound together, and the check passed

    def __repr__(self) -> str:
        who = "anonymous" if self.is_anonymous else f"{self.domain}\\{self.user}"
        return f"Authenticated({who}, workstation={self.workstation!r}, has_mic={self.has_mic})"
