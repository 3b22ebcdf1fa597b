"""Paths, locations and links."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smbclient.names import Location, join, normalize, resolve_symlink, wire_path
from smbproto.status import Status, StatusError, StoppedOnSymlink


@pytest.mark.parametrize(("given_path", "normal"), [
    ("", ""), ("/", ""), (".", ""), ("a", "a"), ("/a//b/", "a/b"), ("a/./b", "a/b"), ("a/../b", "b"),
    ("a\\b", "a/b"), ("a/b/../..", ""), ("a b/ü", "a b/ü"), ("file:stream", "file:stream"),
])  # fmt: skip
def test_paths_are_normalized(given_path, normal):
    assert normalize(given_path) == normal
    assert wire_path(given_path) == normal.replace("/", "\\")


@pytest.mark.parametrize("path", ["..", "a/../..", "/../x", "a\\..\\..\\b"])
def test_no_path_leads_out_of_the_share(path):
    with pytest.raises(StatusError) as caught:
        normalize(path)
    assert caught.value.status == Status.OBJECT_PATH_SYNTAX_BAD


def test_a_nul_is_refused():
    with pytest.raises(StatusError) as caught:
        normalize("a\0b")
    assert caught.value.status == Status.OBJECT_NAME_INVALID


@given(st.text(max_size=40))
def test_normalizing_twice_changes_nothing(path):
    try:
        once = normalize(path)
    except StatusError:
        return
    assert normalize(once) == once


@pytest.mark.parametrize(("text", "location"), [
    ("//host/share", Location("host", None, "share", "")),
    ("//host:1445/share/a/b", Location("host", 1445, "share", "a/b")),
    ("//ana@host/share/a b", Location("host", None, "share", "a b", "ana")),
    ("\\\\host\\share\\dir\\file", Location("host", None, "share", "dir/file")),
    ("//[::1]:1445/share", Location("::1", 1445, "share", "")),
    ("//[fe80::1]/share/x", Location("fe80::1", None, "share", "x")),
    ("smb://DOM;ana@host:99/share/a%20b", Location("host", 99, "share", "a b", "ana", "DOM")),
    ("//host", Location("host", None, "", "")),
])  # fmt: skip
def test_locations(text, location):
    assert Location.parse(text) == location


@pytest.mark.parametrize("text", [
    "host/share", "/host/share", "//", "///share", "//host:port/share", "//host:0/share", "//host:70000/s",
    "//[::1/s",
    "smb://ana:secret@host/share",
])  # fmt: skip
def test_bad_locations_say_how_to_write_them(text):
    with pytest.raises(ValueError) as caught:
        Location.parse(text)
    assert "secret" not in str(caught.value)


@given(st.from_regex(r"//[a-z]{1,5}(:[1-9][0-9]{0,3})?/[a-z]{1,4}(/[a-z]{1,3}){0,3}", fullmatch=True))
def test_a_printed_location_parses_to_itself(text):
    assert str(Location.parse(text)) == text


@pytest.mark.parametrize(("path", "unparsed", "target", "resolved"), [
    ("dir/link", "", "file", "dir/file"),
    ("dir/link/rest/of", "\\rest\\of", "other", "dir/other/rest/of"),
    ("dir/link", "", "..\\top", "top"),
    ("link", "", "deep\\er", "deep/er"),
])  # fmt: skip
def test_relative_links_are_followed_inside_the_share(path, unparsed, target, resolved):
    """[MS-SMB2] 2.2.2.2.1.1: UnparsedPathLength counts the bytes of the path behind the link."""
    stop = StoppedOnSymlink(target, target, relative=True, unparsed_path_length_bytes=2 * len(unparsed))
    assert resolve_symlink(path, stop) == resolved


def test_links_out_of_the_share_are_not_followed():
    stop = StoppedOnSymlink("..\\..\\x", "x", relative=True, unparsed_path_length_bytes=0)
    with pytest.raises(StatusError):
        resolve_symlink("dir/link", stop)
    stop = StoppedOnSymlink("\\??\\C:\\x", "C:\\x", relative=False, unparsed_path_length_bytes=0)
    with pytest.raises(StatusError, match=r"C:\\\\x"):
        resolve_symlink("dir/link", stop)


def test_joining():
    assert join("a", "b/c", "", "../d") == "a/b/d"
