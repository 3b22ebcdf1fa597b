"""smbtorture's suites against our server, and the rules of its expectations file."""

from __future__ import annotations

import subprocess
import sys

import pytest

from interop.debian import PackageError
from interop.torture import expect, plan
from interop.torture.run import judge

JOBS = 4
RUNS = [("4.17", "serve"), ("4.22", "pool")]
"""Each version and each flavour once: the other two combinations are for `make torture`."""


def found(version: str) -> plan.Smbtorture:
    """Skips where this version cannot be had: not every mirror has the backports."""
    try:
        return plan.find(version)
    except PackageError as error:
        pytest.skip(str(error))


@pytest.mark.torture
@pytest.mark.timeout(0)     # --torture-minutes bounds it, and each test in it has a limit
@pytest.mark.parametrize(("version", "kind"), RUNS)
def test_smbtorture_does_what_is_expected(version: str, kind: str, request: pytest.FixtureRequest) -> None:
    """Every leaf test of smb2.* succeeds but for those in the expectations file, each with its reason.

    In a process of its own: it moves to a network of its own, where smbtorture may block connections.
    """
    if request.config.getoption("--server") not in ("all", kind):
        pytest.skip("another server was asked for")
    found(version)
    minutes = request.config.getoption("--torture-minutes") / len(RUNS)
    out = plan.BUILD / f"torture-{version}-{kind}.tsv"
    done = subprocess.run(
        [sys.executable, "-m", "interop.torture", "--version", version, "--server", kind, "--jobs", str(JOBS),
         "--quiet", "--minutes", str(minutes), "--out", out,
         "--logs", plan.BUILD / f"torture-logs-{version}-{kind}"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("version", ["4.17", "4.22"])
def test_every_expectation_has_a_reason_and_a_test(version: str) -> None:
    """No line outlives its test; `parse` refuses lines without a reason."""
    lines = expect.parse(expect.file_for(version).read_text().splitlines())
    leaves = {test for test in found(version).leaves() if plan.excluded(test) is None}
    assert lines and {line.test for line in lines} - leaves == set()


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
