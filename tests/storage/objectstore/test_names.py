"""Names, patterns, renaming, linking, deleting, listing."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smbproto import dtyp, fscc
from smbproto.status import Status, StatusError
from storage.objectstore.names import matcher, parse_path
from tests.storage.objectstore.world import ALL, BOB, READ, ROOT, World, ea

S = Status


@pytest.fixture
def world():
    made = World()
    made.mkdir("d")
    made.write_file("d\\a", b"a")
    made.write_file("b", b"b")
    return made


# patterns


@pytest.mark.parametrize(("pattern", "matching", "others"), [
    ("*", ["a", "a.b", ""], []),
    ("*.*", ["a.b", "a"], []),
    ("*.txt", ["a.TXT", ".txt", "a.b.txt"], ["a.txt2", "txt"]),
    ("a?c", ["abc", "a.c"], ["ac", "abcd"]),
    ("<", ["abc", ""], ["a.b", ".b"]),
    ("<.b", ["a.b", "a.c.b", ".b"], ["a.b.c", "b"]),
    ("<\"*", ["a", "a.b", "a.b.c"], []),
    ("a>>>.t", ["a.t", "ab.t", "abcd.t"], ["abcde.t", "b.t"]),
    ("a>>", ["a", "ab", "abc"], ["abcd", "a.b"]),
    ("a\"b", ["a.b"], ["ab", "a"]),
    ("a\"", ["a", "a."], ["ab"]),
    ("[a]+", ["[A]+"], ["a"]),
])
def test_dos_wildcards(pattern, matching, others):
    """[MS-FSA] 2.1.4.4 Algorithm for Determining if a FileName Is in an Expression."""
    matches = matcher(pattern, str.upper)
    for name in matching:
        assert matches is None or matches(name.upper()), name
    for name in others:
        assert matches is not None and not matches(name.upper()), name


@given(st.text("ab.", max_size=6), st.text("ab.*?", max_size=5))
@settings(max_examples=150)
def test_plain_wildcards_are_those_of_a_simple_regex(name, pattern):
    """`*` and `?` mean what they mean everywhere."""
    matches = matcher(pattern, str)
    simple = "".join(".*" if c == "*" else "." if c == "?" else re.escape(c) for c in pattern)
    expected = pattern in ("", "*.*") or re.fullmatch(simple, name) is not None
    assert (matches is None or bool(matches(name))) is expected


@given(st.text(max_size=40))
@settings(max_examples=200)
def test_any_path_parses_or_is_refused(path):
    """Bad input gives a status, never a traceback; what parses is within limits."""
    try:
        parsed = parse_path(path)
    except StatusError as error:
        assert error.status in (S.OBJECT_NAME_INVALID, S.OBJECT_PATH_SYNTAX_BAD)
        return
    for name in parsed.components:
        assert name and not set(name) & set('\\/:*?"<>|\0') and name not in (".", "..")


# listing


def listing(world, path, pattern="*", **more):
    directory = world.open(path, READ, options=fscc.FILE_DIRECTORY_FILE, **more)
    scan = directory.scan(pattern, False, False)
    found = []
    while (entry := scan.next()) is not None:
        found.append(entry.name)
    world.close(directory)
    return found


def test_a_listing_begins_with_the_dots(world):
    """[MS-FSA] 2.1.5.6.3: "." and ".." where the pattern lets them through."""
    for index in range(1200):
        world.fs.make(world.fs.lookup(world.fs.root(), "d").node, f"f{index:04}", is_directory=False,
                      attributes=0x20, now=1, security=b"")
    assert listing(world, "d") == [".", "..", "a", *(f"f{index:04}" for index in range(1200))]
    assert listing(world, "d", "f11?9") == [f"f11{n}9" for n in range(10)]
    assert listing(world, "d", "F0007") == ["f0007"]
    assert listing(world, "d", "none") == [] and listing(world, "d", "*.x") == []
    assert listing(world, "d", ".*")[:2] == [".", ".."]


def test_the_pattern_stays_until_reopened(world):
    """[MS-SMB2] 3.3.5.18: SMB2_RESTART_SCANS keeps the pattern, SMB2_REOPEN takes a new one."""
    directory = world.open("", READ)
    scan = directory.scan("b", False, False)
    assert scan.next().name == "b" and scan.next() is None
    assert directory.scan("d", False, False).next() is None
    assert directory.scan("d", True, False).next().name == "b"
    again = directory.scan("d", False, True)
    entry = again.next()
    assert entry.name == "d"
    again.unread(entry)
    assert again.next() is entry and again.next() is None


def test_listing_needs_a_directory_and_the_right(world):
    """[MS-FSA] 2.1.5.6: INVALID_PARAMETER for a file, ACCESS_DENIED without FILE_LIST_DIRECTORY."""
    for path, access, status in (("b", ALL, S.INVALID_PARAMETER), ("d", 0x80, S.ACCESS_DENIED)):
        with pytest.raises(StatusError) as caught:
            world.open(path, access).scan("*", False, False)
        assert caught.value.status is status


# renaming


def test_a_rename_moves_the_name_for_every_open(world):
    """[MS-FSA] 2.1.5.15.11 FileRenameInformation: all that came by the link see its new name."""
    one, two = world.open("d\\a"), world.open("d\\a", READ)
    world.run(one.rename("c", False))
    assert one.name() == two.name() == "\\c" and world.read_file("c") == b"a" and not world.exists("d\\a")
    world.run(one.rename("d\\C2", False))
    assert two.name() == "\\d\\C2"
    assert one.node.attributes & fscc.FILE_ATTRIBUTE_ARCHIVE


@pytest.mark.parametrize(("source", "target", "replace", "status"), [
    ("d\\a", "b", False, S.OBJECT_NAME_COLLISION), ("d\\a", "d", True, S.ACCESS_DENIED),
    ("d", "b", True, S.ACCESS_DENIED), ("d", "d\\x", False, S.INVALID_PARAMETER),
    ("b", "none\\x", False, S.OBJECT_PATH_NOT_FOUND), ("b", "d\\a\\x", False, S.OBJECT_PATH_NOT_FOUND),
    ("b", "x*", False, S.OBJECT_NAME_INVALID), ("b", "x:y", False, S.OBJECT_NAME_INVALID),
    ("b", ":s", False, S.INVALID_PARAMETER), ("", "x", False, S.ACCESS_DENIED)])
def test_renames_that_are_refused(world, source, target, replace, status):
    """[MS-FSA] 2.1.5.15.11 FileRenameInformation."""
    file = world.open(source, ALL if source else ROOT)
    assert world.refuses(file.rename(target, replace)) is status
    assert world.read_file("b") == b"b" and world.exists("d\\a")


def test_changing_case_is_a_rename(world):
    """A name that differs only in case is the same name, written otherwise."""
    world.run(world.open("b").rename("B", False))
    assert "B" in listing(world, "")


def test_replacing_ends_the_old_file(world):
    """[MS-FSA] 2.1.5.15.11: ReplaceIfExists; not while the target is open, unless with POSIX semantics."""
    old, new = world.open("b", READ), world.open("d\\a")
    assert world.refuses(new.rename("b", True)) is S.ACCESS_DENIED
    world.run(new.rename("b", True, posix=True))
    assert old.is_delete_pending() and world.read_file("b") == b"a"
    into = memoryview(bytearray(1))
    assert old.read_now(0, into) == 1 and bytes(into) == b"b"
    world.close(old, new)
    world.write_file("z")
    world.run(world.open("z").rename("b", True))
    assert world.read_file("b") == b""


def test_a_read_only_or_foreign_file_is_not_replaced(world):
    """[MS-FSA] 2.1.5.15.11: ACCESS_DENIED for READONLY; deleting the target needs the right to."""
    world.close(world.open("ro", attributes=1))
    file = world.open("b")
    assert world.refuses(file.rename("ro", True)) is S.ACCESS_DENIED
    node = world.fs.lookup(world.fs.lookup(world.fs.root(), "d").node, "a").node
    parent = world.fs.lookup(world.fs.root(), "d").node
    deny = dtyp.SecurityDescriptor(None, None, dtyp.Acl((dtyp.Ace(
        0, 0, dtyp.FILE_ADD_FILE | dtyp.FILE_LIST_DIRECTORY, dtyp.SID_EVERYONE),)), None, 0x8004).encode()
    for one in (node, parent):
        world.fs.set_security(one, deny)
        world.volume.descriptor_changed(one, deny)
    assert world.refuses(file.rename("d\\a", True)) is S.ACCESS_DENIED


def test_a_directory_moves_only_when_nothing_below_is_open(world):
    """[MS-FSA] 2.1.4.2 Algorithm for Detecting If Open Files Exist Under a Directory."""
    world.mkdir("d\\sub")
    world.write_file("d\\sub\\deep")
    directory = world.open("d")
    deep = world.open("d\\sub\\deep", READ)
    assert world.refuses(directory.rename("e", False)) is S.ACCESS_DENIED
    world.close(deep)
    world.run(directory.rename("e", False))
    assert world.exists("e\\sub\\deep") and not world.exists("d")


def test_the_target_directory_is_opened_to_add(world):
    """Renaming adds a name to a directory: with its rights, and its sharing."""
    file = world.open("b")
    guard = world.open("d", dtyp.DELETE)
    assert world.refuses(file.rename("d\\b", False)) is S.SHARING_VIOLATION
    world.close(guard)
    world.run(file.rename("d\\b", False))


def test_streams_are_renamed_within_their_file(world):
    """[MS-FSA] 2.1.5.15.11: a stream's new name begins with a colon."""
    world.close(world.open("b:two"))
    stream = world.open("b:one")
    stream.write_now(0, memoryview(b"1"))
    assert world.refuses(stream.rename(":two", False)) is S.OBJECT_NAME_COLLISION
    assert world.refuses(stream.rename("c", False)) is S.INVALID_PARAMETER
    world.run(stream.rename(":two", True))
    assert [s.name for s in stream.streams()] == ["", "two"] and stream.name() == "\\b:two"
    world.run(stream.rename(":Drei:$DATA", False))
    world.close(stream)
    assert world.read_file("b:DREI") == b"1"


