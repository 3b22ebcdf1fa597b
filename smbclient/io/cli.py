"""ls, get, put, mkdir, rm, mv, cp, stat, cat and tree on //host/share/path.

Exit status: 0 done, 1 an error (one line on standard error says what was tried), 2 a wrong command line.
"""

from __future__ import annotations

import argparse
import json
import os
import stat
import sys
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import trio
from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.tree import Tree as Drawing

from smbclient.io.connect import connect
from smbclient.io.credentials import CredentialsError, find_credentials
from smbclient.io.transfer import Job, fetch, get_all, put_all, store
from smbclient.names import Location, join
from smbclient.stat import DirEntry, StatResult
from smbclient.tree import Tree
from smbproto.endpoint.client_negotiate import ALL_DIALECTS
from smbproto.errors import WireError
from smbproto.io.tcp import PORT
from smbproto.status import Status, StatusError

if TYPE_CHECKING:
    from smbproto.rpc.share_list import ShareInfo

__all__ = ["main"]

DIALECTS = {"2.0.2": 0x0202, "2.1": 0x0210, "3.0": 0x0300, "3.0.2": 0x0302, "3.1.1": 0x0311}
SHARE = "//host/share/path"
Command = Callable[[Tree, Location, argparse.Namespace], Awaitable[None]]


class Bars:
    """Progress on the terminal; silent where there is none."""

    def __init__(self, quiet: bool) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=quiet or not sys.stderr.isatty(),
            transient=True,
        )

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def begin(self, name: str, total_bytes: int) -> int:
        return self._progress.add_task(escape(PurePosixPath(name).name), total=total_bytes)

    def advance(self, file: int, count: int) -> None:
        self._progress.advance(TaskID(file), count)

    def end(self, file: int) -> None:
        self._progress.remove_task(TaskID(file))


