"""`sofs volume`."""

from __future__ import annotations

from typing import Annotated

import typer

from cluster.cli.context import do, fail, guarded
from cluster.cli.render import parse_size

app = typer.Typer(no_args_is_help=True)
AUTO = -1
RESILIENCY_HELP = "simple, mirror, three-way-mirror, parity or dual-parity"


def _tiers(given: list[str] | None) -> dict[str, int]:
    found: dict[str, int] = {}
    for item in given or []:
        media, sign, size = item.partition("=")
        if not sign:
            fail(f"--tier {item}: write ssd=100G, hdd=1T or scm=50G")
        found[media.lower()] = int(guarded(parse_size, size))
    return found


@app.command()
def create(
    name: str,
    size: Annotated[str, typer.Option(help="Like 100G; a thin volume may be larger than the pool")] = "0",
    resiliency: Annotated[str, typer.Option(help=RESILIENCY_HELP)] = "mirror",
    thin: Annotated[
        bool, typer.Option("--thin/--fixed", help="Take space as it is written, or at once")
    ] = True,
    columns: Annotated[
        int, typer.Option(help="Disks side by side, those of parity included; 0: chosen")
    ] = 0,
    interleave: Annotated[str, typer.Option(help="Bytes on one column before the next; 0: chosen")] = "0",
    write_cache: Annotated[
        str, typer.Option(help="Size of the write-back cache, like 1G; 0: none; auto: as the disks allow")
    ] = "auto",
    media: Annotated[str, typer.Option(help="Only on disks of this kind: hdd, ssd or scm")] = "",
    awareness: Annotated[
        str, typer.Option(help="What may fail at once: disk, node, chassis or rack")
    ] = "disk",
    tier: Annotated[
        list[str] | None,
        typer.Option(help="Size of a tier, like ssd=100G; give two in place of --size"),
    ] = None,
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
        write_cache_bytes=AUTO if write_cache == "auto" else guarded(parse_size, write_cache),
        media=media,
        awareness=awareness,
        tiers=_tiers(tier),
    )


@app.command("list")
def listing() -> None:
    """All volumes."""
    do("volume.list")


@app.command()
def cache() -> None:
    """What the write-back caches hold and do."""
    do("volume.cache")


@app.command()
def remove(name: str, yes: Annotated[bool, typer.Option(help="Do not ask")] = False) -> None:
    """Remove a volume and all that is on it."""
    if not yes:
        typer.confirm(f"Everything on volume {name} will be lost. Remove it?", abort=True)
    do("volume.remove", name=name)


@app.command()
def resize(
    name: str,
    size: Annotated[str, typer.Argument(help="The new size, like 200G; more than it has now")],
    tier: Annotated[str, typer.Option(help="fast or slow, of a tiered volume")] = "",
) -> None:
    """Make a volume larger; it stays in use."""
    do("volume.resize", name=name, size_bytes=guarded(parse_size, size), tier=tier)


@app.command()
def repair(name: str) -> None:
    """Bring copies up to date, and rebuild what is missing, as jobs. A pool does so by itself; this does not
    wait."""
    do("volume.repair", name=name)


@app.command()
def scrub(name: str) -> None:
    """Read all of a volume, verify it and repair what has rotted, as jobs."""
    do("volume.scrub", name=name)


@app.command()
def optimize(
    name: str,
    retrim: Annotated[bool, typer.Option("--retrim", help="Give free space back to the pool")] = False,
    tier: Annotated[
        bool, typer.Option("--tier", help="Move what is used much to the fast tier, and back")
    ] = False,
    slab_consolidate: Annotated[
        bool, typer.Option("--slab-consolidate", help="Empty slabs that hold little, to give them back")
    ] = False,
) -> None:
    """Put a volume in order. Without options: what its kind asks for."""
    do("volume.optimize", name=name, retrim=retrim, tier=tier, slab_consolidate=slab_consolidate)


@app.command()
def tiering(
    name: str,
    half_life: Annotated[int, typer.Option(help="After so many seconds use counts half")] = -1,
    every: Annotated[int, typer.Option(help="Seconds between two passes that move files")] = -1,
    rate: Annotated[str, typer.Option(help="What is moved a second at most, like 32M")] = "",
) -> None:
    """How a tiered volume keeps what is used much on its fast tier. Without options: as it is."""
    rate_bytes = guarded(parse_size, rate) if rate else -1
    do("volume.tiering", name=name, half_life_s=half_life, pass_s=every, rate_bytes_s=rate_bytes)


@app.command()
def check(name: str) -> None:
    """Verify the catalog of a volume; the node must not be running."""
    do("volume.check", name=name)
