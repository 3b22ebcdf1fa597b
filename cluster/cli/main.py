"""The commands of `sofs`, put together."""

from __future__ import annotations

from typing import Annotated

import typer

from cluster.cli import (
    disk,
    file,
    health,
    job,
    open_,
    pool,
    quota,
    serve,
    session,
    share,
    user,
    volume,
)
from cluster.cli.context import Settings, do

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(pool.app, name="pool", help="The pool of disks")
app.add_typer(disk.app, name="disk", help="Disks of the pool")
app.add_typer(volume.app, name="volume", help="Volumes on the pool")
app.add_typer(job.app, name="job", help="Long work, and how far it is")
app.add_typer(file.app, name="file", help="Single files of tiered volumes")
app.add_typer(quota.app, name="quota", help="What owners use of a volume, and may use")
app.add_typer(share.app, name="share", help="Shares")
app.add_typer(user.app, name="user", help="Users")
app.add_typer(session.app, name="session", help="Sessions of clients")
app.add_typer(open_.app, name="open", help="Open files")
app.command("health")(health.health)
app.command("up")(serve.up)
app.command("run")(serve.run)
app.command("init")(serve.init)
app.command("serve")(serve.serve)


@app.callback()
def options(
    state: Annotated[str, typer.Option(help="The node's state directory", envvar="SOFS_STATE")] = "",
    json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """A scale-out SMB file server on software-defined storage."""
    Settings.state = state
    Settings.as_json = json


@app.command("status")
def status() -> None:
    """The node at a glance."""
    do("status")
