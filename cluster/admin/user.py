"""`sofs user`: accounts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cluster.admin.registry import Named, NoArguments, call

if TYPE_CHECKING:
    from cluster.node import Node


@dataclass(frozen=True, slots=True)
class UserAdd:
    """`password` travels encrypted on the pipe and is never stored or logged."""

    name: str
    password: str
    admin: bool = False
    full_name: str = ""

    def __repr__(self) -> str:
        return f"UserAdd({self.name!r}, admin={self.admin})"


@dataclass(frozen=True, slots=True)
class UserPassword:
    """A new password."""

    name: str
    password: str

    def __repr__(self) -> str:
        return f"UserPassword({self.name!r})"


@call("user.add")
async def add(node: Node, args: UserAdd) -> dict[str, object]:
    user = node.accounts.add(args.name, args.password, is_admin=args.admin, full_name=args.full_name)
    node.save_accounts()
    return {"name": user.name, "sid": node.accounts.sid_of(user.rid)}


@call("user.passwd")
async def passwd(node: Node, args: UserPassword) -> dict[str, object]:
    node.accounts.set_password(args.name, args.password)
    node.save_accounts()
    return {"name": args.name}


@call("user.remove")
async def remove(node: Node, args: Named) -> dict[str, object]:
    node.accounts.remove(args.name)
    node.save_accounts()
    return {"name": args.name}


@call("user.enable")
async def enable(node: Node, args: Named) -> dict[str, object]:
    node.accounts.require(args.name).disabled = False
    node.save_accounts()
    return {"name": args.name}


@call("user.disable")
async def disable(node: Node, args: Named) -> dict[str, object]:
    node.accounts.require(args.name).disabled = True
    node.save_accounts()
    return {"name": args.name}


@call("user.list")
async def listing(node: Node, args: NoArguments) -> list[dict[str, object]]:
    return [
        {
            "name": user.name,
            "full name": user.full_name,
            "admin": user.is_admin,
            "disabled": user.disabled,
            "sid": node.accounts.sid_of(user.rid),
        }
        for user in node.accounts.users()
    ]
