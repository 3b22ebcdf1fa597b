"""Paths inside a share, and URLs of shares. Outside they have slashes, on the wire backslashes and no first
one.

Source: [MS-FSCC] 2.1.5 Pathname; [MS-SMB2] 2.2.13 SMB2 CREATE Request (Buffer); RFC 3986 for the form of a
URL.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote

from smbproto.status import Status, StatusError, StoppedOnSymlink

__all__ = ["Location", "join", "normalize", "resolve_symlink", "wire_path"]

SYMLINKS_MAX = 40


def normalize(path: str) -> str:
    """With slashes, without `.`, `..`, empty parts, a first or a last slash. The root of the share is "".

    Raises: StatusError OBJECT_PATH_SYNTAX_BAD for a path that leads out of the share; OBJECT_NAME_INVALID
    for a NUL.
    """
    if "\0" in path:
        raise StatusError(Status.OBJECT_NAME_INVALID, f"{path!r} holds a NUL")
    parts: list[str] = []
    for part in path.replace("\\", "/").split("/"):
        if part == "..":
            if not parts:
                raise StatusError(Status.OBJECT_PATH_SYNTAX_BAD, f"{path!r} leads out of the share")
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def wire_path(path: str) -> str:
    return normalize(path).replace("/", "\\")


def join(*parts: str) -> str:
    """Parts joined and normalized."""
    return normalize("/".join(parts))


def parent_of(path: str) -> str:
    return normalize(path).rpartition("/")[0]


def resolve_symlink(path: str, stop: StoppedOnSymlink) -> str:
    """Where the server wants us to go on, when `path` ran through a link that is relative or of this share.

    Raises: StatusError STOPPED_ON_SYMLINK for a target on another share or machine.
    Source: [MS-SMB2] 2.2.2.2.1.1 Handling the Symbolic Link Error Response.
    """
    wire = wire_path(path)
    unparsed_units = stop.unparsed_path_length_bytes // 2
    encoded = wire.encode("utf-16-le", "surrogatepass")
    split = max(0, len(encoded) - 2 * unparsed_units)
    walked = encoded[:split].decode("utf-16-le", "surrogatepass")
    rest = encoded[split:].decode("utf-16-le", "surrogatepass")
    target = stop.substitute_name
    if not stop.relative:
        raise StatusError(Status.STOPPED_ON_SYMLINK, f"{path!r} leads through a link to {stop.print_name!r}")
    return join(parent_of(walked), target, rest)


@dataclass(frozen=True, slots=True)
class Location:
    """What `//host[:port]/share/path` or `smb://[domain;][user@]host[:port]/share/path` names."""

    host: str
    port: int | None
    share: str
    path: str
    user: str = ""
    domain: str = ""

    @staticmethod
    def parse(text: str) -> Location:
        """Raises: ValueError."""
        is_url = text.lower().startswith("smb://")
        rest = text[6:] if is_url else text.replace("\\", "/")
        if not is_url:
            if not rest.startswith("//"):
                raise ValueError(f"{text!r} is no share: write //host/share/path")
            rest = rest[2:]
        authority, _, tail = rest.partition("/")
        user, at, host_port = authority.rpartition("@")
        domain, semicolon, name = user.partition(";")
        if not semicolon:
            domain, name = "", user
        if ":" in name:
            raise ValueError("a password does not belong into a URL: set SMB_PASSWORD, or be asked for it")
        host, port = _host_port(host_port, text)
        if is_url:
            tail, domain, name = unquote(tail), unquote(domain), unquote(name)
        share, _, path = tail.partition("/")
        if not host:
            raise ValueError(f"{text!r} names no host: write //host/share/path")
        return Location(host, port, share, normalize(path), name if at else "", domain)

    def __str__(self) -> str:
        port = f":{self.port}" if self.port is not None else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"//{host}{port}/{self.share}" + (f"/{self.path}" if self.path else "")


def _host_port(text: str, whole: str) -> tuple[str, int | None]:
    """`host`, `host:port`, `[v6]`, `[v6]:port`. Raises: ValueError."""
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            raise ValueError(f"{whole!r}: write an IPv6 address as [::1] or [::1]:445")
        port = port[1:]
    else:
        host, _, port = text.partition(":")
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(f"{whole!r}: {port!r} is no port")
    return host, int(port) if port else None
