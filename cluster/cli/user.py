"""`sofs user`. Passwords come from a prompt, a file or standard input, never from the command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from cluster.cli.context import do, fail

app = typer.Typer(no_args_is_help=True)
PasswordFile = Annotated[
    str, typer.Option(help="Take the password from this file's first line; - is standard input")
]


def read_password(path: str, name: str) -> str:
    """From a file, standard input, or twice from a prompt."""
    if path == "-":
        return sys.stdin.readline().rstrip("\n")
    if path:
        try:
            with Path(path).open(encoding="utf-8") as stream:
                password = stream.readline().rstrip("\n")
        except OSError as error:
            fail(f"cannot read the password file {path}: {error.strerror}")
        except UnicodeDecodeError:
            fail(f"cannot read the password file {path}: it is no text in UTF-8")
        if not password:
            fail(f"the first line of the password file {path} is empty")
        return password
    answer: str = typer.prompt(f"Password for {name}", hide_input=True, confirmation_prompt=True)
    return answer


@app.command()
def add(
    name: str,
    admin: Annotated[bool, typer.Option(help="Member of Administrators")] = False,
    full_name: str = "",
    password_file: PasswordFile = "",
) -> None:
    """Add a user."""
    do("user.add", name=name, password=read_password(password_file, name), admin=admin, full_name=full_name)


@app.command()
def passwd(name: str, password_file: PasswordFile = "") -> None:
    """Change a password."""
    do("user.passwd", name=name, password=read_password(password_file, name))


@app.command()
def remove(name: str) -> None:
    """Remove a user."""
    do("user.remove", name=name)


@app.command()
def enable(name: str) -> None:
    """Let a user log on again."""
    do("user.enable", name=name)


@app.command()
def disable(name: str) -> None:
    """Keep a user from logging on."""
    do("user.disable", name=name)


@app.command("list")
def listing() -> None:
    """All users."""
    do("user.list")
