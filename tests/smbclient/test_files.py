"""The client against Debian's smbd and against our own server in memory: every dialect, and all that files
can do."""

import os
from contextlib import aclosing

import pytest
import trio

import smbclient
from smbclient.path import SmbPath
from smbclient.rpc import list_shares
from smbclient.session import Session
from smbproto import fscc
from smbproto.status import Status, StatusError
from tests.smbclient.samba import PASSWORD, USER

DIALECTS = (0x0202, 0x0210, 0x0300, 0x0302, 0x0311)


@pytest.fixture(params=[pytest.param("samba", marks=pytest.mark.interop), "ours"])
def server(request):
    """Who answers: `session(**options)` gives a session with it."""
    return request.getfixturevalue(request.param)


def run(server, work, *, share="data", **options):
    """`await work(tree)` on a share of `server`, in at most 30 seconds."""

    async def main():
        with trio.fail_after(30):
            async with server.session(**options) as session:
                return await work(await session.tree(share))

    return trio.run(main)


@pytest.mark.parametrize("encrypt", [False, True])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_signed_and_encrypted(server, dialect, encrypt):
    """Data of more than one chunk go both ways; below 3.0 there is no encryption, and asking for it fails."""
    data = os.urandom(3_000_000)

    async def work(tree):
        assert tree.channel.negotiated.dialect == dialect
        assert tree.channel.session.encrypt_data == encrypt
        await tree.write_bytes("dialect.bin", data)
        return await tree.read_bytes("dialect.bin")

    if encrypt and dialect < 0x0300:
        with pytest.raises(StatusError) as caught:
            run(server, work, dialects=[dialect], encrypt=True)
        assert caught.value.status == Status.NOT_SUPPORTED
    else:
        assert run(server, work, dialects=[dialect], encrypt=encrypt) == data


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_negotiation_is_validated(server, dialect):
    """With 3.0 or more offered, the client proves that a lower dialect was the server's choice."""

    async def work(tree):
        return tree.channel.negotiated.dialect

    offered = sorted({0x0202, dialect})
    assert run(server, work, dialects=offered) == dialect


@pytest.mark.parametrize("encrypt", [False, True])
def test_a_session_is_renewed_under_the_same_keys(server, encrypt):
    """[MS-SMB2] 3.2.5.3.2 Handling a Reauthentication: files stay open."""

    async def work(tree):
        async with await tree.open("renewed", "w+b") as file:
            await file.write(b"before")
            await tree.channel.renew(server.user, server.password)
            assert await file.read_at(0) == b"before"
            with pytest.raises(StatusError) as caught:
                await tree.channel.renew(server.user, "wrong")
            assert caught.value.status == Status.LOGON_FAILURE
            steps.append("renewed, and refused")

    steps = []
    with pytest.raises(StatusError):  # the session is over, so the file cannot be closed
        run(server, work, encrypt=encrypt)
    assert steps == ["renewed, and refused"]


def test_the_shares_of_a_server(server):
    """[MS-SRVS] 3.1.4.8 NetrShareEnum, over the pipe srvsvc."""

    async def work(tree):
        return await list_shares(Session(tree.channel, "host"))

    shares = {share.name: share for share in run(server, work)}
    assert {"data", "sealed", "IPC$"} <= set(shares)
    assert (shares["data"].kind, shares["data"].is_special) == ("disk", False)
    assert shares["IPC$"].is_special


def test_a_share_may_demand_encryption(server):
    async def work(tree):
        assert tree.sealed
        assert not tree.channel.session.encrypt_data
        await tree.write_bytes("sealed.txt", b"secret")
        return await tree.read_bytes("sealed.txt")

    assert run(server, work, share="sealed") == b"secret"


@pytest.mark.parametrize(("options", "status"), [
    ({"password": "wrong"}, Status.LOGON_FAILURE),
    ({"user": "nobody-knows-me"}, Status.LOGON_FAILURE),
    ({"share": "nosuchshare"}, Status.BAD_NETWORK_NAME),
])  # fmt: skip
def test_what_cannot_be_is_said_with_its_status(server, options, status):
    async def work(tree):
        raise AssertionError("this must not be reached")

    with pytest.raises(StatusError) as caught:
        run(server, work, **options)
    assert caught.value.status == status


def test_files_and_directories(server):
    async def work(tree):
        await tree.makedirs("one/two/three")
        await tree.makedirs("one/two")
        with pytest.raises(StatusError) as caught:
            await tree.mkdir("one/two")
        assert caught.value.status == Status.OBJECT_NAME_COLLISION
        await tree.write_bytes("one/a.txt", b"hello")
        await tree.write_bytes("one/two/b.txt", b"")
        assert await tree.listdir("one") == ["a.txt", "two"]
        assert await tree.exists("one/A.TXT")
        assert not await tree.exists("one/none/at/all")
        assert await tree.is_dir("one")
        assert await tree.is_file("one/a.txt")
        known = await tree.stat("one/a.txt")
        assert (known.st_size, known.is_file(), known.st_nlink) == (5, True, 1)
        with pytest.raises(StatusError) as caught:
            await tree.rename("one/a.txt", "one/two/b.txt")
        assert caught.value.status == Status.OBJECT_NAME_COLLISION
        await tree.replace("one/a.txt", "one/two/b.txt")
        assert await tree.read_bytes("one/two/b.txt") == b"hello"
        with pytest.raises(StatusError) as caught:
            await tree.rmdir("one")
        assert caught.value.status == Status.DIRECTORY_NOT_EMPTY
        walked = [
            (path, [d.name for d in dirs], [o.name for o in others])
            async for path, dirs, others in tree.walk("one")
        ]
        assert walked == [("one", ["two"], []), ("one/two", ["three"], ["b.txt"]), ("one/two/three", [], [])]
        await tree.rmtree("one")
        assert not await tree.exists("one")

    run(server, work)


