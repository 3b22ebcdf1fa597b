"""`sofs file`: single files of a tiered volume."""

from __future__ import annotations

from typing import Annotated

import typer

from cluster.cli.context import do

app = typer.Typer(no_args_is_help=True)
Volume = Annotated[str, typer.Argument(help="The volume's name")]
Path = Annotated[str, typer.Argument(help="The file's path on the volume")]


def _path(text: str) -> str:
    return text.replace("/", "\\").strip("\\")


@app.command()
def pin(
    volume: Volume, path: Path, tier: Annotated[str, typer.Option(help="fast or slow")] = "fast"
) -> None:
    """Keep a file on a tier, however much or little it is used."""
    do("file.pin", volume=volume, path=_path(path), tier=tier)


@app.command()
def unpin(volume: Volume, path: Path) -> None:
    """Let a file lie where its use asks for."""
    do("file.unpin", volume=volume, path=_path(path))


@app.command()
def tier_status(
    volume: Volume, path: Annotated[str, typer.Argument(help="One file; otherwise the whole volume")] = ""
) -> None:
    """Where a file lies and why; or how full the tiers are, how much they are hit, and which files are
    pinned."""
    do("file.tier_status", volume=volume, path=_path(path))
