"""`sofs open`."""

from __future__ import annotations

import typer

from cluster.cli.context import do

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def listing() -> None:
    """Files that are open, by whom, with which caching."""
    do("open.list")


@app.command()
def close(open_id: str) -> None:
    """Close an open file; its client sees FILE_CLOSED."""
    do("open.close", name=open_id)
