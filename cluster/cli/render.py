"""How results are shown: tables for people, JSON for programs."""

from __future__ import annotations

import json
import re
from typing import Any

from rich.console import Console
from rich.table import Table

from cluster.errors import OperatorError
from cluster.text import visible

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_SIZE = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*([kmgtp]?)i?b?\s*$", re.IGNORECASE)
NOTHING = "-"
PIPE_WIDTH = 240
"""Characters of a line that no terminal limits."""


def parse_size(text: str) -> int:
    """ "64M", "1.5 GiB", "4096": bytes, in powers of 1024. Raises: OperatorError."""
    found = _SIZE.match(text)
    if found is None:
        raise OperatorError(f"{text!r} is no size; write it like 512M, 10G or 1T")
    return int(float(found[1]) * _UNITS[found[2].lower()])


def size(value: int) -> str:
    """Bytes for people: three significant digits in powers of 1024."""
    amount = float(value)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" or amount >= 100 else f"{amount:.3g} {unit}"
        amount /= 1024
    return f"{amount:.3g} PiB"


def _cell(key: str, value: Any) -> str:
    if value is None or value == "":
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if key.endswith("bytes") and isinstance(value, int):
        return size(value)
    if isinstance(value, list):
        return visible(", ".join(str(item) for item in value))
    return visible(str(value))


def _table(rows: list[dict[str, Any]]) -> Table:
    """Columns in which no row has anything are left out."""
    table = Table(box=None, pad_edge=False)
    cells = [{key: _cell(key, value) for key, value in row.items()} for row in rows]
    shown = [key for key in rows[0] if any(row[key] != NOTHING for row in cells)]
    for key in shown:
        table.add_column(key.removesuffix(" bytes"), overflow="fold")
    for row in cells:
        table.add_row(*(row[key] for key in shown))
    return table


def show(result: Any, as_json: bool) -> None:
    """Print a call's result. Columns named "... bytes" are shown with units."""
    if as_json:
        Console(soft_wrap=True, highlight=False).print_json(json.dumps(result))
        return
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = max(console.width, PIPE_WIDTH)  # nobody's window is narrow: lines stay whole
    if isinstance(result, dict):
        table = Table(show_header=False, box=None)
        for key, value in result.items():
            if isinstance(value, list) and value and isinstance(value[0], dict):
                continue
            table.add_row(key, _cell(key, value))
        console.print(table)
        for key, value in result.items():
            if isinstance(value, list) and value and isinstance(value[0], dict):
                console.print(f"\n{key}")
                show(value, False)
        return
    if isinstance(result, list):
        if not result:
            console.print("(none)")
            return
        console.print(_table(result))
        return
    console.print(visible(str(result)))
