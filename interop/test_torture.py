"""smbtorture's suites against our server, and the rules of its expectations file."""

from __future__ import annotations

import time

import pytest

from interop.target import Target
from interop.torture import expect, plan
from interop.torture.run import Run, judge

JOBS = 4


@pytest.mark.torture
@pytest.mark.timeout(0)     # --torture-minutes bounds it, and each test in it has a limit
def test_smbtorture_4_17_does_what_is_expected(target: Target, request: pytest.FixtureRequest) -> None:
    """Every leaf test of smb2.* succeeds but for those in the expectations file, each with its reason."""
    if not target.is_ours:
        pytest.skip("what is expected is written for our server")
    tool = plan.find("4.17")
    tests = [test for test in tool.leaves() if plan.excluded(test) is None]
    deadline_s = time.monotonic() + 60 * request.config.getoption("--torture-minutes")
    outcomes = Run(tool, target, tests, JOBS, deadline_s=deadline_s).run()
    print(expect.summary(outcomes))
    found = expect.surprises(outcomes, expect.load("4.17", target.kind))
    assert not found, "\n".join([expect.summary(outcomes), *found])


@pytest.mark.parametrize("version", ["4.17", "4.22"])
def test_every_expectation_has_a_reason_and_a_test(version: str) -> None:
    """No line outlives its test; `parse` refuses lines without a reason."""
    path = expect.file_for(version)
    if not path.exists():
        pytest.skip("nothing is expected of this version yet")
    lines = expect.parse(path.read_text().splitlines())
    if version == "4.17":
        leaves = {test for test in plan.find(version).leaves() if plan.excluded(test) is None}
        assert {line.test for line in lines} - leaves == set()


def test_a_line_without_a_reason_is_refused() -> None:
    with pytest.raises(ValueError, match="want test"):
        expect.parse(["smb2.x\tfailure\tall\t"])


@pytest.mark.parametrize(("text", "status", "result", "why"), [
    ("success: a\n", 0, "success", ""),
    ("test: a\nfailure: a [\nfile.c:3: Incorrect status\n]\n", 1, "failure", "file.c:3: Incorrect status"),
    ("success: a\nskip: b [\nnot here\n]\n", 0, "skip", "not here"),
    ("smbtorture 4\nFailed to connect - NT_STATUS_IO_TIMEOUT\n", 1, "noresult",
     "status 1: Failed to connect - NT_STATUS_IO_TIMEOUT"),
    ("", -11, "crash", "smbtorture ended by signal 11: "),
])
def test_the_verdict_is_read_from_the_output(text: str, status: int, result: str, why: str) -> None:
    assert judge(text, status) == (result, why)
