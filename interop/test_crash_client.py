"""kill -9 under the load of our own client: many files and requests at once, and names that change.

Before each restart the catalog is checked as the crash left it. A file is written in sectors that say which
write they come from, so that after a restart every sector is as it was flushed, or as something later left
it.
"""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio

import smbclient
from interop import server
from interop.target import Target
from smbclient import Status, StatusError, Tree

SECTOR = 512
SECTORS_MAX = 600
KILLS_MAX = 12
BUDGET_S = 22.0
"""No further kill after this; a round takes about three seconds."""
USERS = 5


def sector(number: int, write: int) -> bytes:
    return (b"%8d/%8d|" % (number, write) * 29)[:SECTOR]


@dataclass
class Book:
    """What is known of one file. `now`: sector -> the last write; `may`: what else a crash may leave."""

    names: list[str]
    """The last is the one it has; the others it may have again after a crash."""
    is_flushed: bool = False
    is_removed: bool = False
    now: dict[int, int] = field(default_factory=dict)
    may: dict[int, set[int]] = field(default_factory=dict)
    size_min: int = 0
    """In sectors, by the last flush."""

    def wrote(self, first: int, count: int, write: int) -> None:
        for index in range(first, first + count):
            self.may.setdefault(index, set()).add(self.now.get(index, 0))
            self.now[index] = write

    def flushed(self, of: dict[int, int], names: int) -> None:
        """A flush was answered that began when these were the contents, under that many names."""
        for index, write in of.items():
            if self.now[index] == write:
                self.may.pop(index, None)
        self.size_min = max(self.size_min, *(index + 1 for index in of), 0)
        self.is_flushed = True
        del self.names[: names - 1]

    def check(self, name: str, data: bytes) -> None:
        """As a crash left it; from now on it is known so."""
        assert len(data) % SECTOR == 0 and len(data) >= self.size_min * SECTOR, (
            name,
            len(data),
            self.size_min,
        )
        for index in range(len(data) // SECTOR):
            found = data[index * SECTOR : (index + 1) * SECTOR]
            allowed = {self.now.get(index, 0)} | self.may.get(index, set())
            contents = [sector(index, write) if write else bytes(SECTOR) for write in allowed]
            assert found in contents, f"{name}: sector {index} is {found[:20]!r}, allowed {allowed}"
            self.now[index] = next(
                write for write, one in zip(allowed, contents, strict=True) if one == found
            )
        for index in [index for index in self.now if index * SECTOR >= len(data)]:
            del self.now[index]
        self.may.clear()
        self.size_min, self.is_flushed, self.is_removed, self.names = len(data) // SECTOR, True, False, [name]


class User:
    """One task of the load; its files are its own."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.chance = random.Random(number)
        self.books: list[Book] = []
        self.writes = 0
        self.count: Counter[str] = Counter()

    async def work(self, tree: Tree) -> None:
        while True:
            act = self.chance.choices((self.make, self.change, self.rename, self.remove), (3, 8, 2, 1))[0]
            await act(tree)
            self.count[act.__name__] += 1

    def next_name(self) -> str:
        self.count["names"] += 1
        return f"user {self.number} file {self.count['names']}"

    def pick(self) -> Book | None:
        there = [book for book in self.books if not book.is_removed]
        return self.chance.choice(there) if there else None

    async def make(self, tree: Tree) -> None:
        book = Book([self.next_name()])
        self.books.append(book)
        async with await tree.open(book.names[-1], "xb") as file:
            await self._write(file, book)

    async def change(self, tree: Tree) -> None:
        book = self.pick()
        if book is not None:
            async with await tree.open(book.names[-1], "r+b") as file:
                for _ in range(self.chance.randint(1, 4)):
                    await self._write(file, book)

    async def _write(self, file: smbclient.File, book: Book) -> None:
        """Some sectors, at times by several requests, at times flushed."""
        first = self.chance.randrange(SECTORS_MAX)
        count = self.chance.choice((1, self.chance.randint(1, 300)))
        self.writes += 1
        book.wrote(first, count, self.writes)
        await file.write_at(first * SECTOR, b"".join(sector(first + n, self.writes) for n in range(count)))
        if self.chance.random() < 0.4:
            of, names = dict(book.now), len(book.names)
            await file.flush()
            book.flushed(of, names)
            self.count["flushes"] += 1

    async def rename(self, tree: Tree) -> None:
        book = self.pick()
        if book is not None:
            book.names.append(self.next_name())
            await tree.rename(book.names[-2], book.names[-1])

    async def remove(self, tree: Tree) -> None:
        book = self.pick()
        if book is not None:
            book.is_removed = True
            await tree.remove(book.names[-1])

    async def verify(self, tree: Tree, names: set[str]) -> int:
        """Read its files back. How many there are."""
        kept = []
        for book in self.books:
            found = [name for name in book.names if name in names]
            assert len(found) <= 1, f"one file under several names: {found}"
            if not found:
                assert book.is_removed or not book.is_flushed, f"{book.names} was flushed and is gone"
                continue
            book.check(found[0], await tree.read_bytes(found[0]))
            names.discard(found[0])
            kept.append(book)
        self.books = kept
        return len(kept)


async def load(target: Target, users: list[User], kill_after_s: float) -> None:
    """All users at work, until the server is killed in the middle."""

    async def one(user: User) -> None:
        try:
            async with smbclient.connect(
                target.host, target.port, user=target.user, password=target.password
            ) as session:
                await user.work(await session.tree(target.share))
        except StatusError as error:
            if error.status not in (Status.CONNECTION_DISCONNECTED, Status.CONNECTION_REFUSED):
                raise

    async with trio.open_nursery() as nursery:
        for user in users:
            nursery.start_soon(one, user)
        await trio.sleep(kill_after_s)
        target.process.signal(signal.SIGKILL)


async def verify(target: Target, users: list[User]) -> int:
    async with smbclient.connect(
        target.host, target.port, user=target.user, password=target.password
    ) as session:
        tree = await session.tree(target.share)
        names = {entry.name async for entry in tree.scandir("", "user *")}
        count = sum([await user.verify(tree, names) for user in users])
        assert not names, f"nobody made {names}"
        return count


def check_catalog(state: Path) -> None:
    """`sofs volume check`, the node being down, as the crash left it."""
    done = subprocess.run(
        [server.sofs(), "--state", state, "volume", "check", "demo"],
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(180)
def test_a_killed_node_comes_back_with_what_was_flushed(tmp_path: Path) -> None:
    state, log = tmp_path / "pool", tmp_path / "log"
    chance = random.Random(23)
    users = [User(number) for number in range(USERS)]
    kills = files = 0
    began = time.monotonic()
    target = server.start_up(state, log)
    try:
        while kills < KILLS_MAX and time.monotonic() - began < BUDGET_S:
            trio.run(load, target, users, chance.uniform(0.1, 1.5))
            target.process.wait(20)
            kills += 1
            check_catalog(state)
            target = server.start_up(state, log)
            files = trio.run(verify, target, users)
        assert kills >= 3 and files
        assert all(user.count["flushes"] for user in users), [user.count for user in users]
        assert target.stop() == 0
        assert "Traceback" not in target.process.text()
    finally:
        target.stop()
