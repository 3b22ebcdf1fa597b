"""`sofs disk`."""

from __future__ import annotations

import typer

from cluster.cli.context import do

app = typer.Typer(no_args_is_help=True)


@app.callback()
def disk() -> None:
    """Disks of the pool."""


@app.command("list")
def listing() -> None:
    """The pool's disks and their health."""
    do("disk.list")
