"""Change notification."""

import pytest

from smbproto import dtyp, fscc
from smbproto.status import Status
from tests.storage.objectstore.world import READ, World, ea

S = Status
NAME, DIR_NAME, ATTRIBUTES, ANY = 1, 2, 4, 0xFFF
ADDED, REMOVED, MODIFIED, OLD, NEW, ADDED_STREAM, REMOVED_STREAM, MODIFIED_STREAM = range(1, 9)


@pytest.fixture
def world():
    made = World()
    made.mkdir("d")
    made.mkdir("d\\sub")
    made.write_file("d\\a", b"a")
    return made


def watch(world, directory, filter_=ANY, tree=False, limit=4096):
    return world.start(directory.watch(filter_, tree, limit))


def seen(world, task):
    world.settle()
    assert task.is_done, "nothing was told"
    if task.error is not None:
        return task.status
    return task.result


def test_a_change_wakes_who_watches(world):
    """[MS-FSA] 2.1.4.1 Algorithm for Reporting a Change Notification for a Directory."""
    directory = world.open("d", READ)
    waiting = watch(world, directory)
    world.write_file("other")
    assert not waiting.is_done
    world.close(world.open("d\\new"))
    assert seen(world, waiting) == [(ADDED, "new")]


def test_changes_between_calls_are_kept(world):
    """[MS-FSA] 2.1.5.11: what happens while nobody waits is told by the next call; renames give pairs."""
    directory = world.open("d", READ)
    waiting = watch(world, directory, NAME)
    world.close(world.open("d\\one"))
    assert seen(world, waiting) == [(ADDED, "one")]
    world.run(world.open("d\\one").rename("d\\two", False))
    world.run(world.open("d\\two").rename("moved", False))
    world.run(world.open("moved").rename("d\\back", False))
    world.close(world.open("d\\a", dtyp.DELETE, options=fscc.FILE_DELETE_ON_CLOSE))
    assert seen(world, watch(world, directory)) == [
        (OLD, "one"), (NEW, "two"), (REMOVED, "two"), (ADDED, "back"), (REMOVED, "a")]


@pytest.mark.parametrize(("filter_", "change", "expected"), [
    (DIR_NAME, lambda w: w.mkdir("d\\n"), [(ADDED, "n")]),
    (NAME, lambda w: w.mkdir("d\\n"), None),
    (ATTRIBUTES, lambda w: w.run(w.open("d\\a").set_basic(0, 0, 0, 0, 2)), [(MODIFIED, "a")]),
    (ATTRIBUTES, lambda w: w.run(w.open("d\\a").rename("d\\b", False)), [(MODIFIED, "b")]),
    (ATTRIBUTES | NAME, lambda w: w.run(w.open("d\\a").rename("d\\b", False)), [(OLD, "a"), (NEW, "b")]),
    (ATTRIBUTES, lambda w: w.run(w.open("d\\sub").rename("d\\bus", False)), None),
    (fscc.FILE_NOTIFY_CHANGE_CREATION, lambda w: w.run(w.open("d\\a").set_basic(5, 0, 0, 0, 0)),
     [(MODIFIED, "a")]),
    (fscc.FILE_NOTIFY_CHANGE_SIZE, lambda w: w.open("d\\a").write_now(0, memoryview(b"abc")),
     [(MODIFIED, "a")]),
    (fscc.FILE_NOTIFY_CHANGE_SIZE, lambda w: w.open("d\\a").write_now(0, memoryview(b"x")), None),
    (fscc.FILE_NOTIFY_CHANGE_LAST_WRITE, lambda w: w.open("d\\a").write_now(0, memoryview(b"x")),
     [(MODIFIED, "a")]),
    (fscc.FILE_NOTIFY_CHANGE_EA, lambda w: w.run(w.open("d\\a").set_eas([ea(b"K", b"v")])),
     [(MODIFIED, "a")]),
    (fscc.FILE_NOTIFY_CHANGE_STREAM_NAME, lambda w: w.open("d\\a:s"), [(ADDED_STREAM, "a:s:$DATA")]),
    (fscc.FILE_NOTIFY_CHANGE_STREAM_WRITE,
     lambda w: w.open("d\\a:s").write_now(0, memoryview(b"x")), [(MODIFIED_STREAM, "a:s:$DATA")]),
    (fscc.FILE_NOTIFY_CHANGE_STREAM_NAME,
     lambda w: w.close(w.open("d\\a:s", options=fscc.FILE_DELETE_ON_CLOSE)),
     [(ADDED_STREAM, "a:s:$DATA"), (REMOVED_STREAM, "a:s:$DATA")]),
])
def test_filters(world, filter_, change, expected):
    """[MS-SMB2] 2.2.35: CompletionFilter."""
    directory = world.open("d", READ)
    waiting = watch(world, directory, filter_)
    change(world)
    if expected is None:
        world.settle()
        assert not waiting.is_done
    else:
        assert seen(world, waiting) == expected


