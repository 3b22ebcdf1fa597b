"""What is known not to succeed, and why: one line of a TSV file each, `test  result  server  reason`.

`result` is what smbtorture says (failure, error, skip, timeout), or `flaky` where the test itself is seen
to go either way (the reason says why). `server` is the kind that the line is for (serve, pool, samba), or
`all`. Every test without a line must succeed, and a test whose line says otherwise must not: a fault that
was mended takes its line along.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from interop.torture.plan import suite_of
from interop.torture.run import Outcome

HERE = Path(__file__).parent
RESULTS = {"failure", "error", "skip", "timeout", "crash", "noresult", "flaky"}


@dataclass(frozen=True)
class Expectation:
    """One line."""

    test: str
    result: str
    server: str
    reason: str


def file_for(version: str) -> Path:
    return HERE / f"expected-{version}.tsv"


def parse(lines: Iterable[str]) -> list[Expectation]:
    """Every line; raises ValueError for one without a reason, with an unknown result, or given twice."""
    found: list[Expectation] = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        fields = line.rstrip("\n").split("\t")
        if len(fields) != 4 or fields[1] not in RESULTS or not fields[3].strip():
            raise ValueError(f"line {number}: want test, result, server and reason: {line!r}")
        found.append(Expectation(*fields))
    doubled = [key for key, count in Counter((line.test, line.server) for line in found).items() if count > 1]
    if doubled:
        raise ValueError(f"more than one line for {doubled}")
    return found


def load(version: str, server: str) -> dict[str, Expectation]:
    """The lines that hold for one kind of server; its own before those for all."""
    path = file_for(version)
    lines = parse(path.read_text().splitlines()) if path.exists() else []
    chosen = {line.test: line for line in lines if line.server == "all"}
    return chosen | {line.test: line for line in lines if line.server == server}


def surprises(outcomes: Mapping[str, Outcome], expected: Mapping[str, Expectation]) -> list[str]:
    """Every difference, a line of text each; empty if all is as expected."""
    found = []
    for test, outcome in outcomes.items():
        line = expected.get(test)
        wanted = line.result if line else "success"
        if outcome.result == wanted or (wanted == "flaky" and outcome.result != "notrun"):
            continue
        if outcome.result == "success":
            found.append(f"{test}: succeeds now; expected was {wanted} ({line.reason if line else ''})")
        else:
            found.append(f"{test}: {outcome.result}, expected {wanted}: {outcome.why}")
    return found


def summary(outcomes: Mapping[str, Outcome]) -> str:
    """Counts by suite, as a table."""
    rows: dict[str, Counter[str]] = {}
    for outcome in outcomes.values():
        rows.setdefault(suite_of(outcome.test), Counter())[outcome.result] += 1
    total = Counter(outcome.result for outcome in outcomes.values())
    columns = sorted(total, key=lambda result: (result != "success", result))
    width = max((len(suite) for suite in rows), default=5)
    lines = [" ".join(["suite".ljust(width), *(column.rjust(8) for column in columns)])]
    for suite, counts in [*sorted(rows.items()), ("total", total)]:
        lines.append(
            " ".join([suite.ljust(width), *(str(counts[column] or ".").rjust(8) for column in columns)])
        )
    return "\n".join(lines)
