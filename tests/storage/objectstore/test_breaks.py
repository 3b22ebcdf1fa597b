"""Breaks carried out: who is told, who waits, who goes on, and when it is given up."""

import pytest

from smbproto import dtyp, fscc
from smbproto.status import Status
from storage.volume import DurableRequest, RangeLock
from tests.storage.objectstore.world import ALL, ANA, READ, World, lease, oplock

R, H, W = 1, 2, 4
RH, RW, RWH = R | H, R | W, R | W | H
NONE, II, EXCLUSIVE, BATCH = 0, 1, 8, 9
ANA_GUID = b"ana".ljust(16, b"_")


@pytest.fixture
def world():
    made = World()
    made.write_file("f", b"content")
    return made


def key(name: str) -> bytes:
    return name.encode().ljust(16, b".")


def told(world):
    """(key, from, to, ack) of every lease break since the last look."""
    found = [(n.lease_key.rstrip(b".").decode(), n.current, n.new, n.ack_required)
             for n in world.lease_breaks]
    world.lease_breaks.clear()
    return found


def test_the_second_open_waits_for_the_writer_to_let_go(world):
    """[MS-SMB2] 3.3.1.4: the open completes when the break is acknowledged, with what is left to grant."""
    world.open("f", caching=lease("a", RWH))
    waiting = world.start_open("f", caching=lease("b", RWH, client="bob"))
    assert told(world) == [("a", RWH, RH, True)] and not waiting.is_done
    assert world.volume.acknowledge_lease(ANA_GUID, key("a"), RH) == RH
    world.settle()
    assert waiting.result.caching.state == RH and waiting.result.caching.epoch == 1


def test_it_goes_on_within_the_acknowledgment(world):
    """An operation that waited is done before the next request is looked at."""
    first = world.open("f", caching=lease("a", RH))
    second = world.open("f", caching=lease("b", RH, client="bob"))
    renaming = world.start(first.rename("g", False))
    assert told(world) == [("b", RH, R, True)] and not renaming.is_done
    assert world.exists("f") and not world.exists("g")
    world.close(second)
    assert world.exists("g") and not renaming.is_done
    world.settle()
    assert renaming.is_done and renaming.error is None


def test_opens_of_one_lease_break_nothing_of_it(world):
    """[MS-SMB2] 3.3.1.4: a client does not break its own lease."""
    world.open("f", caching=lease("a", RWH))
    result = world.open_result("f", caching=lease("a", RWH))
    assert told(world) == [] and result.caching.state == RWH


def test_the_same_key_on_another_file_is_invalid(world):
    """[MS-SMB2] 3.3.5.9.8: another Lease.Filename: STATUS_INVALID_PARAMETER; a hard link is the same file."""
    world.write_file("g")
    file = world.open("f", caching=lease("a", RWH))
    for path, disposition in (("g", fscc.FILE_OPEN), ("new", fscc.FILE_CREATE), ("f:s", fscc.FILE_OPEN_IF)):
        assert world.open_status(path, disposition=disposition, caching=lease("a", RWH)) is (
            Status.INVALID_PARAMETER)
        assert not world.exists("new") and [s.name for s in file.streams()] == [""]
    world.run(file.link("linked", False))
    assert world.open_result("linked", caching=lease("a", RWH)).caching.state == RWH
    world.close(world.open("g", caching=lease("a", RWH, client="bob")))


def test_a_sharing_violation_breaks_handle_caching_first(world):
    """[MS-FSA] 2.1.5.1.2: OPEN_BREAK_H; if the handle is closed for it the open succeeds."""
    first = world.open("f", ALL, 0, caching=lease("a", RWH))
    waiting = world.start_open("f", READ)
    assert told(world) == [("a", RWH, RW, True)]
    world.close(first)
    world.settle()
    assert waiting.result.action == fscc.FILE_OPENED
    world.close(waiting.result.file)
    world.open("f", ALL, 0, caching=lease("a", RH))
    waiting = world.start_open("f", READ)
    world.volume.acknowledge_lease(ANA_GUID, key("a"), R)
    world.settle()
    assert waiting.status is Status.SHARING_VIOLATION


