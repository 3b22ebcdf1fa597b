"""`sofs quota`: what owners use of a volume and may use.

Limits that are text: "none", "default" or bytes. Source: [MS-FSCC] 2.4.41 FileQuotaInformation; 2.5.2
FileFsControlInformation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cluster.admin.registry import Named, call
from cluster.errors import NotFound, OperatorError
from smbproto.dtyp import Sid
from storage.volume import QuotaControl, QuotaRecord

if TYPE_CHECKING:
    from cluster.accounts import Accounts
    from cluster.node import Node
    from storage.fs.port import QuotaBook

TRACK, ENFORCE = 1, 2  # [MS-FSCC] 2.5.2: FILE_VC_QUOTA_TRACK, FILE_VC_QUOTA_ENFORCE
UNLIMITED = -1
ADMINISTRATORS = "S-1-5-32-544"


@dataclass(frozen=True, slots=True)
class QuotaSet:
    """`user`: a name or a SID. -1: no limit. `forget`: the user has the volume's limits again."""

    name: str
    user: str
    limit_bytes: int = UNLIMITED
    threshold_bytes: int = UNLIMITED
    forget: bool = False


@dataclass(frozen=True, slots=True)
class QuotaDefault:
    """What owners have who were given no limits; `mode`: "track" or "enforce"."""

    name: str
    mode: str
    limit_bytes: int = UNLIMITED
    threshold_bytes: int = UNLIMITED


def _book(node: Node, name: str) -> QuotaBook:
    mounted = node.volumes.get(name)
    if mounted is None:
        raise NotFound(f"there is no volume {name!r}; `sofs volume list` shows those there are")
    book = mounted.filesystem.quotas
    if book is None:
        raise OperatorError(f"volume {name} keeps no quotas")
    return book


def _sid(accounts: Accounts, who: str) -> Sid:
    text = accounts.sid_by_name(who) or who
    try:
        return Sid.parse(text)
    except ValueError:
        raise NotFound(f"{who!r} is no user of this node and no SID") from None


def _state(record: QuotaRecord) -> str:
    if 0 <= record.limit_bytes < record.used_bytes:
        return "Above limit"
    return "Above threshold" if 0 <= record.threshold_bytes < record.used_bytes else "OK"


def _bytes(value: int) -> int | None:
    return None if value == UNLIMITED else value


@call("quota.list")
async def listing(node: Node, args: Named) -> dict[str, object]:
    book = _book(node, args.name)
    names = {node.accounts.sid_of(user.rid): user.name for user in node.accounts.users()}
    rows = []
    for record in book.records():
        sid = str(Sid.decode_untrusted(record.sid))
        rows.append(
            {
                "user": names.get(sid, sid),
                "state": _state(record),
                "used bytes": record.used_bytes,
                "threshold bytes": _bytes(record.threshold_bytes),
                "limit bytes": _bytes(record.limit_bytes),
            }
        )
    flags, threshold, limit = book.control
    return {
        "volume": args.name,
        "enforced": bool(flags & ENFORCE),
        "default threshold bytes": _bytes(threshold),
        "default limit bytes": _bytes(limit),
        "owners": rows,
    }


@call("quota.set")
async def set_user(node: Node, args: QuotaSet) -> dict[str, object]:
    book, sid = _book(node, args.name), _sid(node.accounts, args.user)
    _check(args.limit_bytes, args.threshold_bytes)
    if str(sid) == ADMINISTRATORS and args.limit_bytes != UNLIMITED:
        raise OperatorError("the group of administrators has no limit")
    if not args.forget:
        book.set_limits(sid.encode(), args.threshold_bytes, args.limit_bytes, node.runtime.filetime())
    elif not book.forget(sid.encode()):
        raise NotFound(f"{args.user} has no quota on volume {args.name}")
    return {"volume": args.name, "user": args.user}


@call("quota.default")
async def set_default(node: Node, args: QuotaDefault) -> dict[str, object]:
    book = _book(node, args.name)
    _check(args.limit_bytes, args.threshold_bytes)
    if args.mode not in ("track", "enforce"):
        raise OperatorError(f"the mode is track or enforce, not {args.mode!r}")
    flags = book.control.flags & ~ENFORCE | TRACK | (ENFORCE if args.mode == "enforce" else 0)
    book.set_control(QuotaControl(flags, args.threshold_bytes, args.limit_bytes))
    return {"volume": args.name, "enforced": args.mode == "enforce"}


def _check(limit_bytes: int, threshold_bytes: int) -> None:
    if limit_bytes < UNLIMITED or threshold_bytes < UNLIMITED:
        raise OperatorError("a limit is a number of bytes, or -1 for none")
