"""`sofs session`."""

from __future__ import annotations

import typer

from cluster.cli.context import do

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def listing() -> None:
    """Who is logged on, from where, how protected."""
    do("session.list")


@app.command()
def close(session_id: str) -> None:
    """End a session; its opens are closed."""
    do("session.close", name=session_id)