def test_a_stream_can_become_the_default_one(world):
    """[MS-FSA] 2.1.5.15.11: the new name "::$DATA"."""
    stream = world.open("b:s")
    stream.write_now(0, memoryview(b"of the stream"))
    assert world.refuses(stream.rename("::$DATA", False)) is S.OBJECT_NAME_COLLISION
    other = world.open("b", READ)
    assert world.refuses(stream.rename("::$DATA", True)) is S.ACCESS_DENIED
    world.close(other)
    world.run(stream.rename("::$DATA", True))
    assert [s.name for s in stream.streams()] == [""] and stream.name() == "\\b"
    world.close(stream)
    assert world.read_file("b") == b"of the stream" and not world.volume.open_nodes


# links and deletion


def test_links_are_names_of_one_file(world):
    """[MS-FSA] 2.1.5.15.6 FileLinkInformation."""
    file = world.open("b")
    world.run(file.link("d\\l", False))
    assert file.link_count() == 2
    assert world.refuses(file.link("d\\a", False)) is S.OBJECT_NAME_COLLISION
    world.run(file.link("d\\a", True))
    assert file.node.links == 3 and world.read_file("d\\a") == b"b"
    assert world.refuses(world.open("d").link("e", False)) is S.FILE_IS_A_DIRECTORY
    world.close(file)
    other = world.open("d\\l", dtyp.DELETE | READ)
    world.run(other.set_disposition(1))
    assert other.link_count() == 2 and world.open_status("d\\l", READ) is S.DELETE_PENDING
    world.close(world.open("b", READ), other)
    assert not world.exists("d\\l") and world.read_file("b") == b"b"


