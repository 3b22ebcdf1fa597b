"""A made-up server behind the RPC services, and a caller that speaks NDR as impacket's client does."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from smbproto.rpc.port import Caller, FileView, SessionView, ShareView
from smbproto.rpc.service import NdrService

MACHINE = "S-1-5-21-11-22-33"


@dataclass
class User:
    name: str
    rid: int
    full_name: str = ""
    comment: str = ""
    is_admin: bool = False
    disabled: bool = False


class Accounts:
    machine_sid = MACHINE

    def __init__(self) -> None:
        self.everyone = [User("ana", 1000, "Ana A", "first", is_admin=True), User("bob", 1001, disabled=True)]

    def users(self) -> list[User]:
        return self.everyone

    def find(self, name: str) -> User | None:
        return next((user for user in self.everyone if user.name.casefold() == name.casefold()), None)


class Host:
    name = "SOFS"
    workgroup = "WORKGROUP"
    comment = "a comment"

    def __init__(self, *, admin: bool = True, anonymous: bool = False) -> None:
        self.accounts = Accounts()
        self.caller = Caller("ana", "SOFS", f"{MACHINE}-1000", admin, anonymous)

    def shares(self) -> list[ShareView]:
        return [
            ShareView("IPC$", 0x80000003, "Remote IPC", "", 0, 1, 0, b""),
            ShareView("data", 0, "the data", "C:\\data", 5, 2, 0x30, b"\1\0\4\x80" + bytes(16)),
            ShareView("bus", 0, "", "", 0, 0, 0, b"", is_hidden=True),
        ]

    def sessions(self) -> list[SessionView]:
        return [SessionView("10.0.0.1", "ana", 2, 100, 5), SessionView("10.0.0.2", "bob", 0, 7, 7)]

    def files(self) -> list[FileView]:
        return [FileView(7, 3, 0, "C:\\data\\x", "ana"), FileView(8, 1, 0, "C:\\other", "bob")]

    def filetime(self) -> int:
        return 134_000_000_000_000_000

    def uptime_s(self) -> int:
        return 100


class Dce:
    """Stands in for impacket's connection: `request` goes straight to the service."""

    def __init__(self, service: NdrService) -> None:
        self.service = service
        self.status = 0

    def request(self, request: Any, checkError: bool = True) -> Any:  # noqa: N803  (impacket's name)
        answer = self.service.call(request.opnum, request.getData())
        response = getattr(sys.modules[type(request).__module__], type(request).__name__ + "Response")(answer)
        self.status = response["ErrorCode"]
        return response
