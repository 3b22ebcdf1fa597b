"""Upper-casing of names, one UTF-16 code unit to one, as a volume's upcase table does it.

The table is Unicode's *simple* uppercase mapping inside the Basic Multilingual Plane: lengths never change,
characters outside the plane (surrogate pairs) and lone surrogates stay as they are. Characters whose
mapping leaves their own script for ASCII or Greek by compatibility (dotless i, long s, micro sign, Greek
prosgegrammeni, combining ypogegrammeni) are not mapped, so that no other letter is ever equal to an ASCII
one.
Source: [MS-FSA] 2.1.1.1 Per Volume (the upcase table); Unicode Standard, UnicodeData field
Simple_Uppercase_Mapping."""

from __future__ import annotations

from typing import Final

_LEFT_ALONE: Final = frozenset((0x0131, 0x017F, 0x00B5, 0x1FBE, 0x0345))


def _simple_upper(code: int) -> int:
    """Simple uppercase of one code point. Where the full mapping is longer than one character, the simple
    one, if there is one, is the title case (U+1F80 and the like)."""
    character = chr(code)
    upper = character.upper()
    if len(upper) != 1:
        upper = character.title()
    if len(upper) != 1 or ord(upper) > 0xFFFF:
        return code
    return ord(upper)


UPCASE: Final[dict[int, int]] = {
    code: upper
    for code in range(0x10000)
    if not 0xD800 <= code <= 0xDFFF and code not in _LEFT_ALONE and (upper := _simple_upper(code)) != code
}


def upcase(name: str) -> str:
    """`name` with each character replaced by its entry in the table."""
    if name.isascii():
        return name.upper()
    return name.translate(UPCASE)
