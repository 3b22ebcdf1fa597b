"""`sofs pool`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cluster.cli.context import do, guarded
from cluster.cli.disk import MEDIA_HELP, USAGE_HELP
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
    media: Annotated[str, typer.Option(help=f"What the disks are: {MEDIA_HELP}; otherwise detected")] = "",
) -> None:
    """Make a pool of disks. What is on them is lost."""
    do(
        "pool.create",
        name=name,
        disks=[str(Path(disk).absolute()) for disk in disks],
        disk_bytes=guarded(parse_size, disk_size),
        slab_bytes=guarded(parse_size, slab),
        media=media,
    )


@app.command()
def add_disk(
    disks: Annotated[
        list[str], typer.Argument(help="Files or block devices; a file that is not there is made")
    ],
    disk_size: Annotated[str, typer.Option(help="Size of files that are made")] = "16G",
    media: Annotated[str, typer.Option(help=f"What the disks are: {MEDIA_HELP}; otherwise detected")] = "",
    usage: Annotated[str, typer.Option(help=USAGE_HELP)] = "auto-select",
    fault_domain: Annotated[str, typer.Option(help="RACK/CHASSIS/NODE, or the end of it")] = "",
) -> None:
    """Add disks to the pool. What is on them is lost."""
    do(
        "pool.add_disk",
        disks=[str(Path(disk).absolute()) for disk in disks],
        disk_bytes=guarded(parse_size, disk_size),
        media=media,
        usage=usage,
        fault_domain=fault_domain,
    )


@app.command()
def optimize() -> None:
    """Spread what is in the pool evenly over its disks, as a job."""
    do("pool.optimize")


@app.command("set")
def change(
    thin_alert: Annotated[int, typer.Option(help="Warn when so many percent are allocated")] = -1,
    retire_missing: Annotated[
        str, typer.Option(help="Rebuild what disks that stay away held: auto (on a hot spare), always, never")
    ] = "",
    retire_delay: Annotated[int, typer.Option(help="How long a disk may stay away, in seconds")] = -1,
    repair_speed: Annotated[str, typer.Option(help="very-low, low, medium, high or very-high")] = "",
) -> None:
    """How the pool looks after itself."""
    do(
        "pool.set",
        thin_alert_percent=thin_alert,
        retire_missing=retire_missing,
        retire_delay_s=retire_delay,
        repair_speed=repair_speed,
    )


@app.command()
def upgrade() -> None:
    """Bring the pool's metadata to the newest version; older programs cannot open it then."""
    do("pool.upgrade")


@app.command()
def status() -> None:
    """Capacity, health, spaces."""
    do("pool.status")
