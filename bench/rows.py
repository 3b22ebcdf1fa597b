"""What is measured: one row is one load, with the goal that the architecture sets for it.

`arguments` are those of the load generator (`bench/load/smbload.c --help`); `metric` is the field of its
answer that counts;
`goal` is the ratio to smbd's, for a directory (`sofs serve`) and a simple space. A mirrored volume may take
twice as much for bulk rows.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """`prepare`: loads that lay what the row needs, untimed."""

    name: str
    arguments: tuple[str, ...]
    metric: str
    unit: str
    goal: float | None = None
    prepare: tuple[tuple[str, ...], ...] = ()
    bulk: bool = False


def _args(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _sequential(quick: bool) -> list[Row]:
    size = "64M" if quick else "256M"
    goals = {
        "read": {"none": 1.0, "sign": 1.1, "encrypt": 1.2},
        "rewrite": {"none": 1.0, "sign": 1.0, "encrypt": 1.3},
    }
    rows: list[Row] = []
    for block, depth in (("1M", 8), ("8M", 4)):
        for security in ("none", "sign", "encrypt"):
            common = f"--bs {block} --qd {depth} --size {size} --file bench.seq"
            lay = (_args(f"--mode seqwrite --sec none {common}"),)
            for mode in ("read", "rewrite"):
                goal = goals[mode][security] if block == "1M" else None
                arguments = _args(f"--mode seq{mode} --sec {security} {common}")
                rows.append(
                    Row(f"{mode} {block} qd{depth} {security}", arguments, "mib_s", "MiB/s", goal, lay, True)
                )
    common = f"--bs 1M --qd 4 --conns 4 --size {size} --file bench.seq4"
    lay = (_args(f"--mode seqwrite --sec none {common}"),)
    rows.append(
        Row(
            "read 1M qd4 sign, 4 clients",
            _args(f"--mode seqread {common}"),
            "mib_s",
            "MiB/s",
            None,
            lay,
            True,
        )
    )
    return rows


def _random(quick: bool) -> list[Row]:
    seconds = "2" if quick else "5"
    common = "--bs 4k --size 64M --file bench.rand"
    lay = (_args(f"--mode randread --count 1 {common}"),)
    goals = {("read", 1): 1.2, ("read", 32): 2.5, ("write", 32): 1.5}
    rows: list[Row] = []
    for security in ("sign", "encrypt"):
        for depth in (1, 32):
            for mode in ("read", "write"):
                goal = goals.get((mode, depth)) if security == "sign" else None
                arguments = _args(
                    f"--mode rand{mode} --sec {security} --qd {depth} --secs {seconds} {common}"
                )
                rows.append(Row(f"rand{mode} 4k qd{depth} {security}", arguments, "ops_s", "IOPS", goal, lay))
    return rows


def _metadata(quick: bool) -> list[Row]:
    count = 500 if quick else 2000
    goals = {"create": 10.0, "openclose": None, "stat": 3.0, "rename": 8.0, "delete": 2.0}
    rows: list[Row] = []
    for mode, goal in goals.items():
        lay = () if mode == "create" else (_args(f"--mode create --dir bench.{mode} --count {count} --qd 8"),)
        arguments = _args(f"--mode {mode} --dir bench.{mode} --count {count} --qd 1")
        rows.append(Row(f"{mode} {count} files qd1", arguments, "ops_s", "files/s", goal, lay))
    entries = 2000 if quick else 10000
    lay = (_args(f"--mode create --dir bench.list --count {entries} --fsize 1 --qd 8"),)
    arguments = _args("--mode list --dir bench.list --count 3 --bs 64k")
    rows.append(Row(f"list {entries} entries", arguments, "entries_s", "entries/s", 3.0, lay))
    return rows


def _sessions(quick: bool) -> list[Row]:
    count = 50 if quick else 200
    rows = [Row("connect", _args(f"--mode connect --count {count} --procs 1"), "ops_s", "conn/s", 8.0)]
    seconds = "3" if quick else "8"
    arguments = _args(f"--mode mixed --conns 64 --secs {seconds} --dir bench.mixed")
    rows.append(Row("64 clients mixed", arguments, "ops_s", "ops/s", 3.0))
    rows.append(
        Row("echo qd32", _args(f"--mode echo --qd 32 --count 1000000 --secs {seconds}"), "ops_s", "ops/s")
    )
    return rows


def rows(quick: bool) -> list[Row]:
    """Every row, in the order they are run."""
    return _sessions(quick) + _random(quick) + _sequential(quick) + _metadata(quick)
