"""LOCK and CHANGE_NOTIFY. [MS-SMB2] 3.3.5.14 Receiving an SMB2 LOCK Request; 3.3.5.19 Receiving an SMB2
CHANGE_NOTIFY Request."""

from __future__ import annotations

import pytest

from smbproto import dtyp, fscc
from smbproto.fscc.notify import decode_notify_untrusted
from smbproto.smb2.change_notify import SMB2_WATCH_TREE, ChangeNotifyRequest, ChangeNotifyResponse
from smbproto.smb2.create import CreateRequest
from smbproto.smb2.header import Command
from smbproto.smb2.lock import LockElement, LockRequest
from smbproto.status import Status, StatusError
from smbsrv.request import Reply
from tests.smbsrv.commands.client import Client, World, refused
from tests.smbsrv.commands.test_create_contexts import BATCH, dh2q

SHARED, EXCLUSIVE, UNLOCK, AT_ONCE = 1, 2, 4, 0x10


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def client(world) -> Client:
    return world.client()


def lock(client, found, *locks, sequence: int = 0) -> None:
    body = LockRequest(
        locks=tuple(LockElement(*one) for one in locks), lock_sequence=sequence, file_id=found.file_id
    )
    client.run(Command.LOCK, body.encode())


def test_an_exclusive_lock_keeps_others_out(world, client):
    """[MS-SMB2] 3.3.5.14.2 Processing Locks: LOCK_NOT_GRANTED with SMB2_LOCKFLAG_FAIL_IMMEDIATELY."""
    first, other = client.create("a"), world.client(2)
    second = other.create("a")
    lock(client, first, (0, 10, EXCLUSIVE | AT_ONCE))
    with refused(Status.LOCK_NOT_GRANTED):
        lock(other, second, (5, 10, SHARED | AT_ONCE))
    lock(client, first, (0, 10, UNLOCK))
    lock(other, second, (5, 10, SHARED | AT_ONCE))


@pytest.mark.parametrize(
    "locks",
    [
        [],
        [(0, 1, 0)],
        [(0, 1, SHARED | EXCLUSIVE)],
        [(0, 1, 0x20 | SHARED)],
        [(0, 1, UNLOCK | AT_ONCE)],
        [(0, 1, SHARED | AT_ONCE), (5, 1, UNLOCK)],
        [(0, 1, SHARED), (5, 1, SHARED)],
    ],
)
def test_flags_that_cannot_be(client, locks):
    """[MS-SMB2] 3.3.5.14: no locks, unknown or mixed flags, several of which one may wait:
    INVALID_PARAMETER."""
    with refused(Status.INVALID_PARAMETER):
        lock(client, client.create("a"), *locks)


def test_locks_are_taken_together_or_not_at_all(world, client):
    """[MS-SMB2] 3.3.5.14.2: if one cannot be taken, those before it are released."""
    first, other = client.create("a"), world.client(2)
    second = other.create("a")
    lock(client, first, (20, 10, EXCLUSIVE | AT_ONCE))
    with refused(Status.LOCK_NOT_GRANTED):
        lock(other, second, (0, 10, EXCLUSIVE | AT_ONCE), (25, 1, EXCLUSIVE | AT_ONCE))
    lock(client, first, (0, 10, EXCLUSIVE | AT_ONCE))


def test_unlocks_before_a_bad_one_stay_done(client):
    """[MS-SMB2] 3.3.5.14.1 Processing Unlocks: "the server MUST stop processing further entries"."""
    found = client.create("a")
    lock(client, found, (0, 1, EXCLUSIVE | AT_ONCE), (5, 1, EXCLUSIVE | AT_ONCE))
    with refused(Status.RANGE_NOT_LOCKED):
        lock(client, found, (0, 1, UNLOCK), (9, 1, UNLOCK), (5, 1, UNLOCK))
    with refused(Status.RANGE_NOT_LOCKED):
        lock(client, found, (0, 1, UNLOCK))
    lock(client, found, (5, 1, UNLOCK))


def test_a_repeated_lock_request_is_answered_once(client):
    """[MS-SMB2] 3.3.5.14: "If the sequence number ... equal ... the server MUST complete the lock request
    with success"."""
    client.connection.server_capabilities = 0
    found = client.create("a", oplock=BATCH, contexts=[dh2q()])
    sequence = 1 << 4 | 3
    lock(client, found, (0, 1, EXCLUSIVE | AT_ONCE), sequence=sequence)
    lock(client, found, (0, 1, EXCLUSIVE | AT_ONCE), sequence=sequence)
    lock(client, found, (0, 1, UNLOCK), sequence=2 << 4 | 3)
    with refused(Status.RANGE_NOT_LOCKED):
        lock(client, found, (0, 1, UNLOCK), sequence=2 << 4 | 4)


