"""The guest's suite (guest/suite.sh): mount a share and try what a file system must do, a line for each
test."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from interop.vm import machine
from interop.vm.initramfs import GUEST

LINE = re.compile(r"^(?P<result>ok|skip|not ok) (?P<test>\w+) (?P<rest>.*)$", re.M)


@dataclass(frozen=True)
class MountOptions:
    """Where and how to mount. The guest reaches this host's 127.0.0.1 as 10.0.2.2."""

    share: str
    port: int
    user: str
    password: str
    options: str = "vers=3.1.1"


@dataclass(frozen=True)
class Report:
    """Of one run: the result of each test, and the guest's whole console."""

    results: dict[str, str]
    output: str

    def failed(self) -> list[str]:
        return [test for test, result in self.results.items() if result == "not ok"]

    def skipped(self) -> list[str]:
        return [test for test, result in self.results.items() if result == "skip"]


def test_names() -> list[str]:
    return re.findall(r"^t_(\w+)\(\)", (GUEST / "suite.sh").read_text(), re.M)


def mount_and_test(
    mount: MountOptions,
    tests: Sequence[str] = (),
    *,
    operations: int = 0,
    limit_s: float = 400,
    capture: Path | None = None,
) -> Report:
    """Run `tests` (all if none are named); `operations` is the length of the random ones (their own if 0)."""
    environment = {
        "UNC": f"//10.0.2.2/{mount.share}",
        "PORT": str(mount.port),
        "SMBUSER": mount.user,
        "SMBPASS": mount.password,
        "OPTS": mount.options,
        "TESTS": " ".join(tests),
        "XFAIL": "",
        "OPS": str(operations or ""),
    }
    done = machine.run("#!/bin/sh\nexec sh /guest/suite.sh\n", environment, limit_s, capture)
    results = {found["test"]: found["result"] for found in LINE.finditer(done.output)}
    return Report(results, done.output)
