"""[MS-FSA] 2.1.4.4 Algorithm for Determining if a FileName Is in an Expression: which names, in what time."""

from __future__ import annotations

import re
from time import process_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smbproto.status import Status, StatusError
from storage.objectstore import names


def by_definition(pattern: str, name: str) -> bool:
    """The algorithm as it is written: a choice at every wildcard."""
    if not pattern:
        return not name
    token, rest = pattern[0], pattern[1:]
    match token:
        case "*":
            return any(by_definition(rest, name[at:]) for at in range(len(name) + 1))
        case "<":
            last = name.rfind(".")
            stop = len(name) if last < 0 else last
            return any(by_definition(rest, name[at:]) for at in range(stop + 1))
        case "?":
            return bool(name) and by_definition(rest, name[1:])
        case ">":
            return by_definition(rest, name[1:] if name and name[0] != "." else name)
        case '"':
            return by_definition(rest, name[1:]) if name[:1] == "." else not name and by_definition(rest, "")
    return name[:1] == token and by_definition(rest, name[1:])


@settings(max_examples=400, deadline=None)
@given(pattern=st.text('AB.*<>?"', min_size=1, max_size=8), name=st.text("AB.", min_size=1, max_size=8))
def test_a_pattern_matches_by_the_definition(pattern: str, name: str) -> None:
    matches = names.matcher(pattern, str.upper)
    if matches is not None:
        assert bool(matches(name)) == by_definition(pattern, name), (pattern, name)


@pytest.mark.parametrize("star", ["*", "<", "*?", "<*"])
def test_many_stars_take_no_longer_than_few(star: str) -> None:
    """A regular expression would try every way to part the name among the stars, for centuries."""
    matches = names.matcher(f"{star}a" * 30 + "b", str.lower)
    assert matches is not None
    began = process_time()
    for _ in range(20):
        assert not matches("a" * 255)
    assert process_time() - began < 0.5


def test_a_pattern_longer_than_any_name_is_refused() -> None:
    with pytest.raises(StatusError) as refused:
        names.matcher("?" * 5000, str.upper)
    assert refused.value.status == Status.OBJECT_NAME_INVALID


def test_the_quick_and_the_general_way_agree() -> None:
    """Few stars take a regular expression, many a set of places."""
    for pattern in ("*.TXT", "A<B", '>>>"TXT', "<.T", "*", "?A*"):
        source = "".join(names._TOKENS.get(one) or re.escape(one) for one in pattern)
        for name in ("A.TXT", "A.B.TXT", "AB", "TXT", "", "A", "AAB.T", "A.TB"):
            found = re.fullmatch(source, name, re.DOTALL) is not None
            assert names._places(pattern, name) == found, (pattern, name)