def test_a_silent_holder_loses_all_after_35_seconds(world):
    """[MS-SMB2] 3.3.2.1, 3.3.6.1: Oplock Break Acknowledgment Timer."""
    world.open("f", caching=lease("a", RWH))
    waiting = world.start_open("f")
    world.advance(34)
    assert not waiting.is_done
    world.advance(2)
    assert waiting.is_done and waiting.error is None
    world.settle()
    with pytest.raises(Exception, match="UNSUCCESSFUL"):
        world.volume.acknowledge_lease(ANA_GUID, key("a"), RH)


def test_a_holder_that_cannot_be_told_loses_its_opens(world):
    """The port: `lease_break` says False as its client is gone; nobody waits for it."""
    world.can_tell = False
    first = world.open("f", ALL, 0, caching=lease("a", RWH))
    assert world.open_result("f").action == fscc.FILE_OPENED
    assert first.is_closed and world.purged == [first]
    reader = world.open("f", caching=oplock(II))
    assert world.open("f").write_now(0, memoryview(b"x"))
    assert not reader.is_closed, "no answer is needed for level II"


def test_a_cancelled_open_is_forgotten(world):
    """[MS-SMB2] 3.3.5.16: CANCEL of a CREATE that waits."""
    first = world.open("f", caching=lease("a", RWH))
    waiting = world.start_open("f")
    waiting.cancel()
    world.volume.acknowledge_lease(ANA_GUID, key("a"), RH)
    assert first.state.opens == [first]


def test_an_open_that_came_too_late_for_its_cancel_is_closed(world):
    """The open was decided, then cancelled before its task ran: no trace of it stays."""
    first = world.open("f", caching=lease("a", RWH))
    waiting = world.start_open("f")
    world.volume.acknowledge_lease(ANA_GUID, key("a"), RH)
    assert len(first.state.opens) == 2
    waiting.cancel()
    assert first.state.opens == [first]


def test_writing_takes_read_caching_from_others(world):
    """[MS-FSA] 2.1.5.4: WRITE breaks level II oplocks and READ caching; the writer does not wait."""
    one = world.open("f", caching=lease("a", RH))
    two = world.open("f", caching=lease("b", R, client="bob"))
    other = world.open("f")
    assert other.write_now(0, memoryview(b"x"))
    assert told(world) == [("a", RH, NONE, True), ("b", R, NONE, False)]
    assert one.write_now(0, memoryview(b"y")) and two.caching.state == NONE
    assert told(world) == []


@pytest.mark.parametrize("change", [
    lambda file: file.set_end_of_file(3), lambda file: file.set_allocation(100),
    lambda file: file.lock([RangeLock(0, 1, True)], True), lambda file: file.zero_data(0, 3),
    lambda file: file.trim([(0, 3)]), lambda file: file.write(0, memoryview(b"x")),
])
def test_every_change_of_data_breaks_read_caching(world, change):
    """[MS-FSA] 2.1.4.12: EndOfFile, Allocation, LOCK_CONTROL, FS_CONTROL and WRITE break to none."""
    world.open("f", caching=lease("a", R))
    world.run(change(world.open("f")))
    assert told(world) == [("a", R, NONE, False)]


def test_a_level_two_oplock_goes_with_its_owners_write(world):
    """[MS-FSA] 2.1.4.12: without a key even the owner's write breaks level II."""
    one = world.open_result("f", caching=oplock(II)).file
    assert one.caching.level == II and one.write_now(0, memoryview(b"x"))
    assert world.oplock_breaks == [(one, NONE, False)] and one.caching.level == NONE


def test_batch_breaks_to_level_two(world):
    """[MS-SMB2] 3.3.5.22.1 Processing an Oplock Acknowledgment."""
    one = world.open("f", caching=oplock(BATCH))
    waiting = world.start_open("f", caching=oplock(BATCH))
    assert world.oplock_breaks == [(one, II, True)]
    assert world.volume.acknowledge_oplock(one, II) == II
    world.settle()
    assert waiting.result.caching.level == II and one.caching.level == II


@pytest.mark.parametrize(("level", "status"), [
    (EXCLUSIVE, Status.INVALID_OPLOCK_PROTOCOL), (BATCH, Status.INVALID_OPLOCK_PROTOCOL),
    (0xFF, Status.INVALID_PARAMETER), (II, Status.INVALID_DEVICE_STATE)])
def test_answers_that_are_no_answers(world, level, status):
    """[MS-SMB2] 3.3.5.22.1: a wrong level, or no break in progress."""
    one = world.open("f", caching=oplock(BATCH))
    with pytest.raises(Exception, match=status.name):
        world.volume.acknowledge_oplock(one, level)
    with pytest.raises(Exception, match="INVALID_DEVICE_STATE"):
        world.volume.acknowledge_oplock(world.open("f", 0x80), NONE)


