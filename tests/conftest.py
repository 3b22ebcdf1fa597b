"""What all tests share: a Hypothesis profile that gives the same examples in every run, and the seed option.

Property tests are derandomised, so that a red run can be repeated; `SOFS_HYPOTHESIS=explore` draws anew.
"""

import gc
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("repeatable", derandomize=True, deadline=None,
                          suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("SOFS_HYPOTHESIS", "repeatable"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seeds", type=int, default=None,
                     help="how many seeds each simulation test runs (its own default otherwise)")
    parser.addoption("--rewrite", action="store_true", help="write transcripts anew, compare none")


MEMORY_MAX_BYTES = 1 << 30
"""Simulated disks are large, few objects and parts of cycles: the collector lets many of them pile up."""


def pytest_runtest_teardown() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    if pages * os.sysconf("SC_PAGESIZE") > MEMORY_MAX_BYTES:
        gc.collect()
