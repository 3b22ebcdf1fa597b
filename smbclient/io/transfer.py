"""Files between here and a share: several at once, each with several requests in flight.

A file that is fetched is written under a name of its own and renamed when it is whole. Times are kept.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import trio

from smbclient.names import join, parent_of
from smbclient.tree import Tree

__all__ = ["Job", "Meter", "fetch", "get_all", "put_all", "store"]

FILES_AT_ONCE = 8
PARTIAL_SUFFIX = ".smbclient-part"


class Meter(Protocol):
    """Who watches the progress of a transfer."""

    def begin(self, name: str, total_bytes: int) -> int:
        """A file begins; a number for it."""
        ...

    def advance(self, file: int, count: int) -> None: ...

    def end(self, file: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Job:
    """One file: its path on the share and its path here."""

    remote: str
    local: Path
    size: int
    mtime_ns: int


async def fetch(tree: Tree, job: Job, meter: Meter) -> None:
    """Copy a file of the share to here."""
    number = meter.begin(job.remote, job.size)
    partial = job.local.with_name(job.local.name + PARTIAL_SUFFIX)
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        try:
            async with await tree.open(job.remote, "rb") as file:
                async for offset, data in file.chunks():
                    _write_all(descriptor, data, offset)
                    meter.advance(number, len(data))
        finally:
            os.close(descriptor)
        os.utime(partial, ns=(job.mtime_ns, job.mtime_ns))
        partial.replace(job.local)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    finally:
        meter.end(number)


def _write_all(descriptor: int, data: memoryview, offset: int) -> None:
    while data:
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written


async def store(tree: Tree, job: Job, meter: Meter) -> None:
    """Copy a file of here to the share."""
    number = meter.begin(job.local.name, job.size)
    try:
        descriptor = os.open(job.local, os.O_RDONLY)
        try:
            async with await tree.open(job.remote, "wb") as file:
                await file.write_from(
                    0,
                    job.size,
                    lambda at, size: _read_all(descriptor, job.local, at, size),
                    progress=lambda count: meter.advance(number, count),
                )
        finally:
            os.close(descriptor)
        await tree.utime(job.remote, mtime_ns=job.mtime_ns)
    finally:
        meter.end(number)


def _read_all(descriptor: int, path: Path, at: int, size: int) -> bytes:
    data = os.pread(descriptor, size, at)
    if len(data) != size:
        raise OSError(f"{path} became shorter while it was read")
    return data


async def get_all(tree: Tree, remote: str, local: Path, meter: Meter) -> None:
    """Copy a directory with everything in it to here."""

    async def jobs() -> AsyncIterator[Job]:
        async for directory, _, others in tree.walk(remote):
            here = local / directory[len(remote) :].lstrip("/")
            here.mkdir(parents=True, exist_ok=True)
            for entry in others:
                yield Job(entry.path, here / entry.name, entry.stat.st_size, entry.stat.st_mtime_ns)

    await _run(jobs(), lambda job: fetch(tree, job, meter))


async def put_all(tree: Tree, local: Path, remote: str, meter: Meter) -> None:
    """Copy a directory with everything in it to the share; only links to files are followed."""

    async def jobs() -> AsyncIterator[Job]:
        for directory, _, names in os.walk(local):
            there = join(remote, Path(directory).relative_to(local).as_posix())
            await tree.makedirs(there)
            for name in sorted(names):
                found = Path(directory) / name
                known = found.stat()
                yield Job(join(there, name), found, known.st_size, known.st_mtime_ns)

    if parent_of(remote):
        await tree.makedirs(parent_of(remote))
    await _run(jobs(), lambda job: store(tree, job, meter))


async def _run(jobs: AsyncIterator[Job], work: Callable[[Job], Awaitable[None]]) -> None:
    """Do the jobs, several at once. The first error ends them all."""
    limit = trio.CapacityLimiter(FILES_AT_ONCE)

    async def one(job: Job) -> None:
        try:
            await work(job)
        finally:
            limit.release_on_behalf_of(job)

    try:
        async with trio.open_nursery() as nursery:
            async for job in jobs:
                await limit.acquire_on_behalf_of(job)
                nursery.start_soon(one, job)
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from group