def test_a_tree_tells_relative_paths(world):
    """[MS-FSA] 2.1.4.1: WatchTree; names are relative to the directory that is watched."""
    tree, flat = world.open("d", READ), world.open("d", READ)
    in_tree, only_here = watch(world, tree, tree=True), watch(world, flat)
    world.close(world.open("d\\sub\\x"))
    assert seen(world, in_tree) == [(ADDED, "sub\\x")]
    assert not only_here.is_done
    top = world.open("", READ)
    at_top = watch(world, top, tree=True)
    world.close(world.open("d\\sub\\x", options=fscc.FILE_DELETE_ON_CLOSE))
    assert seen(world, at_top) == [(REMOVED, "d\\sub\\x")]


def test_too_much_is_told_as_such(world):
    """[MS-FSA] 2.1.5.11: STATUS_NOTIFY_ENUM_DIR; afterwards it goes on."""
    directory = world.open("d", READ)
    waiting = watch(world, directory, NAME, limit=40)
    world.close(world.open("d\\1"))
    assert seen(world, waiting) == [(ADDED, "1")]
    for index in range(10):
        world.close(world.open(f"d\\f{index}"))
    assert seen(world, watch(world, directory, limit=40)) is S.NOTIFY_ENUM_DIR
    waiting = watch(world, directory, limit=40)
    world.close(world.open("d\\g"))
    assert seen(world, waiting) == [(ADDED, "g")]
    world.close(world.open("d\\h"))
    assert seen(world, watch(world, directory, limit=0)) is S.NOTIFY_ENUM_DIR


def test_the_first_call_sets_filter_and_depth(world):
    """Windows: filter, depth and buffer are those of the first call of an open."""
    directory = world.open("d", READ)
    waiting = watch(world, directory, DIR_NAME)
    world.mkdir("d\\n")
    assert seen(world, waiting) == [(ADDED, "n")]
    waiting = watch(world, directory, NAME)
    world.close(world.open("d\\file"))
    world.settle()
    assert not waiting.is_done


def test_the_end_is_told_to_all_that_wait(world):
    """[MS-SMB2] 3.3.5.10: closing tells STATUS_NOTIFY_CLEANUP; deleting, STATUS_DELETE_PENDING."""
    directory = world.open("d", READ)
    waiting = [watch(world, directory), watch(world, directory)]
    world.close(directory)
    assert [seen(world, task) for task in waiting] == [S.NOTIFY_CLEANUP] * 2
    assert world.volume.watch_count == 0
    directory, deleter = world.open("d\\sub", READ), world.open("d\\sub")
    task = watch(world, directory)
    world.run(deleter.set_disposition(1))
    assert seen(world, task) is S.DELETE_PENDING
    assert world.refuses(directory.watch(ANY, False, 100)) is S.DELETE_PENDING


def test_a_cancelled_watch_keeps_what_comes(world):
    """[MS-SMB2] 3.3.5.16: a cancelled request loses nothing for the next one."""
    directory = world.open("d", READ)
    watch(world, directory).cancel()
    world.close(world.open("d\\new"))
    assert seen(world, watch(world, directory)) == [(ADDED, "new")]


def test_who_may_watch(world):
    """[MS-FSA] 2.1.5.11: a directory, with FILE_LIST_DIRECTORY."""
    assert world.refuses(world.open("d\\a").watch(ANY, False, 100)) is S.INVALID_PARAMETER
    assert world.refuses(world.open("d", 0x80).watch(ANY, False, 100)) is S.ACCESS_DENIED
