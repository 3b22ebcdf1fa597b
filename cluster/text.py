"""Text that somebody else chose, made fit to show: one line, no control characters.

Names of users, workstations and files come from clients. On a terminal an escape sequence in one of them
would be obeyed, in a log a line break would pretend to be a line of ours.
"""

from __future__ import annotations

import logging


def visible(text: str) -> str:
    """The text with everything that cannot be printed (controls, line ends, direction marks, lone
    surrogates) escaped."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


class OneLine(logging.Formatter):
    """A log's line is one line, whatever is in it; only a traceback of ours has more."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's name
        return visible(super().formatMessage(record))