def test_overwriting_breaks_to_none(world):
    """[MS-FSA] 2.1.4.12: FILE_OVERWRITE, FILE_OVERWRITE_IF and FILE_SUPERSEDE break to none."""
    world.open("f", caching=lease("a", RWH))
    waiting = world.start_open("f", disposition=fscc.FILE_OVERWRITE)
    assert told(world) == [("a", RWH, NONE, True)]
    world.volume.acknowledge_lease(ANA_GUID, key("a"), NONE)
    world.settle()
    assert waiting.result.action == fscc.FILE_OVERWRITTEN and waiting.result.file.stream.size_bytes == 0


@pytest.mark.parametrize("access", [dtyp.FILE_READ_ATTRIBUTES, dtyp.SYNCHRONIZE | dtyp.FILE_WRITE_ATTRIBUTES])
def test_looking_breaks_nothing(world, access):
    """[MS-FSA] 2.1.4.12: an open for attributes and SYNCHRONIZE alone does not break."""
    world.open("f", caching=lease("a", RWH))
    one = world.open_result("f", access, caching=lease("b", RWH, client="bob"))
    assert told(world) == [] and one.caching.state == NONE
    assert world.open_result("f", access).action == fscc.FILE_OPENED


def test_deleting_and_renaming_take_handle_caching(world):
    """[MS-FSA] 2.1.5.15.3, 2.1.5.15.11: HANDLE caching of the others is broken before the name goes."""
    one = world.open("f")
    two = world.open("f", caching=lease("b", RH, client="bob"))
    deleting = world.start(one.set_disposition(1))
    assert told(world) == [("b", RH, R, True)] and not one.is_delete_pending()
    world.close(two)
    world.settle()
    assert deleting.is_done and one.is_delete_pending()


def test_delete_on_close_takes_handle_caching_when_it_closes(world):
    """[MS-FSA] 2.1.5.5: whoever only caches its handle learns that the file is going."""
    two = world.open("f", caching=lease("b", RH, client="bob"))
    world.close(world.open("f", dtyp.DELETE, options=fscc.FILE_DELETE_ON_CLOSE))
    assert told(world) == [("b", RH, R, True)]
    world.close(two)
    assert not world.exists("f")


# directories


def test_a_directory_lease_is_broken_by_what_changes_its_entries(world):
    """[MS-FSA] 2.1.4.12, PARENT_OBJECT: changes below a directory break its READ caching."""
    world.mkdir("d")
    world.write_file("d\\x")

    def leased():
        result = world.open_result("d", READ, caching=lease("dir", RWH), options=fscc.FILE_DIRECTORY_FILE)
        assert result.caching.state == RH
        world.lease_breaks.clear()
        return result.file

    def end(directory):
        broken = told(world)
        world.close(directory)
        return broken

    gone = [("dir", RH, NONE, True)]
    directory = leased()
    world.close(world.open("d\\x", READ))
    assert end(directory) == []
    for change in (lambda f: f.set_basic(0, 0, 0, 0, 0x100), lambda f: f.rename("d\\y", False),
                   lambda f: f.set_end_of_file(5)):
        world.write_file("d\\x")
        directory = leased()
        file = world.open("d\\x", disposition=fscc.FILE_OPEN)
        world.run(change(file))
        assert end(directory) == gone
        world.close(file)
    directory = leased()
    file = world.open("d\\y", disposition=fscc.FILE_OPEN)
    assert file.write_now(0, memoryview(b"x")) and told(world) == []
    world.close(file)
    assert end(directory) == gone
    directory = leased()
    world.close(world.open("d\\new", disposition=fscc.FILE_CREATE))
    assert end(directory) == gone
    directory = leased()
    world.close(world.open("d\\new", options=fscc.FILE_DELETE_ON_CLOSE))
    assert end(directory) == gone


def test_a_changer_spares_the_directory_lease_that_it_names(world):
    """[MS-FSA] 2.1.4.12.2 Algorithm to Compare Oplock Keys: "If OperationOpen.ParentOplockKey equals
    OplockOpen.TargetOplockKey: Return TRUE", whichever client holds it."""
    world.mkdir("d")
    world.open("d", READ, caching=lease("mine", RH), options=fscc.FILE_DIRECTORY_FILE)
    world.open("d", READ, caching=lease("other", RH, client="bob"), options=fscc.FILE_DIRECTORY_FILE)
    world.close(world.open("d\\new", caching=lease("n", RWH, parent="mine", client="bob")))
    assert told(world) == [("other", RH, NONE, True)]


