"""Runs tests, one process each, several suites at a time, each process under a limit of time.

After a test that ended badly the server must answer a NEGOTIATE; if it does not any more, the run stops and
what is left is recorded as `notrun`.
"""

from __future__ import annotations

import os
import queue
import re
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from interop.process import answers_smb
from interop.target import Target
from interop.torture import plan

OUTPUT_BYTES_MAX = 4 << 20
VERDICT = re.compile(r"^(success|failure|error|skip|xfail|uxsuccess): (.*)$", re.M)
WORST_FIRST = ("error", "failure", "uxsuccess", "skip", "xfail", "success")
NOISE = ("time:", "test:", "smbtorture ", "Using seed")


@dataclass(frozen=True)
class Outcome:
    """Of one test: success, failure, error, skip, timeout, crash (its own), noresult or notrun, and why."""

    test: str
    result: str
    seconds: float = 0.0
    why: str = ""

    def row(self) -> str:
        return f"{self.test}\t{self.result}\t{self.seconds:.2f}\t{self.why}\n"


def _telling(text: str) -> str:
    """The line of an output that says most about a failure."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith(NOISE)]
    bad = [line for line in lines if re.search(r"NT_STATUS_(?!OK)|fail|error|wrong|PANIC|signal", line, re.I)]
    return (bad or lines[-1:] or [""])[0]


def _reason(text: str, result: str) -> str:
    """What smbtorture wrote after the verdict: `failure: name [` and the reason on the lines below."""
    found = re.search(rf"^{result}: .*\[\n((?:.*\n)*?)\]$", text, re.M)
    return found[1].strip().splitlines()[0] if found and found[1].strip() else _telling(text)


def judge(text: str, status: int) -> tuple[str, str]:
    """Result and reason from smbtorture's output; the worst verdict in it counts."""
    verdicts = {found[1] for found in VERDICT.finditer(text)}
    for result in WORST_FIRST:
        if result in verdicts:
            if result in ("success", "uxsuccess"):
                return "success", ""
            return ("failure" if result == "xfail" else result), _reason(text, result)
    if status < 0 or status in (134, 139) or "PANIC" in text:
        return "crash", f"smbtorture ended by signal {-status}: {_telling(text)}"
    return "noresult", f"status {status}: {_telling(text)}"


@dataclass
class Run:
    """A run of `tests` with `tool` against `target`."""

    tool: plan.Smbtorture
    target: Target
    tests: Sequence[str]
    jobs: int = 4
    limit_s: float = 60.0
    deadline_s: float | None = None              # of the whole run, on the monotonic clock
    can_block: bool = False                      # smbtorture may use iptables: the network is its own
    logs: Path | None = None
    report: Callable[[Outcome], None] = lambda outcome: None
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._work = tempfile.TemporaryDirectory(prefix="smbtorture.")
        self._login = Path(self._work.name) / "login"
        self._login.touch(mode=0o600)
        self._login.write_text(f"username = {self.target.user}\npassword = {self.target.password}\n")

    def command(self, test: str) -> list[str]:
        target = self.target
        share = next(
            (target.shares[name] for name in plan.matching(test, plan.SHARE_FOR) if name in target.shares),
            target.share,
        )
        argv = [
            str(self.tool.program),
            f"//{target.host}/{share}",
            "-p",
            str(target.port),
            "-A",
            str(self._login),
            "--option=torture:progress=no",
        ]
        if target.second_user:
            argv += [f"--option=torture:user2name={target.second_user}",
                     f"--option=torture:user2password={target.second_password}"]
        if self.can_block:
            argv.append("--option=torture:use_iptables=yes")
        for options in plan.matching(test, plan.OPTIONS_FOR):
            argv += options
        return [*argv, test]

    def run_one(self, test: str) -> Outcome:
        """One test. Its process group is ended whatever happens: some tests start helpers."""
        limit_s = plan.limit_s(test, self.limit_s)
        started = time.monotonic()
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(
                self.command(test),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.tool.environment,
                cwd=self._work.name,
                start_new_session=True,
            )
            try:
                status: int | None = process.wait(limit_s)
            except subprocess.TimeoutExpired:
                status = None
            finally:
                try:
                    os.killpg(process.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
                process.wait()
            output.seek(0)
            text = output.read(OUTPUT_BYTES_MAX).decode("utf-8", "replace")
        if self.logs is not None:
            (self.logs / re.sub(r"[^\w.-]", "_", test)).write_text(text)
        result, why = judge(text, status) if status is not None else ("timeout", _telling(text))
        return Outcome(test, result, time.monotonic() - started, re.sub(r"[\t\r\n]+", " ", why)[:300])

    def _record(self, outcome: Outcome) -> None:
        with self._lock:
            self.outcomes[outcome.test] = outcome
            self.report(outcome)

    def _worker(self, suites: queue.SimpleQueue[list[str]]) -> None:
        while not self._stop.is_set():
            try:
                tests = suites.get_nowait()
            except queue.Empty:
                return
            for test in tests:
                if self.deadline_s is not None and time.monotonic() > self.deadline_s:
                    self._stop.set()
                if self._stop.is_set():
                    return
                outcome = self.run_one(test)
                self._record(outcome)
                if outcome.result not in ("success", "skip", "failure") and not self._answers():
                    self._stop.set()

    def _answers(self) -> bool:
        return any(answers_smb(self.target.port, self.target.host) for _ in range(3))

    def run(self) -> dict[str, Outcome]:
        """All outcomes, in the order of `tests`."""
        suites: dict[str, list[str]] = {}
        for test in self.tests:
            suites.setdefault(plan.suite_of(test), []).append(test)
        waiting: queue.SimpleQueue[list[str]] = queue.SimpleQueue()
        for tests in sorted(suites.values(), key=len, reverse=True):
            waiting.put(tests)
        workers = [
            threading.Thread(target=self._worker, args=(waiting,), daemon=True) for _ in range(self.jobs)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        self._work.cleanup()
        gone = Outcome("", "notrun", 0.0, "out of time" if self._answers() else "the server answers no more")
        return {
            test: self.outcomes.get(test, Outcome(test, gone.result, 0.0, gone.why)) for test in self.tests
        }
