"""`sofs up | run | serve | init`: a node in the foreground. What a server is made of is imported by those who
run one."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from cluster.cli.context import DEMO, fail, guarded, state_directory
from cluster.cli.user import read_password
from cluster.config import NodeConfig, ShareConfig
from cluster.io.command import initialise
from cluster.io.state import StateDirectory
from cluster.text import OneLine

Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Log what happens, to standard error")]


def _log(verbose: bool) -> None:
    level = logging.INFO if verbose else logging.WARNING
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])


def up(
    directory: Annotated[str, typer.Option("--dir", help="Where the demo lives")] = DEMO,
    port: Annotated[int, typer.Option(help="Port to listen on")] = 4450,
    bind: Annotated[list[str] | None, typer.Option(help="Address to listen on; may be repeated")] = None,
    no_banner: Annotated[
        bool, typer.Option(help="Print one line, `ready PORT`, in place of the instructions")
    ] = False,
    verbose: Verbose = False,
) -> None:
    """A demo in one command: six disks, a mirrored thin volume, a share, a user; served until Ctrl-C."""
    from cluster.io.process import DemoOptions, run_demo

    _log(verbose)
    guarded(run_demo, DemoOptions(StateDirectory(directory), port, bind or ["127.0.0.1"], not no_banner))


def run(verbose: Verbose = False) -> None:
    """Serve the node of --state until Ctrl-C."""
    from cluster.io.process import run_state

    _log(verbose)
    guarded(run_state, state_directory())


def init(
    name: Annotated[str, typer.Option(help="The server's name")] = "SOFS",
    port: int = 445,
    bind: Annotated[list[str] | None, typer.Option(help="Address to listen on; may be repeated")] = None,
) -> None:
    """Make the state directory of a new node."""
    guarded(initialise, state_directory(), NodeConfig(name=name, port=port, bind=bind or ["0.0.0.0", "::"]))


def serve(
    directory: Annotated[str, typer.Argument(help="The directory to share")],
    name: Annotated[str, typer.Option(help="The share's name; otherwise the directory's")] = "",
    port: Annotated[int, typer.Option(help="Port to listen on")] = 4450,
    bind: Annotated[list[str] | None, typer.Option(help="Address to listen on; may be repeated")] = None,
    user: Annotated[str, typer.Option(help="User who may log on; administrator of this server")] = "user",
    password_file: Annotated[str, typer.Option(help="Its password is this file's first line")] = "",
    user2: Annotated[str, typer.Option(help="A second user, no administrator")] = "",
    share: Annotated[list[str] | None, typer.Option(help="Further shares, NAME=DIR; may be repeated")] = None,
    read_only: bool = False,
    encrypt: Annotated[bool, typer.Option(help="Refuse clients that do not encrypt")] = False,
    require_signing: Annotated[
        bool, typer.Option("--signing/--no-signing", help="Require signed messages")
    ] = True,
    guest: Annotated[bool, typer.Option(help="Let unknown users in as guest")] = False,
    anonymous: Annotated[bool, typer.Option(help="Let clients in without a user")] = False,
    logon_delay: Annotated[
        float, typer.Option(help="Seconds between logons of a user after several failed; 0: none")
    ] = 2.0,
    interface: Annotated[
        list[str] | None, typer.Option(help="ADDRESS[,MBPS] to tell multichannel clients")
    ] = None,
    state: Annotated[str, typer.Option(help="Keep the server's identity in this directory")] = "",
    no_banner: Annotated[bool, typer.Option(help="Print one line, `ready PORT`")] = False,
    verbose: Verbose = False,
) -> None:
    """Share an existing directory of this host, without pools. Without --password-file a password is
    generated."""
    from cluster.io.process import ServeOptions, run_directories

    _log(verbose)
    shares = [
        ShareConfig(
            name or Path(directory).absolute().name or "share", directory=str(Path(directory).absolute())
        )
    ]
    for item in share or []:
        label, sign, target = item.partition("=")
        if not sign:
            fail(f"--share {item}: write NAME=DIR")
        shares.append(ShareConfig(label, directory=str(Path(target).absolute())))
    for entry in shares:
        entry.read_only, entry.encrypt = read_only, encrypt
    settings = NodeConfig(
        bind=bind or ["127.0.0.1"],
        port=port,
        interfaces=interface or [],
        require_signing=require_signing,
        allow_guest=guest,
        allow_anonymous=anonymous,
        failed_logon_delay_s=logon_delay,
    )
    password = read_password(password_file, user) if password_file else ""
    guarded(run_directories, ServeOptions(settings, shares, user, password, user2, not no_banner, state))
