"""QUERY_DIRECTORY. WPTS SMB2Basic (QueryDir); FSA QueryDirectory, QuerySearchPattern, CommonAlgorithm."""

from __future__ import annotations

import struct

import pytest

from smbproto import dtyp, fscc
from smbproto.fscc.directory import LAYOUTS
from smbproto.smb2.query_directory import SMB2_RESTART_SCANS, SMB2_RETURN_SINGLE_ENTRY
from smbproto.status import Status
from tests.conformance.harness import Client, Opened


def names(client: Client, folder: Opened, pattern: str = "*", flags: int = SMB2_RESTART_SCANS) -> list[str]:
    status, data = client.list(folder, fscc.FILE_NAMES_INFORMATION, pattern, flags)
    if status in (Status.NO_MORE_FILES, Status.NO_SUCH_FILE):
        return []
    assert status == Status.SUCCESS, status.name
    found, at = [], 0
    while True:
        following, _, length = struct.unpack_from("<III", data, at)
        found.append(data[at + 12 : at + 12 + length].decode("utf-16-le"))
        if not following:
            return found
        at += following


@pytest.fixture
def folder(client) -> Opened:
    made = client.directory("d")
    for name in ("f.txt", "ff.txt", "f.tx", "noext", "a.b.c"):
        client.put(f"d\\{name}")
    return made


def test_a_listing(client):
    """WPTS CommonAlgorithm_CreateSingleDirectory, _CreateDirectory_SubFile, _SubFiles, _SubFiles_Test."""
    made = client.directory("d")
    assert names(client, made) == [".", ".."]
    client.put(r"d\f")
    client.shut(client.directory(r"d\sub"))
    client.put(r"d\sub\f")
    assert sorted(names(client, made)) == [".", "..", "f", "sub"]
    assert len(names(client, client.directory(r"d\sub"))) == 3


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("f*", {"f.txt", "ff.txt", "f.tx"}),
        ("f?.txt", {"ff.txt"}),
        ("*.tx", {"f.tx"}),
        ("f<.txt", {"f.txt", "ff.txt"}),
        ("<.c", {"a.b.c"}),
        ("f.tx>", {"f.txt", "f.tx"}),
        ("f>>.txt", {"f.txt", "ff.txt"}),
        ('noext"', {"noext"}),
        ("F.TXT", {"f.txt"}),
        ("none", set()),
    ],
)
def test_patterns(client, folder, pattern, found):
    """WPTS BVT_QueryDirectoryBySearchPattern_*: asterisk, question mark, DOS_STAR, DOS_QM, DOS_DOT."""
    assert set(names(client, folder, pattern)) == found


def test_a_listing_in_pieces(client, folder):
    """WPTS BVT_SMB2Basic_QueryDir_*; FSA QueryDirectoryTestCase (model): one at a time, from the start
    again, and NO_MORE_FILES at the end."""
    info = fscc.FILE_NAMES_INFORMATION
    seen = []
    while found := names(client, folder, "*", SMB2_RETURN_SINGLE_ENTRY):
        assert len(found) == 1
        seen += found
    assert len(seen) == len(set(seen)) == 7
    assert client.list(folder, info)[0] == Status.NO_MORE_FILES
    assert len(names(client, folder, "*", SMB2_RESTART_SCANS)) == 7


def test_listings_that_are_refused(client, folder):
    """WPTS FSA QueryDirectoryTestCase (model)."""
    info = fscc.FILE_ID_BOTH_DIRECTORY_INFORMATION
    assert client.list(client.open("f"), info)[0] == Status.INVALID_PARAMETER
    blind = client.directory("d", access=dtyp.FILE_READ_ATTRIBUTES)
    assert client.list(blind, info)[0] == Status.ACCESS_DENIED
    assert client.list(folder, 0x42)[0] == Status.INVALID_INFO_CLASS
    assert client.list(folder, info, room=10)[0] == Status.INFO_LENGTH_MISMATCH
    fresh = client.directory("d")
    assert client.list(fresh, info, "none")[0] == Status.NO_SUCH_FILE
    assert client.list(fresh, info, "none")[0] == Status.NO_MORE_FILES


