"""Trio from a seed: the same seed gives the same order of tasks, in every process. The only place that knows
Trio's private names; where they are gone, simulations are skipped and say so.

Trio shuffles the tasks that are ready with a `Random` of its own, so that nobody relies on their order; here
it is seeded, and the tasks are sorted by when they were made before they are shuffled. Time is a `MockClock`
that jumps as soon as every task waits.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
import trio
import trio.testing
from trio._core import _run

T = TypeVar("T")

START_S = 1000.0
"""Where the clock begins: far from 0, which code could take for "never"."""
_NAMES = ("_ALLOW_DETERMINISTIC_SCHEDULING", "_r")


def run_seeded(seed: int, main: Callable[[], Awaitable[T]]) -> T:
    """Run `main` to its end, its scheduling drawn from `seed`. Skips the test where Trio cannot do that."""
    missing = [name for name in _NAMES if not hasattr(_run, name)]
    if missing:
        absent = ", ".join(missing)
        pytest.skip(f"Trio {trio.__version__} has no {absent} in trio._core._run: a run cannot be repeated")
    was = _run._ALLOW_DETERMINISTIC_SCHEDULING
    _run._ALLOW_DETERMINISTIC_SCHEDULING = True
    _run._r.seed(seed)
    clock = trio.testing.MockClock(autojump_threshold=0)
    clock.jump(START_S)
    try:
        return trio.run(main, clock=clock)
    finally:
        _run._ALLOW_DETERMINISTIC_SCHEDULING = was
