"""What clients named cannot forge a line of the log, nor speak to the administrator's terminal."""

from __future__ import annotations

import io
import logging

import pytest

from cluster.accounts import check_name
from cluster.cli.render import show
from cluster.errors import OperatorError
from cluster.text import OneLine, visible

HOSTILE = "eve\n2024-01-01 WARNING sofs.smb: all is well\x1b[2J\x9b1m\u202e\ud800"


def test_a_log_line_stays_one_line() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(OneLine("%(levelname)s %(name)s: %(message)s"))
    log = logging.Logger("sofs.test")
    log.addHandler(handler)
    log.warning("logon failed user=%s", HOSTILE)
    assert stream.getvalue().splitlines() == [
        r"WARNING sofs.test: logon failed user=eve\n2024-01-01 WARNING sofs.smb: all is well"
        r"\x1b[2J\x9b1m\u202e\ud800"
    ]


def test_a_traceback_of_ours_keeps_its_lines() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(OneLine("%(message)s"))
    log = logging.Logger("sofs.test")
    log.addHandler(handler)
    try:
        raise ValueError("x")
    except ValueError as error:
        log.error("bug", exc_info=error)
    assert len(stream.getvalue().splitlines()) > 3


def test_what_can_be_printed_is_left_alone() -> None:
    assert visible("Zoë (日本) [draft] \U0001f600") == "Zoë (日本) [draft] \U0001f600"


@pytest.mark.parametrize("result", [
    [{"path": "a\\[red]b [/] :smile:", "user": HOSTILE}], {"path": "a\\[red]b [/] :smile:", "user": HOSTILE},
])  # fmt: skip
def test_a_table_shows_names_as_they_are(
    result: object, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Brackets are no markup, colons no pictures, and nothing is left for the terminal to obey."""
    monkeypatch.setenv("COLUMNS", "300")
    show(result, as_json=False)
    shown = capsys.readouterr().out
    assert "a\\[red]b [/] :smile:" in shown
    assert r"eve\n2024-01-01" in shown and "\x1b" not in shown and "\x9b" not in shown


def test_a_user_name_is_one_line() -> None:
    with pytest.raises(OperatorError):
        check_name("eve\nroot")
