"""`python -m bench [--quick] [--only GLOB] [--servers serve,pool,samba,impacket] [--json FILE]`

Starts each server on loopback, runs every row on each in turn, several times over, and prints medians, the
ratio to smbd's and the server's CPU per operation. All servers of a row run in the same minute, so that a
drift of the machine hits them alike.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import spaces, usage
from bench.rows import Row, rows
from interop.peers import Unavailable, start_impacket, start_samba, tmpfs_folder
from interop.server import sofs, start_pool, start_serve
from interop.target import Target

LIMIT_S = 180
ROOT = Path(__file__).parent


@dataclass
class Result:
    """Runs of one row on one server."""

    values: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    p99_us: list[float] = field(default_factory=list)
    resident_mib: float = 0.0
    error: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.values) if self.values else 0.0

    @property
    def cpu(self) -> float:
        return statistics.median(self.cpu_us) if self.cpu_us else 0.0


def build_load() -> Path:
    """Compile the load generator into build/. Needs gcc and OpenSSL's headers."""
    target = ROOT.parent / "build" / "smbload"
    source = ROOT / "load" / "smbload.c"
    if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
        target.parent.mkdir(exist_ok=True)
        command = ["gcc", "-O2", "-o", str(target), str(source), "-lcrypto"]
        subprocess.run(command, check=True, timeout=120)
    return target


def run_load(program: Path, target: Target, arguments: tuple[str, ...]) -> dict[str, Any]:
    """One load; its JSON answer, or {"error": ...}."""
    command = [str(program), "--host", target.host, "--port", str(target.port), "--share", target.share]
    command += ["--user", target.user, "--password", target.password, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        return {"error": f"no end after {LIMIT_S} s"}
    lines = done.stdout.strip().splitlines()
    try:
        answer: dict[str, Any] = json.loads(lines[-1])
    except (IndexError, ValueError):
        return {"error": (done.stderr or done.stdout).strip()[-200:] or f"status {done.returncode}"}
    if answer.get("errors"):
        answer["error"] = f"{answer['errors']} errors: {answer.get('first_error')}"
    return answer


def measure(program: Path, target: Target, row: Row, result: Result, run: int) -> None:
    """One run of a row on one server. Names carry the run's number, so that each finds its own fresh
    files."""

    def named(arguments: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(a + f".{run}" if a.startswith("bench.") else a for a in arguments)

    for prepare in row.prepare:
        answer = run_load(program, target, named(prepare))
        if "error" in answer:
            result.error = f"preparing: {answer['error']}"
            return
    before = usage.cpu_s(target.process.pid)
    answer = run_load(program, target, named(row.arguments))
    spent = usage.cpu_s(target.process.pid) - before
    if "error" in answer:
        result.error = str(answer["error"])
        return
    result.values.append(float(answer[row.metric]))
    operations = answer.get("entries") or answer.get("ops") or 1
    result.cpu_us.append(spent / operations * 1e6)
    result.p99_us.append(float(answer.get("lat_us", {}).get("p99", 0)))
    result.resident_mib = max(result.resident_mib, usage.resident_mib(target.process.pid))


def start(kind: str, folder: Path) -> Target:
    """A server of this kind. Raises: Unavailable."""
    if kind == "samba":
        return start_samba()
    if kind == "impacket":
        return start_impacket(folder)
    if kind == "pool":
        _without_signing(folder / "pool")
        return start_pool(folder)
    return start_serve(folder, "--no-signing")


def _without_signing(state: Path) -> None:
    """A new node that requires no signing, as smbd by default: so that the rows called "none" are that."""
    command = [str(sofs()), "--state", str(state), "init"]
    subprocess.run(command, check=True, timeout=60, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    file = state / "node.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "require_signing": False}))


def show(row: Row, results: dict[str, Result]) -> None:
    """One line a server."""
    base = results.get("samba")
    for kind, result in results.items():
        if result.error:
            text = f"{'failed: ' + result.error[:60]:>22s}"
        else:
            text = f"{result.median:>12,.0f} {row.unit:9s}"
            if base is not None and base.median and kind != "samba":
                text += f" {result.median / base.median:6.2f}x"
                text += f"  goal {row.goal:4.1f}x" if row.goal is not None else " " * 12
            else:
                text += " " * 19
            text += f"  cpu {result.cpu:9.1f} us  {result.resident_mib:6.0f} MiB"
        sys.stdout.write(f"{row.name:30s} {kind:9s} {text}\n")
    sys.stdout.flush()


def main() -> int:
    if sys.argv[1:2] == ["spaces"]:
        return spaces.main(sys.argv[2:])
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small and short: for a look, not for a claim")
    parser.add_argument("--only", default="*", help="rows whose name matches this pattern")
    parser.add_argument("--servers", default="serve,pool,samba,impacket")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", default="", help="write all runs to this file")
    options = parser.parse_args()
    program = build_load()
    wanted = [row for row in rows(options.quick) if fnmatch.fnmatch(row.name, options.only)]
    targets: dict[str, Target] = {}
    answers: dict[str, dict[str, Any]] = {}
    scratch = tmpfs_folder("bench")
    try:
        for kind in options.servers.split(","):
            folder = Path(tempfile.mkdtemp(prefix=kind, dir=scratch))
            try:
                targets[kind] = start(kind, folder)
            except Unavailable as error:
                sys.stdout.write(f"{kind}: left out, {error}\n")
        for row in wanted:
            results = {kind: Result() for kind in targets}
            for run in range(1 if options.quick else options.repeat):
                for kind, target in targets.items():
                    if not results[kind].error:
                        measure(program, target, row, results[kind], run)
            show(row, results)
            answers[row.name] = {
                kind: {
                    "values": r.values,
                    "cpu_us": r.cpu_us,
                    "p99_us": r.p99_us,
                    "mib": r.resident_mib,
                    "error": r.error,
                }
                for kind, r in results.items()
            }
    finally:
        for target in targets.values():
            target.stop()
        shutil.rmtree(scratch, ignore_errors=True)
        if options.json:
            Path(options.json).write_text(json.dumps(answers, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