def test_many_entries_come_in_several_parts(server):
    async def work(tree):
        names = [f"entry-{number:04}-{'x' * 60}" for number in range(900)]
        await tree.mkdir("many")
        for name in names:
            await tree.write_bytes(f"many/{name}", b"")
        assert await tree.listdir("many") == names
        assert await tree.listdir("many", "entry-000?-*") == names[:10]
        assert await tree.listdir("many", "no such*") == []
        await tree.rmtree("many")

    run(server, work)


def test_reading_and_writing_anywhere(server):
    async def work(tree):
        data = bytes(range(256)) * 8192
        async with await tree.open("anywhere", "w+b") as file:
            assert await file.write_at(100, data) == len(data)
            assert await file.read_at(0, 100) == bytes(100)
            assert await file.read_at(100 + len(data) - 3, 50) == data[-3:]
            assert await file.read_at(10**9, 5) == b""
            file.seek(-2, 2)
            assert await file.read() == data[-2:]
            await file.truncate(7)
            assert (await file.stat()).st_size == 7
            await file.flush()
        async with await tree.open("anywhere", "ab") as file:
            await file.write(b"end")
        assert await tree.read_bytes("anywhere") == bytes(7) + b"end"
        await tree.truncate("anywhere", 1)
        await tree.utime("anywhere", mtime_ns=1_600_000_000_123_456_700)
        known = await tree.stat("anywhere")
        assert (known.st_size, known.st_mtime_ns) == (1, 1_600_000_000_123_456_700)
        with pytest.raises(StatusError) as caught:
            await tree.open("anywhere", "xb")
        assert caught.value.status == Status.OBJECT_NAME_COLLISION
        await tree.remove("anywhere")

    run(server, work)


def test_requests_may_be_as_large_as_8_mib(server):
    """[MS-SMB2] 3.2.4.1.5 Sending Multi-Credit Requests: one of 8 MiB costs 128 credits."""
    data = os.urandom(20_000_000)

    async def work(tree):
        tree.chunk_bytes = 8 << 20
        await tree.write_bytes("large", data)
        async with await tree.open("large") as file:
            sizes = [len(part) async for _, part in file.chunks()]
            assert max(sizes) == 8 << 20
            assert await file.read_at(0) == data
        await tree.remove("large")

    run(server, work)


def test_the_server_copies(server):
    async def work(tree):
        data = os.urandom(20_000_000)
        await tree.write_bytes("original", data)
        assert await tree.copyfile("original", "copy") == len(data)
        assert await tree.read_bytes("copy") == data
        await tree.write_bytes("original", b"")
        assert await tree.copyfile("original", "copy") == 0
        assert (await tree.stat("copy")).st_size == 0

    run(server, work)


def test_symbolic_links_are_followed_wherever_they_stand_in_a_path(ours):
    """[MS-SMB2] 2.2.2.2.1.1: the client goes on where the server's answer points. (smbd 4.17 has no such
    links.)"""

    async def work(tree):
        await tree.makedirs("real/inner")
        await tree.write_bytes("real/inner/file", b"data")
        await tree.symlink("real", "link", directory=True)
        await tree.symlink("../inner/file", "real/inner/again")
        assert await tree.readlink("link") == "real"
        assert (await tree.lstat("link")).is_symlink()
        assert (await tree.stat("link")).is_dir()
        assert await tree.read_bytes("link/inner/again") == b"data"
        assert (await tree.lstat("link/inner/again")).is_symlink()
        assert await tree.listdir("link/inner") == ["again", "file"]
        assert [entry.is_symlink() async for entry in tree.scandir("")] == [True, False]
        await tree.utime("link/inner/again", mtime_ns=1_000_000_000)
        assert (await tree.stat("real/inner/file")).st_mtime_ns == 1_000_000_000
        await tree.symlink("loop", "loop")
        with pytest.raises(StatusError) as caught:
            await tree.stat("loop")
        assert caught.value.status == Status.STOPPED_ON_SYMLINK
        await tree.remove("link/inner/again")
        await tree.rmtree("real")
        assert await tree.listdir() == ["link", "loop"]

    run(ours, work)


