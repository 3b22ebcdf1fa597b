"""Paths, stream names and wildcard patterns.

Sources: [MS-FSCC] 2.1.5 Pathname; [MS-FSCC] 2.1.5.3 Streamname; [MS-FSA] 2.1.4.4 Algorithm for
Determining if a FileName Is in an Expression; [MS-FSA] 2.1.5.1 Server Requests an Open of a File (its
checks of the path name). A trailing dot or space is part of a name here, as NTFS has it; it is the
clients that strip them. No I/O.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final, NamedTuple

from smbproto.status import Status, StatusError

COMPONENT_UNITS_MAX: Final = 255
"""[MS-FSCC] 2.1.5.2 Filename: UTF-16 code units."""
COMPONENTS_MAX: Final = 4096
"""Ours: a path of 32,767 units cannot hold more that the object store would want to walk."""

PATTERN_CHARACTERS_MAX: Final = 2 * COMPONENT_UNITS_MAX
"""Ours: every name of a directory is held against it."""

RESERVED: Final = re.compile('[\x00-\x1f"*/:<>?|\\\\]')
_STREAM_RESERVED: Final = re.compile("[\x00/:\\\\]")
WILDCARDS: Final = re.compile('[*?<>"]')

DATA: Final = 0
INDEX: Final = 1
UNSPECIFIED: Final = 2


class ParsedPath(NamedTuple):
    """`stream` is "" for the default stream; `type` is DATA, INDEX (a directory is meant) or UNSPECIFIED."""

    components: tuple[str, ...]
    stream: str
    type: int
    is_directory_wanted: bool
    """The path ended with a backslash."""


def _units(name: str) -> int:
    return len(name) if name.isascii() else len(name.encode("utf-16-le", "surrogatepass")) >> 1


def check_component(name: str) -> None:
    """Raises OBJECT_NAME_INVALID for what may not be the name of a file, OBJECT_PATH_SYNTAX_BAD for ".."."""
    if name == "..":
        raise StatusError(Status.OBJECT_PATH_SYNTAX_BAD, "no path leads upwards")
    if (
        not name
        or RESERVED.search(name) is not None
        or name == "."
        or (len(name) > COMPONENT_UNITS_MAX // 2 and _units(name) > COMPONENT_UNITS_MAX)
    ):
        raise StatusError(Status.OBJECT_NAME_INVALID, f"the name {name!r} is not valid")


def parse_stream(suffix: str) -> tuple[str, int]:
    """The part after a name's first colon: "stream", "stream:$DATA", ":$DATA", "$I30:$INDEX_ALLOCATION"
    ..."""
    name, colon, kind = suffix.partition(":")
    if _STREAM_RESERVED.search(name) or _units(name) > COMPONENT_UNITS_MAX or (not name and not colon):
        raise StatusError(Status.OBJECT_NAME_INVALID, f"the stream name {suffix!r} is not valid")
    if not colon:
        return name, DATA
    kind = kind.upper()
    if kind == "$DATA":
        return name, DATA
    if kind == "$INDEX_ALLOCATION" and name.upper() in ("", "$I30"):
        return "", INDEX
    raise StatusError(Status.OBJECT_NAME_INVALID, f"the stream type of {suffix!r} is not known")


@lru_cache(maxsize=8192)
def parse_path(path: str) -> ParsedPath:
    """Split and check a path relative to the volume's root. Raises OBJECT_NAME_INVALID;
    OBJECT_PATH_NOT_FOUND for an empty name on the way, which no directory has ([MS-FSA] 2.1.5.1)."""
    if not path:
        return ParsedPath((), "", UNSPECIFIED, False)
    is_directory_wanted = path.endswith("\\")
    if is_directory_wanted:
        path = path[:-1]
    components = path.split("\\")
    if len(components) > COMPONENTS_MAX:
        raise StatusError(Status.OBJECT_NAME_INVALID, f"a path of {len(components)} components")
    stream, kind = "", UNSPECIFIED
    last = components[-1]
    name, colon, suffix = last.partition(":")
    if colon:
        stream, kind = parse_stream(suffix)
        components[-1] = name
        if not name and len(components) == 1:
            components = []
    for index, component in enumerate(components):
        if ":" in component and parse_stream(component.partition(":")[2])[1] == INDEX:
            components[index] = component = component.partition(":")[0]
        if not component and index < len(components) - 1:
            raise StatusError(Status.OBJECT_PATH_NOT_FOUND, "no directory has an empty name")
        check_component(component)
    return ParsedPath(tuple(components), stream, kind, is_directory_wanted)


def join(directory: str, name: str) -> str:
    return f"{directory}\\{name}" if directory else name


_TOKENS: Final = {
    "*": ".*",
    "?": ".",
    "<": r"(?:[^.]|\.(?=.*\.))*",  # DOS_STAR: up to, not including, the last period
    ">": r"(?:[^.]|(?=\.)|\Z)",  # DOS_QM: one character, or none at a period or at the end
    '"': r"(?:\.|\Z)",  # DOS_DOT: a period, or nothing at the end
}
_STARS_SIMPLE: Final = 2
"""A regular expression tries every way to part the name among the stars: good for so few. A DOS_STAR looks
ahead at every period, so it counts twice."""


def _places(pattern: str, name: str) -> bool:
    """Whether the name is in the expression, in time len(pattern) however the stars stand: the set of places
    in the name that the pattern so far may end at is one integer, bit by bit."""
    end = 1 << len(name)
    everywhere = 2 * end - 1
    periods = sum(1 << at for at, character in enumerate(name) if character == ".")
    last = 1 << name.rfind(".") if periods else end
    at_character: dict[str, int] = {}
    for at, character in enumerate(name):
        at_character[character] = at_character.get(character, 0) | 1 << at
    places = 1
    for token in pattern:
        if token == "*":
            places = everywhere & -(places & -places)
        elif token == "?":
            places = (places << 1) & everywhere
        elif token == "<":
            before, behind = places & (2 * last - 1), places & -(2 * last)
            places = ((2 * last - 1) & -(before & -before)) | (everywhere & -(behind & -behind))
        elif token == ">":
            stays = periods | end
            places = ((places & ~stays) << 1) | (places & stays)
        elif token == '"':
            places = ((places & periods) << 1) | (places & end)
        else:
            places = (places & at_character.get(token, 0)) << 1
        if not places:
            return False
    return bool(places & end)


@lru_cache(maxsize=256)
def _expression(folded_pattern: str) -> Callable[[str], object | None]:
    if folded_pattern.count("*") + 2 * folded_pattern.count("<") > _STARS_SIMPLE:
        pattern = re.sub(r"\*{2,}", "*", folded_pattern)
        return lambda name: _places(pattern, name) or None
    source = "".join(_TOKENS.get(character) or re.escape(character) for character in folded_pattern)
    return re.compile(source, re.DOTALL).fullmatch


def has_wildcards(pattern: str) -> bool:
    return WILDCARDS.search(pattern) is not None


def matcher(pattern: str, fold: Callable[[str], str]) -> Callable[[str], object | None] | None:
    """A predicate on folded names; None when every name matches. Raises OBJECT_NAME_INVALID for a pattern
    longer than any name."""
    if pattern in ("*", "*.*", "", "<.*", '<"*'):
        return None
    if len(pattern) > PATTERN_CHARACTERS_MAX:
        raise StatusError(Status.OBJECT_NAME_INVALID, f"a pattern of {len(pattern)} characters")
    return _expression(fold(pattern))
