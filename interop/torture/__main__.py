"""Command line of the smbtorture runner: start a server, run, write a TSV, say what differs from what is
expected."""

from __future__ import annotations

import argparse
import fnmatch
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from interop import peers, server
from interop.target import Target
from interop.torture import expect, plan
from interop.torture.network import own_network
from interop.torture.run import Outcome, Run


def pool(folder: Path) -> Target:
    """With the share that smb2.acls.ACCESSBASED looks for by name."""
    target = server.start_pool(folder)
    try:
        server.add_share(folder, "hideunread", "--access-based-enumeration")
    except BaseException:
        target.stop()
        raise
    return target


STARTERS: dict[str, Callable[[Path], Target]] = {
    "serve": lambda folder: server.start_serve(folder, "--anonymous"),
    "pool": pool,
    "samba": peers.start_samba,
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m interop.torture", description=__doc__)
    parser.add_argument("--server", choices=sorted(STARTERS), default="pool")
    parser.add_argument("--version", choices=["4.17", "4.22"], default="4.17")
    parser.add_argument(
        "--only", action="append", default=[], metavar="GLOB", help="run only tests that match"
    )
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--limit", type=float, default=60, metavar="SECONDS", help="for one test")
    parser.add_argument(
        "--minutes", type=float, default=60, help="for all; what is left over counts as failed"
    )
    parser.add_argument("--quiet", action="store_true", help="no line for each test")
    parser.add_argument("--out", type=Path, default=plan.BUILD / "torture.tsv", help="where the results go")
    parser.add_argument("--logs", type=Path, default=plan.BUILD / "torture-logs", help="every test's output")
    parser.add_argument(
        "--list", action="store_true", help="only say what would run, and what is left out and why"
    )
    parser.add_argument(
        "--propose", action="store_true", help="print expectation lines for what did not succeed"
    )
    return parser.parse_args()


def swapped(target: Target) -> Target:
    """The same server, its plain user first: an administrator's privileges change what is granted."""
    return replace(target, user=target.second_user, password=target.second_password, second_user=target.user,
                   second_password=target.password)


def show(outcome: Outcome) -> None:
    print(f"{outcome.result:8} {outcome.seconds:7.2f} {outcome.test}  {outcome.why[:150]}", flush=True)


def run_against(target: Target, tool: plan.Smbtorture, options: argparse.Namespace, can_block: bool) -> int:
    """Run, write the results, and say what is not as expected; 1 if anything is."""
    options.logs.mkdir(parents=True, exist_ok=True)
    tests = [
        test for test in plan.chosen(tool.leaves(), target.shares, can_block)
        if not options.only or any(fnmatch.fnmatchcase(test, pattern) for pattern in options.only)
    ]
    started = time.monotonic()
    outcomes = Run(
        tool,
        target,
        tests,
        options.jobs,
        options.limit,
        started + 60 * options.minutes,
        can_block,
        options.logs,
        report=(lambda outcome: None) if options.quiet else show,
    ).run()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text("".join(outcome.row() for outcome in outcomes.values()))
    expected = expect.load(options.version, target.kind)
    print(expect.summary(outcomes))
    print(f"{time.monotonic() - started:.0f} s; results in {options.out}, outputs in {options.logs}")
    if options.propose:
        for outcome in outcomes.values():
            if outcome.result != "success" and outcome.test not in expected:
                print(f"{outcome.test}\t{outcome.result}\tall\t{outcome.why}")
    found = expect.surprises(outcomes, expected)
    if target.is_ours and "Traceback (most recent call last)" in target.process.text():
        found.append(f"the server logged a traceback: see {options.out.with_suffix('.server.log')}")
    print(*found, sep="\n")
    print(f"{len(outcomes) - len(found)} passed, {len(found)} failed")
    return 1 if found else 0


def main() -> int:
    options = arguments()
    tool = plan.find(options.version)
    if options.list:
        for test in tool.leaves():
            reason = plan.excluded(test)
            print(test if reason is None else f"# {test}: {reason}")
        return 0
    can_block = own_network()
    folder = peers.tmpfs_folder("sofs-torture.")
    try:
        target = swapped(STARTERS[options.server](folder))
        try:
            return run_against(target, tool, options, can_block)
        finally:
            target.stop()
            shutil.copy(target.process.log, options.out.with_suffix(".server.log"))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