def test_disposition_can_be_taken_back(world):
    """[MS-FSA] 2.1.5.15.3 FileDispositionInformation."""
    file = world.open("b")
    world.run(file.set_disposition(1))
    assert file.is_delete_pending()
    world.run(file.set_disposition(0))
    world.close(file)
    assert world.exists("b")


@pytest.mark.parametrize(("path", "access", "status"), [
    ("d", ALL, S.DIRECTORY_NOT_EMPTY), ("", ROOT, S.CANNOT_DELETE), ("b", READ, S.ACCESS_DENIED)])
def test_what_cannot_be_deleted(world, path, access, status):
    """[MS-FSA] 2.1.5.15.3 FileDispositionInformation."""
    assert world.refuses(world.open(path, access).set_disposition(1)) is status


def test_posix_deletion_frees_the_name_at_once(world):
    """[MS-FSCC] 2.4.13, POSIX_SEMANTICS: the name goes with this handle, the file with the last."""
    one, two = world.open("b"), world.open("b")
    world.run(one.set_disposition(3))
    world.close(one)
    assert not world.exists("b") and two.is_delete_pending()
    world.write_file("b", b"new")
    assert two.write_now(0, memoryview(b"old")) and world.read_file("b") == b"new"
    world.close(two)
    assert world.read_file("b") == b"new" and not world.volume.open_nodes


def test_deleting_a_stream_keeps_the_file(world):
    """[MS-FSA] 2.1.5.5: the disposition of a stream's open is the stream's."""
    stream = world.open("b:s")
    world.run(stream.set_disposition(1))
    assert world.open_status("b:s", READ) is S.DELETE_PENDING
    world.close(world.open("b", READ), stream)
    assert [s.name for s in world.open("b", READ).streams()] == [""]


def test_nothing_is_created_in_a_directory_that_goes(world):
    """[MS-FSA] 2.1.5.1.1: a parent that is being deleted is STATUS_DELETE_PENDING."""
    world.mkdir("e")
    directory = world.open("e")
    world.run(directory.set_disposition(1))
    assert world.open_status("e\\x") is S.DELETE_PENDING
    assert world.refuses(world.open("b").rename("e\\b", False)) is S.DELETE_PENDING


def test_eas_and_descriptor_survive_a_rename(world):
    """A rename changes the name alone."""
    file = world.open("mine", token=BOB, eas=[ea(b"K", b"v")])
    before = file.security(7)
    world.run(file.rename("d\\mine", False))
    assert file.eas() == [ea(b"K", b"v")] and file.security(7) == before
