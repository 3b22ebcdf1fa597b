"""`sofs volume`."""

from __future__ import annotations

from typing import Annotated

import typer

from cluster.cli.context import do, guarded
from cluster.cli.render import parse_size

app = typer.Typer(no_args_is_help=True)


@app.command()
def create(
    name: str,
    size: Annotated[str, typer.Option(help="Like 100G; a thin volume may be larger than the pool")],
    resiliency: Annotated[str, typer.Option(help="simple or mirror")] = "mirror",
    thin: Annotated[
        bool, typer.Option("--thin/--fixed", help="Take space as it is written, or at once")
    ] = True,
    columns: Annotated[int, typer.Option(help="Disks side by side; 0: chosen")] = 0,
    interleave: Annotated[str, typer.Option(help="Bytes on one column before the next; 0: chosen")] = "0",
) -> None:
    """Make a volume."""
    do(
        "volume.create",
        name=name,
        size_bytes=guarded(parse_size, size),
        resiliency=resiliency,
        provisioning="thin" if thin else "fixed",
        columns=columns,
        interleave_bytes=guarded(parse_size, interleave),
    )


@app.command("list")
def listing() -> None:
    """All volumes."""
    do("volume.list")


@app.command()
def remove(name: str, yes: Annotated[bool, typer.Option(help="Do not ask")] = False) -> None:
    """Remove a volume and all that is on it."""
    if not yes:
        typer.confirm(f"Everything on volume {name} will be lost. Remove it?", abort=True)
    do("volume.remove", name=name)


@app.command()
def check(name: str) -> None:
    """Verify the catalog of a volume; the node must not be running."""
    do("volume.check", name=name)