def main(arguments: list[str] | None = None) -> int:
    """Run one command. Returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        trio.run(_run, options)
    except WireError as error:
        _say(f"smbclient: the server's answer is broken: {error}")
        return 1
    except (StatusError, CredentialsError, ValueError) as error:
        _say(f"smbclient: {error}")
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _say(f"smbclient: {where}{error.strerror or error}")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _out(line: str) -> None:
    sys.stdout.write(line + "\n")


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("-U", "--user", default="", help="user, or DOMAIN\\user (or SMB_USER)")
    common.add_argument("-A", "--credentials", metavar="FILE", help="lines username=, password=, domain=")
    common.add_argument("--anonymous", action="store_true", help="no user at all")
    common.add_argument("-P", "--port", type=int, help=f"port (default {PORT})")
    common.add_argument("-e", "--encrypt", action="store_true", help="encrypt, or fail")
    common.add_argument("--dialect", choices=DIALECTS, help="this dialect and no other")
    common.add_argument("-q", "--quiet", action="store_true", help="no progress bars")
    parser = argparse.ArgumentParser(
        prog="smbclient",
        description=__doc__,
        epilog="The password: SMB_PASSWORD, --credentials, or a question.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: Command, about: str, place: str = "location") -> argparse.ArgumentParser:
        command = commands.add_parser(name, parents=[common], help=about, description=about)
        command.set_defaults(run=run, place=place)
        return command

    _add_commands(add)
    return parser


def _add_commands(add: Callable[..., argparse.ArgumentParser]) -> None:
    command = add("ls", _ls, "List a directory, show one file, or list a host's shares.")
    command.add_argument("location", metavar=SHARE)
    command.add_argument("-l", "--long", action="store_true", help="attributes, size, time")
    command.add_argument("--json", action="store_true")
    command = add("get", _get, "Fetch a file, or with -r a directory.")
    command.add_argument("location", metavar=SHARE)
    command.add_argument("local", nargs="?", default=".", help="file or directory (default: here)")
    command.add_argument("-r", "--recursive", action="store_true")
    command = add("put", _put, "Store a file, or with -r a directory.")
    command.add_argument("local")
    command.add_argument("location", metavar=SHARE)
    command.add_argument("-r", "--recursive", action="store_true")
    command = add("mkdir", _mkdir, "Make a directory.")
    command.add_argument("location", metavar=SHARE)
    command.add_argument("-p", "--parents", dest="parents", action="store_true", help="and those above it")
    command = add("rm", _rm, "Remove a file, or with -r a directory with all that is in it.")
    command.add_argument("location", metavar=SHARE)
    command.add_argument("-r", "--recursive", action="store_true")
    for name, run, about in (
        ("mv", _mv, "Rename within a share."),
        ("cp", _cp, "Copy a file within a share."),
    ):
        command = add(name, run, about)
        command.add_argument("location", metavar=SHARE)
        command.add_argument("target", help="path in the same share")
        command.add_argument("-f", "--force", action="store_true", help="replace the target")
    command = add("stat", _stat, "Show what is known of a file.")
    command.add_argument("location", metavar=SHARE)
    command.add_argument("--json", action="store_true")
    command = add("cat", _cat, "Write a file to standard output.")
    command.add_argument("location", metavar=SHARE)
    command = add("tree", _tree, "Draw a directory with all that is in it.")
    command.add_argument("location", metavar=SHARE)


async def _run(options: argparse.Namespace) -> None:
    location = Location.parse(options.location)
    if not location.share and options.run is not _ls:
        raise ValueError(f"{options.location!r} names no share: write //{location.host}/share/path")
    user, domain = options.user or location.user, location.domain
    if "\\" in user:
        domain, _, user = user.partition("\\")
    who = find_credentials(user=user, domain=domain, path=options.credentials, anonymous=options.anonymous)
    dialects = (DIALECTS[options.dialect],) if options.dialect else ALL_DIALECTS
    async with connect(
        location.host,
        options.port or location.port or PORT,
        user=who.user,
        password=who.password,
        domain=who.domain,
        encrypt=options.encrypt,
        dialects=dialects,
    ) as session:
        if location.share:
            await options.run(await session.tree(location.share), location, options)
        else:
            _print_shares(await session.shares(), options)


async def _ls(tree: Tree, location: Location, options: argparse.Namespace) -> None:
    found = await tree.stat(location.path)
    if found.is_dir():
        entries = sorted([entry async for entry in tree.scandir(location.path)], key=lambda e: e.name.lower())
    else:
        entries = [DirEntry(PurePosixPath(location.path).name, location.path, found)]
    if options.json:
        _out(json.dumps([{"name": entry.name, **_as_json(entry.stat)} for entry in entries], indent=2))
    elif options.long:
        _print_table(entries)
    else:
        for entry in entries:
            _out(entry.name + ("/" if entry.is_dir() else ""))


def _print_shares(shares: list[ShareInfo], options: argparse.Namespace) -> None:
    if options.json:
        _out(json.dumps([share._asdict() for share in shares], indent=2))
        return
    if not options.long:
        shares = [share for share in shares if share.kind == "disk" and not share.is_special]
    table = Table(box=None, pad_edge=False, show_header=False)
    for share in sorted(shares):
        table.add_row(escape(share.name), share.kind, escape(share.remark))
    Console(soft_wrap=True, highlight=False).print(table)


def _print_table(entries: Iterable[DirEntry]) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, justify="right")
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    for entry in entries:
        known = entry.stat
        table.add_row(
            stat.filemode(known.st_mode), str(known.st_size), _time(known.st_mtime), escape(entry.name)
        )
    Console(soft_wrap=True, highlight=False).print(table)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")


def _as_json(known: StatResult) -> dict[str, object]:
    return {
        "type": "directory" if known.is_dir() else "link" if known.is_symlink() else "file",
        **asdict(known),
    }


def _place(text: str, name: str) -> Path:
    """Where something of this name goes: into a directory that is there, or to that very path."""
    path = Path(text)
    return path / name if path.is_dir() else path


def _source(text: str) -> tuple[Path, str, os.stat_result]:
    """A path here, its last name, and what is known of it."""
    path = Path(text)
    return path, path.resolve().name, path.stat()


async def _get(tree: Tree, location: Location, options: argparse.Namespace) -> None:
    found = await tree.stat(location.path)
    local = _place(options.local, PurePosixPath(location.path).name or location.share)
    with Bars(options.quiet) as bars:
        if not found.is_dir():
            await fetch(tree, Job(location.path, local, found.st_size, found.st_mtime_ns), bars)
        elif options.recursive:
            await get_all(tree, location.path, local, bars)
        else:
            raise StatusError(Status.FILE_IS_A_DIRECTORY, f"{location}: give -r to fetch a directory")


async def _put(tree: Tree, location: Location, options: argparse.Namespace) -> None:
    local, name, known = _source(options.local)
    remote = location.path
    if not remote or await tree.is_dir(remote):
        remote = join(remote, name)
    with Bars(options.quiet) as bars:
        if not stat.S_ISDIR(known.st_mode):
            await store(tree, Job(remote, local, known.st_size, known.st_mtime_ns), bars)
        elif options.recursive:
            await put_all(tree, local, remote, bars)
        else:
            raise IsADirectoryError(21, "give -r to store a directory", str(local))


async def _mkdir(tree: Tree, location: Location, options: argparse.Namespace) -> None:
    await (tree.makedirs(location.path) if options.parents else tree.mkdir(location.path))


async def _rm(tree: Tree, location: Location, options: argparse.Namespace) -> None:
    if not location.path:
        raise ValueError(f"{location}: the root of a share cannot be removed")
    if (await tree.lstat(location.path)).is_dir():
        if not options.recursive:
            raise StatusError(Status.FILE_IS_A_DIRECTORY, f"{location}: give -r to remove a directory")
        await tree.rmtree(location.path)
    else:
        await tree.remove(location.path)


def _target(location: Location, text: str) -> str:
    """A path in the same share, or a whole location that names it."""
    if not text.startswith(("//", "\\\\", "smb://")):
        return join(text)
    other = Location.parse(text)
    if (other.host.lower(), other.share.lower()) != (location.host.lower(), location.share.lower()):
        raise ValueError(f"{text}: another share; use get and put")
    return other.path


async def _mv(tree: Tree, location: Location, options: argparse.Namespace) -> None:
    target = _target(location, options.target)
    if await tree.is_dir(target):
        target = join(target, PurePosixPath(location.path).name)
    await tree.rename(location.path, target, replace=options.force)


async def _cp(tree: Tree, location: Location, options: argparse.Namespace) -> None:
    target = _target(location, options.target)
    if await tree.is_dir(target):
        target = join(target, PurePosixPath(location.path).name)
    await tree.copyfile(location.path, target, replace=options.force)


async def _stat(tree: Tree, location: Location, options: argparse.Namespace) -> None:
    known = await tree.lstat(location.path)
    if options.json:
        _out(json.dumps({"path": location.path, **_as_json(known)}, indent=2))
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    rows = {
        "path": str(location),
        "type": str(_as_json(known)["type"]),
        "size": f"{known.st_size} bytes, {known.st_allocation_size} allocated",
        "attributes": f"{known.st_file_attributes:#x}",
        "links": str(known.st_nlink),
        "file id": f"{known.st_ino:#x}",
        "created": _time(known.st_birthtime),
        "written": _time(known.st_mtime),
        "changed": _time(known.st_ctime),
        "read": _time(known.st_atime),
    }
    for label, value in rows.items():
        table.add_row(label, escape(value))
    Console(soft_wrap=True, highlight=False).print(table)


async def _cat(tree: Tree, location: Location, options: argparse.Namespace) -> None:
    async with await tree.open(location.path, "rb") as file:
        sys.stdout.flush()
        async for _, data in file.chunks():
            while data:
                data = data[os.write(sys.stdout.fileno(), data) :]


async def _tree(tree: Tree, location: Location, options: argparse.Namespace) -> None:
    drawing = Drawing(escape(str(location)))
    branches = {location.path: drawing}
    async for directory, directories, others in tree.walk(location.path):
        for entry in directories:
            branches[entry.path] = branches[directory].add(f"[bold]{escape(entry.name)}/[/bold]")
        for entry in others:
            branches[directory].add(f"{escape(entry.name)}  [dim]{decimal(entry.stat.st_size)}[/dim]")
    Console(soft_wrap=True, highlight=False).print(drawing)