@pytest.mark.parametrize("index", [0, 65, 0x0FFFFFFF])
def test_sequence_indexes_out_of_range_do_not_count(client, index):
    """[MS-SMB2] 3.3.5.14: LockSequenceIndex is 1 to 64; any other is not looked at."""
    found = client.create("a", oplock=BATCH, contexts=[dh2q()])
    lock(client, found, (0, 1, EXCLUSIVE | AT_ONCE), sequence=index << 4 | 1)
    with refused(Status.LOCK_NOT_GRANTED):
        lock(client, found, (0, 1, EXCLUSIVE | AT_ONCE), sequence=index << 4 | 1)


def test_an_ordinary_open_has_no_lock_sequence(client):
    """[MS-SMB2] 3.3.5.14: only for resilient, durable and persistent opens, or with several channels."""
    client.connection.server_capabilities = 0
    found = client.create("a")
    lock(client, found, (0, 1, EXCLUSIVE | AT_ONCE), sequence=1 << 4)
    with refused(Status.LOCK_NOT_GRANTED):
        lock(client, found, (0, 1, EXCLUSIVE | AT_ONCE), sequence=1 << 4)


# notifications


def watch(
    client, found, room: int = 4096, flags: int = 0, wanted: int = fscc.FILE_NOTIFY_CHANGE_FILE_NAME
) -> bytes:
    return ChangeNotifyRequest(
        flags=flags, output_buffer_length=room, file_id=found.file_id, completion_filter=wanted
    ).encode()


def changes_during(world, client, body: bytes, happen) -> Reply:
    async def story() -> Reply:
        answers: list[Reply] = []

        async def ask() -> None:
            answers.append(await client.send(Command.CHANGE_NOTIFY, body))

        world.runtime.spawn(ask, "notify")
        await world.runtime.sleep(1)
        assert not answers, "nothing has changed yet"
        await happen()
        await world.runtime.sleep(1)
        return answers[0]

    return world.runtime.run(story())


async def make(client, name: str) -> None:
    body = CreateRequest(
        desired_access=dtyp.FILE_ALL_ACCESS, share_access=7, create_disposition=3, name=name
    ).encode()
    await client.send(Command.CREATE, body)


def test_a_new_file_is_told(world, client):
    """[MS-SMB2] 3.3.5.19: the response carries FILE_NOTIFY_INFORMATION."""
    d = client.directory("d")
    reply = changes_during(world, client, watch(client, d), lambda: make(client, "d\\new.txt"))
    output = ChangeNotifyResponse.decode_untrusted(bytes(64) + bytes(reply.body)).output
    assert decode_notify_untrusted(output) == [(fscc.FILE_ACTION_ADDED, "new.txt")]


def test_a_tree_is_watched_if_asked(world, client):
    """[MS-SMB2] 2.2.35: SMB2_WATCH_TREE; names are relative to the watched directory."""
    d = client.directory("d")
    client.directory("d\\sub")
    body = watch(client, d, flags=SMB2_WATCH_TREE)
    reply = changes_during(world, client, body, lambda: make(client, "d\\sub\\new.txt"))
    output = ChangeNotifyResponse.decode_untrusted(bytes(64) + bytes(reply.body)).output
    assert decode_notify_untrusted(output) == [(fscc.FILE_ACTION_ADDED, "sub\\new.txt")]


@pytest.mark.parametrize("room", [0, 12])
def test_what_does_not_fit_is_to_be_listed(world, client, room):
    """[MS-SMB2] 3.3.5.19: "STATUS_NOTIFY_ENUM_DIR" when the changes do not fit."""
    d = client.directory("d")

    async def ask() -> int:
        try:
            return (await client.send(Command.CHANGE_NOTIFY, watch(client, d, room))).status
        except StatusError as error:
            return error.status

    async def story() -> list[int]:
        statuses: list[int] = []

        async def task() -> None:
            statuses.append(await ask())

        world.runtime.spawn(task, "notify")
        await world.runtime.sleep(1)
        await make(client, "d\\a long name.txt")
        await world.runtime.sleep(1)
        return statuses

    assert world.runtime.run(story()) == [Status.NOTIFY_ENUM_DIR]


def test_what_cannot_be_watched(client):
    """[MS-SMB2] 3.3.5.19: no directory, too large a buffer: INVALID_PARAMETER; no FILE_LIST_DIRECTORY:
    ACCESS_DENIED."""
    with refused(Status.INVALID_PARAMETER):
        client.run(Command.CHANGE_NOTIFY, watch(client, client.create("a")))
    d = client.directory("d")
    with refused(Status.INVALID_PARAMETER):
        client.run(Command.CHANGE_NOTIFY, watch(client, d, (8 << 20) + 1))
    blind = client.directory("d", access=dtyp.FILE_READ_ATTRIBUTES)
    with refused(Status.ACCESS_DENIED):
        client.run(Command.CHANGE_NOTIFY, watch(client, blind))
