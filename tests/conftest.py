"""What all tests share: a Hypothesis profile that gives the same examples in every run, and the seed option.

Property tests are derandomised, so that a red run can be repeated; `SOFS_HYPOTHESIS=explore` draws anew.
"""

import os

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
