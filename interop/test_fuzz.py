"""The fuzzer for a short time: the server stays up, logs no traceback, serves honest clients.

It gets a server of its own: it leaves names behind (half a surrogate pair is legal) that some clients
refuse to list.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from interop.fuzz import STARTERS, fuzz

SECONDS = 20


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", ["serve", "pool"])
def test_spoiled_requests_do_not_disturb_the_server(kind: str, tmp_path: Path) -> None:
    target = STARTERS[kind](tmp_path)
    try:
        assert fuzz(target, SECONDS, seed=1) > 3
        assert target.stop() == 0
    finally:
        target.stop()
