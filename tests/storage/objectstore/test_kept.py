"""Durable opens, while their client is away."""

import pytest

from smbproto import fscc
from smbproto.status import StatusError
from storage.objectstore.disconnected import TRANSITIONS, Happening, Keeping, State
from storage.volume import DurableRequest, RangeLock
from tests.storage.objectstore.world import ALL, READ, World, lease, oplock

R, RH, RW, RWH = 1, 3, 5, 7
V1, V2 = DurableRequest(1), DurableRequest(2, b"guid" * 4, 30_000)


@pytest.fixture
def world():
    made = World()
    made.write_file("f", b"content")
    return made


def kept(world, state=RWH, *, share=7, access=ALL, durable=V2):
    result = world.open_result("f", access, share, caching=lease("a", state), durable=durable)
    assert result.is_durable and result.file.client_lost()
    return result.file


@pytest.mark.parametrize(("caching", "durable"), [
    (lease("a", RWH), True), (lease("a", RH), True), (lease("a", RW), False), (lease("a", R), False),
    (oplock(9), True), (oplock(8), False), (oplock(1), False), (oplock(0), False)])
def test_durability_needs_handle_caching(world, caching, durable):
    """[MS-SMB2] 3.3.5.9.6, 3.3.5.9.10: batch oplock or a lease with HANDLE caching."""
    for request in (V1, V2):
        result = world.open_result("f", caching=caching, durable=request)
        assert result.is_durable is durable and result.file.client_lost() is durable
        result.file.end()


@pytest.mark.parametrize(("request_", "timeout_ms"), [
    (V1, 960_000), (V2, 30_000), (DurableRequest(2), 60_000), (DurableRequest(2, b"", 1 << 30), 300_000)])
def test_how_long(world, request_, timeout_ms):
    """[MS-SMB2] 3.3.5.9.10: the timeout that is asked for, within limits."""
    result = world.open_result("f", caching=lease("a", RWH), durable=request_)
    assert result.durable_timeout_ms == timeout_ms
    assert result.file.client_lost()
    world.advance(timeout_ms / 1000 - 1)
    assert not world.purged
    world.advance(3)
    assert world.purged == [result.file] and not world.volume.open_nodes


def test_a_directory_is_never_durable(world):
    """[MS-SMB2] 3.3.5.9.10: directories are not kept."""
    world.mkdir("d")
    result = world.open_result(
        "d", READ, caching=lease("a", RH), durable=V2, options=fscc.FILE_DIRECTORY_FILE)
    assert result.caching.state == RH and not result.is_durable


def test_reclaim_brings_it_back_with_its_locks(world):
    """[MS-SMB2] 3.3.5.9.12: the client is back; the open is what it was."""
    file = world.open("f", caching=lease("a", RWH), durable=V2)
    world.run(file.lock([RangeLock(0, 5, True)], True))
    assert file.client_lost()
    file.reclaim("again")
    assert file.context == "again" and file.caching.state == RWH
    world.advance(1000)
    assert not world.purged
    file.unlock([RangeLock(0, 5)])
    with pytest.raises(StatusError, match="OBJECT_NAME_NOT_FOUND"):
        file.reclaim("twice")


def test_locks_without_write_caching_are_not_kept(world):
    """Nobody shall meet the byte-range locks of a client that is gone."""
    file = world.open("f", caching=lease("a", RH), durable=V2)
    world.run(file.lock([RangeLock(0, 5, True)], True))
    assert not file.client_lost()
    file.unlock([RangeLock(0, 5)])
    assert file.client_lost()


def test_a_conflict_purges_it(world):
    """A share-mode conflict with an open whose client is gone."""
    file = kept(world, RH, share=0)
    assert world.open_result("f").action == fscc.FILE_OPENED
    assert world.purged == [file] and file.is_closed


@pytest.mark.parametrize(("held", "access", "asked", "purged"), [
    (RWH, 0x80, 0, False), (RH, ALL, RH, False), (RH, ALL, RWH, False), (RH, 0x80, 0, False),
    (RWH, ALL, RWH, True), (RWH, ALL, RH, True)])
def test_what_must_and_must_not_purge(world, held, access, asked, purged):
    """It goes when it would have to answer; not for a newcomer that shares fully, or only stats."""
    file = kept(world, held)
    caching = lease("b", asked, client="bob") if asked else oplock(0)
    world.open("f", access, caching=caching)
    assert file.is_closed is purged and (world.purged == [file]) is purged
    if not purged:
        file.reclaim(None)


def test_writing_and_renaming_purge_it(world):
    """A write takes READ caching, a rename takes HANDLE caching: a kept open cannot answer either."""
    other = world.open("f")
    file = kept(world, RH)
    assert other.write_now(0, memoryview(b"x"))
    assert file.is_closed
    file = kept(world, RH)
    world.run(other.rename("g", False))
    assert file.is_closed and world.exists("g")


def test_a_break_in_progress_is_not_kept(world):
    """[MS-SMB2] 3.3.7.1: only an oplock or lease that is held keeps an open."""
    file = world.open("f", caching=lease("a", RWH), durable=V2)
    waiting = world.start_open("f")
    assert not file.client_lost()
    file.end()
    world.settle()
    assert waiting.is_done and waiting.error is None


def test_a_kept_open_that_deletes_on_close_deletes_when_it_expires(world):
    """[MS-FSA] 2.1.5.5: the end of its time is a close."""
    result = world.open_result("f", caching=lease("a", RWH), durable=V2, options=fscc.FILE_DELETE_ON_CLOSE)
    assert result.file.client_lost()
    world.advance(40)
    assert not world.exists("f")


def test_transitions_that_are_not_in_the_table_are_errors():
    """Anything absent is a programming error."""
    for state in State:
        for happening in Happening:
            keeping = Keeping(1000)
            keeping.state = state
            if (state, happening) in TRANSITIONS:
                keeping.advance(happening, 5.0)
                assert keeping.state is TRANSITIONS[state, happening]
                assert (keeping.deadline_s == 6.0) is (keeping.state is State.KEPT)
            else:
                with pytest.raises(KeyError):
                    keeping.advance(happening, 5.0)


def test_closing_the_volume_ends_everything(world):
    """The volume's close ends every open, the kept ones too."""
    file = kept(world)
    other = world.open("f", 0x80)
    world.run(world.volume.close())
    assert file.is_closed and other.is_closed and world.purged == [file]