def test_deletion_spares_only_whom_deleter_and_closer_both_name(world):
    """[MS-FSA] 2.1.4.12.2 Algorithm to Compare Oplock Keys: ParentOplockKey spares a directory's caching; two
    had a part in the deletion, who marked the file and who closed it last."""
    for last, expected in (("mine", []), ("other", [("mine", RH, NONE, True)])):
        world.mkdir("d")
        world.write_file("d\\x")
        directory = world.open("d", READ, caching=lease("mine", RH), options=fscc.FILE_DIRECTORY_FILE)
        one = world.open("d\\x", caching=lease("x", R, parent="mine"))
        two = world.open("d\\x", READ, caching=lease("y", R, client="bob", parent=last))
        world.run(one.set_disposition(1))
        world.close(one, two)
        assert told(world) == expected
        world.close(directory)
        world.close(world.open("d", options=fscc.FILE_DELETE_ON_CLOSE))


def test_of_several_who_mark_for_deletion_with_different_keys_none_is_spared(world):
    """[MS-FSA] 2.1.4.12.2 Algorithm to Compare Oplock Keys: a change by several spares no one's caching."""
    world.mkdir("d")
    world.write_file("d\\x")
    world.open("d", READ, caching=lease("mine", RH), options=fscc.FILE_DIRECTORY_FILE)
    one = world.open(
        "d\\x", caching=lease("x", R, parent="mine"), options=fscc.FILE_DELETE_ON_CLOSE
    )
    two = world.open("d\\x", caching=lease("y", R, client="bob", parent="other"))
    world.run(two.set_disposition(1))
    world.close(two, one)
    assert told(world) == [("mine", RH, NONE, True)]


def test_a_directory_that_is_not_shared_gives_up_its_handles_for_a_rename_into_it(world):
    """[MS-SMB2] 3.3.1.4 Algorithm for Leasing in an Object Store: HANDLE goes before sharing refuses."""
    world.mkdir("d")
    world.write_file("f")
    world.open("d", READ, share=0, caching=lease("dir", RH), options=fscc.FILE_DIRECTORY_FILE)
    renaming = world.start(world.open("f").rename("d\\f", False))
    assert told(world) == [("dir", RH, R, True)] and not renaming.is_done
    world.volume.acknowledge_lease(ANA_GUID, key("dir"), R)
    world.settle()
    assert renaming.status is Status.SHARING_VIOLATION


def test_locks_of_others_leave_nothing_to_grant(world):
    """[MS-FSA] 2.1.5.18.2: no caching beside another's byte-range locks; one's own do not matter."""
    locker = world.open("f", caching=lease("a", RWH))
    world.run(locker.lock([RangeLock(0, 1, True)], True))
    assert world.open_result("f", caching=lease("a", RWH)).caching.state == RWH
    waiting = world.start_open("f", caching=lease("b", R, client="bob", epoch=100))
    world.volume.acknowledge_lease(ANA_GUID, key("a"), RH)
    world.settle()
    assert waiting.result.caching.state == NONE and waiting.result.caching.epoch == 100


def test_a_directory_gets_no_oplock_and_no_version_one_lease(world):
    """[MS-SMB2] 3.3.5.9.8: leases of version 1 are for files."""
    world.mkdir("d")
    assert world.open_result("d", READ, caching=lease("v1", RH, version=1)).caching.level == 0
    assert world.open_result("d", READ, caching=oplock(BATCH)).caching.level == 0


def test_a_kept_open_goes_when_the_last_live_one_deletes(world):
    """Deleting on close purges the kept open of the same name on the way; both are gone, and counted once."""
    kept = world.open("f", caching=lease("a", RH), durable=DurableRequest(1))
    assert kept.client_lost()
    world.close(world.open("f", dtyp.DELETE, options=fscc.FILE_DELETE_ON_CLOSE))
    assert kept.is_closed and not world.exists("f") and not world.volume.open_nodes


def test_tokens_are_told_apart_by_identity(world):
    """Maximal access is remembered for a token object, never for one that merely looks at the same memory."""
    assert world.volume.own_access(world.fs.root(), ANA) == world.volume.own_access(world.fs.root(), ANA)
