"""`sofs quota`."""

from __future__ import annotations

from typing import Annotated

import typer

from cluster.cli.context import do, fail, guarded
from cluster.cli.render import parse_size

app = typer.Typer(no_args_is_help=True)
UNLIMITED = -1
Limit = Annotated[str, typer.Option(help="Like 10G, or none")]


def _bytes(text: str) -> int:
    return UNLIMITED if text == "none" else int(guarded(parse_size, text))


@app.command("list")
def listing(volume: str) -> None:
    """What the owners of files use of a volume, and what each may use."""
    do("quota.list", name=volume)


@app.command("set")
def set_user(
    volume: str,
    user: Annotated[str, typer.Argument(help="A user's name, or a SID")],
    limit: Limit = "none",
    threshold: Annotated[str, typer.Option(help="Where a warning is due; like 9G, or none")] = "none",
    default: Annotated[bool, typer.Option("--default", help="The volume's limits apply again")] = False,
) -> None:
    """Give a user limits of their own."""
    if default and (limit, threshold) != ("none", "none"):
        fail("--default goes without --limit and --threshold")
    do(
        "quota.set",
        name=volume,
        user=user,
        limit_bytes=_bytes(limit),
        threshold_bytes=_bytes(threshold),
        forget=default,
    )


@app.command("default")
def set_default(
    volume: str,
    mode: Annotated[str, typer.Argument(help="track: only count; enforce: refuse what exceeds a limit")],
    limit: Limit = "none",
    threshold: Annotated[str, typer.Option(help="Where a warning is due; like 9G, or none")] = "none",
) -> None:
    """What everybody may use who was given no limits of their own."""
    do(
        "quota.default",
        name=volume,
        mode=mode,
        limit_bytes=_bytes(limit),
        threshold_bytes=_bytes(threshold),
    )
