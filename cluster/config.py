"""What a node remembers besides its pool: one directory with small JSON files, written atomically.

    STATE/node.json     format, name, listen addresses, port, the pool's disks
    STATE/shares.json   shares
    STATE/users.json    accounts (cluster/accounts.py), mode 0600
    STATE/admin.json    the credential of the local command line, mode 0600

Each file carries "format"; an unknown format or an unexpected field is refused with the file's name, never
guessed at.
Pure: encoding and checking only; `cluster/io/state.py` reads and writes.
"""

from __future__ import annotations

import json
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any, TypeVar, get_type_hints

from cluster.errors import ConfigError

FORMAT = 1
NODE_FILE = "node.json"
SHARES_FILE = "shares.json"
USERS_FILE = "users.json"
SHARE_NAME_MAX = 80
"""Characters. Source: [MS-SRVS] 2.2.4.23 SHARE_INFO_2 (NNLEN)."""

T = TypeVar("T")


@dataclass(slots=True)
class NodeConfig:
    """`disks`: paths of the pool's disks. `interfaces`: what FSCTL_QUERY_NETWORK_INTERFACE_INFO tells
    clients: "address" or
    "address speed_mbps"; empty: the host's own."""

    name: str = "SOFS"
    workgroup: str = "WORKGROUP"
    bind: list[str] = field(default_factory=lambda: ["127.0.0.1"])
    port: int = 4455
    disks: list[str] = field(default_factory=list)
    interfaces: list[str] = field(default_factory=list)
    require_signing: bool = True
    allow_guest: bool = False
    allow_anonymous: bool = False
    failed_logon_delay_s: float = 2.0
    dialect_min: str = "2.0.2"
    dialect_max: str = "3.1.1"


@dataclass(slots=True)
class ShareConfig:
    """`volume` names a volume of the pool, or `directory` one of the host; exactly one is set. `access`:
    user or group name
    -> "full" | "change" | "read"; empty: every user has full access."""

    name: str
    volume: str = ""
    directory: str = ""
    path: str = ""
    remark: str = ""
    read_only: bool = False
    encrypt: bool = False
    access_based_enumeration: bool = False
    access: dict[str, str] = field(default_factory=dict)


def check_share(share: ShareConfig) -> None:
    """Raises: ConfigError. Source for the name: [MS-SMB2] 2.2.9; [MS-DTYP] share names have none of these
    characters."""
    bad = set(share.name) & set('"/\\[]:|<>+=;,*?')
    if not share.name or len(share.name) > SHARE_NAME_MAX or bad or share.name.upper() == "IPC$":
        raise ConfigError(
            f'{share.name!r} is no share name: 1 to {SHARE_NAME_MAX} characters, none of "/\\[]:|<>+=;,*?'
        )
    if bool(share.volume) == bool(share.directory):
        raise ConfigError(f"share {share.name}: give either a volume or a directory")
    for who, right in share.access.items():
        if right not in ("full", "change", "read"):
            raise ConfigError(f"share {share.name}: access of {who} is {right!r}; it is full, change or read")


def dump(value: Any) -> str:
    """A dataclass, or a list of them, as the text of its file."""
    body = [asdict(v) for v in value] if isinstance(value, list) else asdict(value)
    return json.dumps({"format": FORMAT, "body": body}, indent=2) + "\n"


def _parse(text: str, source: str) -> Any:
    try:
        whole = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{source} is no JSON: {error}") from None
    if not isinstance(whole, dict) or whole.get("format") != FORMAT or "body" not in whole:
        raise ConfigError(f"{source}: expected format {FORMAT}")
    return whole["body"]


def build(kind: type[T], body: Any, source: str) -> T:
    """A dataclass from its JSON object, each field's type checked."""
    if not isinstance(body, dict):
        raise ConfigError(f"{source}: expected an object, found {type(body).__name__}")
    hints = get_type_hints(kind)
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(body) - set(known))
    if unknown:
        raise ConfigError(f"{source}: unknown field {unknown[0]!r}")
    for name, spec in known.items():
        if name not in body:
            if spec.default is MISSING and spec.default_factory is MISSING:
                raise ConfigError(f"{source}: field {name!r} is missing")
            continue
        expected = getattr(hints[name], "__origin__", hints[name])
        if expected is float and type(body[name]) is int:
            body[name] = float(body[name])
        if type(body[name]) is not expected:
            raise ConfigError(f"{source}: field {name!r} is no {expected.__name__}")
    return kind(**body)


def load_one(kind: type[T], text: str, source: str) -> T:
    """Raises: ConfigError naming `source`."""
    return build(kind, _parse(text, source), source)


def load_many(kind: type[T], text: str, source: str) -> list[T]:
    """Raises: ConfigError naming `source`."""
    body = _parse(text, source)
    if not isinstance(body, list):
        raise ConfigError(f"{source}: expected a list")
    return [build(kind, item, source) for item in body]
