"""Who the command line is: from options, the URL, the environment, a file, or a question; never a password
in argv.

A credentials file has lines `username=`, `password=`, `domain=`, as for mount.cifs; nobody but its owner may
read it.
"""

from __future__ import annotations

import getpass
import os
import stat
import sys
from dataclasses import dataclass, replace

__all__ = ["Credentials", "CredentialsError", "find_credentials"]

FILE_BYTES_MAX = 65536


class CredentialsError(Exception):
    """No user or password could be had; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """An empty user is anonymous. Printing does not show the password."""

    user: str = ""
    password: str | None = None
    domain: str = ""

    def __repr__(self) -> str:
        return f"Credentials({self.user!r}, domain={self.domain!r})"


def find_credentials(
    *, user: str = "", domain: str = "", path: str | None = None, anonymous: bool = False
) -> Credentials:
    """`user` and `domain` as given by option or URL. Raises: CredentialsError."""
    if anonymous:
        return Credentials()
    found = _from_file(path) if path else Credentials()
    found = replace(found, user=user or found.user, domain=domain or found.domain)
    if not found.user:
        found = replace(found, user=os.environ.get("SMB_USER", ""))
    if not found.user:
        raise CredentialsError(
            "no user: write //user@host/share, give --user or --credentials, or set SMB_USER (or --anonymous)"
        )
    if found.password is None:
        found = replace(found, password=os.environ.get("SMB_PASSWORD"))
    if found.password is None:
        if not sys.stdin.isatty():
            raise CredentialsError("no password: set SMB_PASSWORD, or give --credentials FILE")
        found = replace(found, password=getpass.getpass(f"Password of {found.user}: "))
    return found


def _from_file(path: str) -> Credentials:
    try:
        with open(path, encoding="utf-8") as file:
            if os.fstat(file.fileno()).st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise CredentialsError(f"{path}: others may read it; run: chmod 600 {path}")
            text = file.read(FILE_BYTES_MAX)
    except OSError as error:
        raise CredentialsError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CredentialsError(f"{path}: not UTF-8 text") from error
    values: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key, equals, value = line.partition("=")
        if not equals:
            raise CredentialsError(f"{path}, line {number}: write username=, password= or domain=")
        values[key.strip().lower()] = value
    user = values.get("username", values.get("user", ""))
    return Credentials(user.strip(), values.get("password"), values.get("domain", "").strip())
