"""`sofs share`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cluster.cli.context import do, fail

app = typer.Typer(no_args_is_help=True)


@app.command()
def add(
    name: str,
    volume: Annotated[str, typer.Option(help="A volume of the pool")] = "",
    directory: Annotated[str, typer.Option(help="A directory of this host")] = "",
    path: Annotated[str, typer.Option(help="Directory of the volume that is the share's root")] = "",
    remark: str = "",
    read_only: bool = False,
    encrypt: Annotated[bool, typer.Option(help="Refuse clients that do not encrypt")] = False,
    access_based_enumeration: Annotated[
        bool, typer.Option("--access-based-enumeration", help="List only what the user may read")
    ] = False,
    access: Annotated[list[str] | None, typer.Option(help="USER=full|change|read; may be repeated")] = None,
) -> None:
    """Serve a volume, or a directory of the host, under a name."""
    rights: dict[str, str] = {}
    for item in access or []:
        who, sign, right = item.partition("=")
        if not sign:
            fail(f"--access {item}: write USER=full, USER=change or USER=read")
        rights[who] = right
    do(
        "share.add",
        name=name,
        volume=volume,
        directory=str(Path(directory).absolute()) if directory else "",
        path=path.replace("/", "\\").strip("\\"),
        remark=remark,
        read_only=read_only,
        encrypt=encrypt,
        access_based_enumeration=access_based_enumeration,
        access=rights,
    )


@app.command()
def remove(name: str) -> None:
    """Stop serving a share; its files stay."""
    do("share.remove", name=name)


@app.command("list")
def listing() -> None:
    """All shares."""
    do("share.list")