def test_extended_attributes_streams_and_attributes(server):
    async def work(tree):
        await tree.write_bytes("marked", b"x")
        await tree.setxattr("marked", "colour", b"green")
        assert await tree.getxattr("marked", "COLOUR") == b"green"
        assert "colour" in [name.lower() for name in await tree.listxattr("marked")]
        await tree.removexattr("marked", "colour")
        with pytest.raises(StatusError) as caught:
            await tree.getxattr("marked", "colour")
        assert caught.value.status == Status.NONEXISTENT_EA_ENTRY
        await tree.write_bytes("marked:note", b"a stream")
        assert {stream.name for stream in await tree.list_streams("marked")} == {"::$DATA", ":note:$DATA"}
        assert await tree.read_bytes("marked:note") == b"a stream"
        await tree.set_attributes("marked", fscc.FILE_ATTRIBUTE_HIDDEN)
        assert (await tree.stat("marked")).st_file_attributes & fscc.FILE_ATTRIBUTE_HIDDEN
        await tree.link("marked", "marked too")
        assert (await tree.stat("marked")).st_nlink == 2
        assert (await tree.stat_volume()).total_bytes > 0
        await tree.remove("marked too")
        await tree.remove("marked")

    run(server, work)


def test_a_lock_waits_until_the_range_is_free_and_waiting_can_be_cancelled(server):
    async def work(tree):
        async with await tree.open("locked", "w+b") as one, await tree.open("locked", "r+b") as other:
            await one.lock(0, 10)
            with pytest.raises(StatusError) as caught:
                await other.lock(5, 10, wait=False)
            assert caught.value.status == Status.LOCK_NOT_GRANTED
            with trio.move_on_after(0.2) as scope:
                await other.lock(5, 10)
            assert scope.cancelled_caught
            async with trio.open_nursery() as nursery:
                nursery.start_soon(other.lock, 5, 10)
                await trio.sleep(0.1)
                await one.unlock(0, 10)
            with pytest.raises(StatusError):
                await one.lock(0, 10, wait=False)
            assert tree.channel._endpoint.outstanding == 0, "the cancelled request was answered too"

    run(server, work)


def test_watching_a_directory(server):
    async def work(tree):
        await tree.mkdir("watched")
        seen = []

        async def look():
            async with aclosing(tree.watch("watched", recursive=True)) as all_changes:
                async for changes in all_changes:
                    seen.extend(changes)
                    if any(change.action == "removed" for change in changes):
                        return

        async with trio.open_nursery() as nursery:
            nursery.start_soon(look)
            await trio.sleep(0.3)
            await tree.write_bytes("watched/new", b"1")
            await tree.rename("watched/new", "watched/newer")
            await tree.remove("watched/newer")
        assert ("added", "watched/new") in seen
        assert ("renamed_from", "watched/new") in seen
        assert ("renamed_to", "watched/newer") in seen
        await tree.rmdir("watched")

    run(server, work)


def test_paths_know_their_share(server):
    async def work(tree):
        folder = SmbPath(tree) / "paths" / "inner"
        await folder.mkdir(parents=True)
        text = folder / "text.txt"
        assert await text.write_text("grüße") == 7
        assert await text.read_text() == "grüße"
        assert [found.name async for found in folder.iterdir()] == ["text.txt"]
        moved = await text.rename(folder.parent / "moved.txt")
        assert (moved.name, moved.stem, moved.suffix, str(moved.parent)) == (
            "moved.txt",
            "moved",
            ".txt",
            "paths",
        )
        assert await moved.exists()
        assert not await text.exists()
        await moved.unlink()
        await tree.rmtree("paths")

    run(server, work)


def test_a_server_that_dies_gives_a_typed_error(server):
    async def main():
        async with server.session() as session:
            tree = await session.tree("data")
            await session.channel._stream.aclose()
            with pytest.raises(StatusError) as caught:
                await tree.listdir()
            assert caught.value.status == Status.CONNECTION_DISCONNECTED

    trio.run(main)


@pytest.mark.interop
def test_the_blocking_facade_raises_os_errors_and_opens_text(samba):
    with smbclient.connect_blocking("127.0.0.1", samba.port, user=USER, password=PASSWORD) as session:
        share = session.tree("data")
        with share.open("text.txt", "w", encoding="utf-8") as file:
            for number in range(3):
                file.write(f"line {number}\n")
        with share.open("text.txt") as file:
            assert [line.strip() for line in file] == ["line 0", "line 1", "line 2"]
        with share.open("text.txt", "r+b") as file:
            file.seek(-2, 2)
            file.write(b"!!")
        assert share.read_bytes("text.txt").endswith(b"line !!")
        with pytest.raises(FileNotFoundError) as caught:
            share.open("no such file")
        assert caught.value.filename == "no such file"
        assert isinstance(caught.value.__cause__, StatusError)
        with pytest.raises(FileExistsError):
            share.open("text.txt", "x")
        with pytest.raises(NotADirectoryError):
            share.listdir("text.txt")
        assert "text.txt" in [entry.name for entry in share.scandir()]
        share.remove("text.txt")
        with pytest.raises(FileNotFoundError):
            session.tree("nosuchshare")
    with pytest.raises(ValueError, match="closed"):
        share.listdir()
    with pytest.raises(PermissionError):
        smbclient.connect_blocking("127.0.0.1", samba.port, user=USER, password="wrong")
