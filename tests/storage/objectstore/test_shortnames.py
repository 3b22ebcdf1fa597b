"""8.3 names: legal, stable, found again, and never leading to another file."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.objectstore.shortnames import find_by_short_name, short_name
from tests.storage.objectstore.world import READ, World
from tests.suites.memoryfs import MemoryFileSystem

LEGAL = re.compile(r"[!#$%&'()0-9@A-Z^_`{}~-]{1,8}(\.[!#$%&'()0-9@A-Z^_`{}~-]{1,3})?")
NOW = 133_000_000_000_000_000


def filled(names: list[str]) -> MemoryFileSystem:
    fs = MemoryFileSystem()
    for name in names:
        fs.make(fs.root(), name, is_directory=False, attributes=0x20, now=NOW, security=b"")
    return fs


@given(st.text(st.characters(blacklist_characters='"*/:<>?\\|', min_codepoint=32), min_size=1, max_size=60))
def test_every_name_has_a_legal_short_name(name: str) -> None:
    assert LEGAL.fullmatch(short_name(name, name.upper()))


@pytest.mark.parametrize("name", ["readme.md", "A", "file.txt", "12345678.123"])
def test_a_name_that_is_short_already_is_its_own(name: str) -> None:
    assert short_name(name, name.upper()) == name.upper()


def test_case_does_not_change_the_short_name() -> None:
    fs = MemoryFileSystem()
    assert short_name("Long File Name.Txt", fs.fold("Long File Name.Txt")) == short_name(
        "LONG file NAME.tXt", fs.fold("LONG file NAME.tXt")
    )


def test_a_file_is_found_by_its_short_name() -> None:
    names = [f"a long file name {i}.document" for i in range(2500)]
    fs = filled(names)
    found = find_by_short_name(fs, fs.root(), short_name(names[1234], fs.fold(names[1234])).lower())
    assert found is not None and found.name == names[1234]
    assert find_by_short_name(fs, fs.root(), "AL~00000.DOC") is None


def test_a_short_name_of_two_files_finds_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    fs = filled(["first long name", "second long name"])
    monkeypatch.setattr("storage.objectstore.shortnames.crc32", lambda data: 7)
    assert short_name("first long name", "FIRST LONG NAME") == "FI~70000"
    assert find_by_short_name(fs, fs.root(), "FI~70000") is not None
    clash = filled(["first long name", "fish and long chips"])
    assert find_by_short_name(clash, clash.root(), "FI~70000") is None


@pytest.mark.parametrize("pattern", ["AL~*", "al~?????.doc", None])
def test_a_listing_finds_files_by_their_short_names(pattern: str | None) -> None:
    """[MS-FSA] 2.1.5.6.3 Directory Information Queries: FileNamePattern is compared with short names too."""
    world = World()
    world.mkdir("d")
    for name in ("a long file name.document", "other.txt", "AL.TXT"):
        world.write_file(f"d\\{name}")
    if pattern is None:
        fs = world.fs
        pattern = short_name("a long file name.document", fs.fold("a long file name.document"))
    listing = world.open("d", READ).scan(pattern, restart=False, reopen=False)
    assert [entry.name for entry in iter(listing.next, None)] == ["a long file name.document"]