@pytest.mark.parametrize(
    ("pattern", "there", "found"),
    [
        ("*", ["a", "b.c"], {".", "..", "a", "b.c"}),
        ("*.*", ["a", "b.c"], {".", "..", "a", "b.c"}),
        ("Fi?e", ["Fine", "File", "Bile", "Fille", "Nine"], {"Fine", "File"}),
        ("*ile", ["File", "Pile", "While", "Tile", "Nine"], {"File", "Pile", "While", "Tile"}),
        ("*.txt", ["Fine.txt", "Tile.txt", "Nine.jpg"], {"Fine.txt", "Tile.txt"}),
        (
            "grc.*",
            ["grc.Blank.1.txt", "grc.Blank.2.txt", "grc_Bad_1.txt"],
            {"grc.Blank.1.txt", "grc.Blank.2.txt"},
        ),
        ("grc.B.?.txt", ["grc.B.1.txt", "grc.B.22.txt", "grc.C_1.txt"], {"grc.B.1.txt"}),
    ],
)
def test_search_patterns(client, pattern, there, found):
    """WPTS BVT_QueryDirectoryBySearchPattern_*_StarWildCard, _SpecialCase_StarWildCard,
    _WildCard_QuestionMark, _KleeneStarWildCard, _DOS_STAR_WildCard, _DOS_DOT_WildCard,
    _DOS_DOT_QuestionMark_WildCard."""
    made = client.directory("p")
    for name in there:
        client.put(f"p\\{name}")
    assert set(names(client, made, pattern)) == found


@pytest.mark.parametrize("suffix", ["::$INDEX_ALLOCATION", ":$I30:$INDEX_ALLOCATION"])
def test_a_directory_by_its_index(client, suffix):
    """WPTS Fs_CreateDiretory_QueryDirectory_Suffix_INDEX_ALLOCATION, ..._I30_INDEX_ALLOCATION."""
    made = client.directory("d" + suffix, disposition=fscc.FILE_CREATE)
    assert names(client, made) == [".", ".."]
    assert names(client, client.directory("d")) == [".", ".."]


CLASSES = [
    fscc.FILE_DIRECTORY_INFORMATION,
    fscc.FILE_FULL_DIRECTORY_INFORMATION,
    fscc.FILE_BOTH_DIRECTORY_INFORMATION,
    fscc.FILE_ID_FULL_DIRECTORY_INFORMATION,
    fscc.FILE_ID_BOTH_DIRECTORY_INFORMATION,
]


@pytest.mark.parametrize("info_class", CLASSES)
def test_entries_of_each_class(client, info_class):
    """WPTS BVT_QueryDirectory_FileDirectoryInformation, _FileFullDirectoryInformation,
    _FileBothDirectoryInformation, _FileIdFullDirectoryInformation, _FileIdBothDirectoryInformation: ".",
    "..", and the file with its sizes; entries begin at multiples of eight."""
    made = client.directory("d")
    client.put(r"d\file", bytes(1024))
    status, data = client.list(made, info_class)
    assert status == Status.SUCCESS
    fixed = {
        fscc.FILE_DIRECTORY_INFORMATION: 64,
        fscc.FILE_FULL_DIRECTORY_INFORMATION: 68,
        fscc.FILE_BOTH_DIRECTORY_INFORMATION: 94,
        fscc.FILE_ID_FULL_DIRECTORY_INFORMATION: 80,
        fscc.FILE_ID_BOTH_DIRECTORY_INFORMATION: 104,
    }[info_class]
    assert info_class in LAYOUTS
    found, at = [], 0
    while True:
        following, _, *rest = struct.unpack_from("<IIqqqqqqII", data, at)
        size, allocated, attributes, length = rest[4:]
        name = data[at + fixed : at + fixed + length].decode("utf-16-le")
        found.append((name, size, attributes))
        assert allocated >= size
        if not following:
            break
        assert following % 8 == 0
        at += following
    assert found == [(".", 0, 0x10), ("..", 0, 0x10), ("file", 1024, 0x20)]


@pytest.mark.parametrize(
    ("info_class", "at"),
    [(fscc.FILE_ID_FULL_DIRECTORY_INFORMATION, 72), (fscc.FILE_ID_BOTH_DIRECTORY_INFORMATION, 96)],
)
def test_ids_in_listings(client, info_class, at):
    """WPTS BVT_QueryDirectory_FileIdFullDirectoryInformation, _FileIdBothDirectoryInformation: the id of the
    file itself, which FileInternalInformation tells as well."""
    made = client.directory("d")
    client.put(r"d\file")
    own = client.query(client.open(r"d\file"), fscc.FILE_INTERNAL_INFORMATION)[1]
    status, data = client.list(made, info_class, "file")
    assert status == Status.SUCCESS and data[at : at + 8] == own


def test_many_files_one_by_one(client):
    """WPTS Fs_CreateFiles_QueryDirectory_With_Single_Entry_Flag."""
    made = client.directory("d")
    for number in range(100):
        client.put(f"d\\{number}")
    for _ in range(102):
        assert len(names(client, made, "*", SMB2_RETURN_SINGLE_ENTRY)) == 1
    assert names(client, made, "*", SMB2_RETURN_SINGLE_ENTRY) == []
