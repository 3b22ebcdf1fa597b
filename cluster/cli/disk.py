"""`sofs disk`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cluster.cli.context import do, guarded
from cluster.cli.render import parse_size

app = typer.Typer(no_args_is_help=True)
Disk = Annotated[str, typer.Argument(help="A disk's number, or its path")]
MEDIA_HELP = "hdd, ssd, scm or unspecified"
USAGE_HELP = "auto-select, manual-select, hot-spare, retired or journal"


def disk_name(text: str) -> str:
    """A number stays one; a path is made whole."""
    return text if text.isdecimal() else str(Path(text).absolute())


@app.callback()
def disk() -> None:
    """Disks of the pool."""


@app.command("list")
def listing() -> None:
    """The pool's disks: medium, usage, health, how full."""
    do("disk.list")


@app.command("set")
def change(
    disk: Disk,
    media: Annotated[str, typer.Option(help=MEDIA_HELP)] = "",
    usage: Annotated[str, typer.Option(help=USAGE_HELP)] = "",
    fault_domain: Annotated[
        str, typer.Option(help="RACK/CHASSIS/NODE, or the end of it; - is none. Copies never share one")
    ] = "",
) -> None:
    """Say what a disk is, and what it is for."""
    do("disk.set", name=disk_name(disk), media=media, usage=usage, fault_domain=fault_domain)


@app.command()
def retire(disk: Disk) -> None:
    """Put nothing new on a disk, and move what is on it elsewhere."""
    do("disk.retire", name=disk_name(disk))


@app.command()
def remove(disk: Disk) -> None:
    """Take a disk out of the pool; what it holds is moved elsewhere first, by a job."""
    do("disk.remove", name=disk_name(disk))


@app.command()
def replace(
    disk: Disk,
    by: Annotated[str, typer.Argument(help="File or block device; a file that is not there is made")],
    size: Annotated[str, typer.Option(help="Size of a file that is made; otherwise the old disk's")] = "0",
) -> None:
    """Add a disk in place of another: what the old one held is rebuilt, then the old one leaves the pool."""
    path = str(Path(by).absolute())
    do("disk.replace", name=disk_name(disk), by=path, disk_bytes=guarded(parse_size, size))


@app.command()
def reset(
    path: Annotated[str, typer.Argument(help="File or block device that is no healthy member of the pool")],
    yes: Annotated[bool, typer.Option(help="Do not ask")] = False,
) -> None:
    """Forget which pool a disk belonged to; it can then be added to one. What is on it is lost."""
    if not yes:
        typer.confirm(f"Everything on {path} will be lost. Reset it?", abort=True)
    do("disk.reset", name=str(Path(path).absolute()))


@app.command()
def identify(
    disk: Disk, seconds: Annotated[int, typer.Option(help="How long")] = 10
) -> None:
    """Switch the locate light of a disk's slot on, or let its activity light blink."""
    do("disk.identify", name=disk_name(disk), seconds=seconds)
