"""`sofs pool`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cluster.cli.context import do, guarded
from cluster.cli.render import parse_size

app = typer.Typer(no_args_is_help=True)


@app.command()
def create(
    disks: Annotated[
        list[str], typer.Argument(help="Files or block devices; a file that is not there is made")
    ],
    name: str = "pool",
    disk_size: Annotated[str, typer.Option(help="Size of files that are made")] = "16G",
    slab: Annotated[str, typer.Option(help="Slab size")] = "256M",
) -> None:
    """Make a pool of disks. What is on them is lost."""
    do(
        "pool.create",
        name=name,
        disks=[str(Path(disk).absolute()) for disk in disks],
        disk_bytes=guarded(parse_size, disk_size),
        slab_bytes=guarded(parse_size, slab),
    )


@app.command()
def status() -> None:
    """Capacity, health, spaces."""
    do("pool.status")
