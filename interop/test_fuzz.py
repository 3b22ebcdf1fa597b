"""The fuzzer for a short time: the server stays up, logs no traceback, serves honest clients."""

from __future__ import annotations

import pytest

from interop.fuzz import fuzz
from interop.target import Target

SECONDS = 20


@pytest.mark.timeout(120)
def test_spoiled_requests_do_not_disturb_the_server(target: Target) -> None:
    assert fuzz(target, SECONDS, seed=1) > 3
