"""Jobs as progress bars on a terminal; as one JSON document a line, each time something changed, with
--json."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from cluster.cli.context import Settings, call_node, fail, state_directory
from cluster.io.command import running_at
from cluster.io.pause import pause
from cluster.text import visible

EVERY_S = 1.0
RUNNING = frozenset({"New", "Running", "Suspended"})
FAILED = frozenset({"Exception", "Killed"})


def watch_jobs() -> None:
    """Until nothing runs. Status 1 if a job that was seen running ended otherwise than well."""
    if running_at(state_directory()) is None:
        fail("no node is running; jobs go on when `sofs run` or `sofs up` has started it")
    jobs: list[dict[str, Any]] = call_node("job.list")
    watched = {job["id"] for job in jobs if job["state"] in RUNNING}
    if Settings.as_json:
        jobs = _lines(jobs, watched)
    else:
        jobs = _bars(jobs, watched)
    ended = [job for job in jobs if job["id"] in watched and job["state"] in FAILED]
    if ended:
        fail(f"job {ended[0]['id']} ended as {ended[0]['state']}: {ended[0]['error'] or 'no reason given'}")


def _next(watched: set[str]) -> list[dict[str, Any]]:
    pause(EVERY_S)
    jobs: list[dict[str, Any]] = call_node("job.list")
    watched.update(job["id"] for job in jobs if job["state"] in RUNNING)
    return jobs


def _is_over(jobs: list[dict[str, Any]]) -> bool:
    return not any(job["state"] in RUNNING for job in jobs)


def _lines(jobs: list[dict[str, Any]], watched: set[str]) -> list[dict[str, Any]]:
    told = ""
    while True:
        line = json.dumps([job for job in jobs if job["id"] in watched])
        if line != told:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
            told = line
        if _is_over(jobs):
            return jobs
        jobs = _next(watched)


def _bars(jobs: list[dict[str, Any]], watched: set[str]) -> list[dict[str, Any]]:
    if not watched:
        sys.stdout.write("no job is running\n")
        return jobs
    columns = (
        TextColumn("{task.fields[name]}", markup=False), BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"), DownloadColumn(binary_units=True), TimeElapsedColumn(),
        TextColumn("{task.fields[state]}", markup=False),
    )  # fmt: skip
    bars: dict[str, TaskID] = {}
    with Progress(*columns, console=Console(markup=False, highlight=False)) as progress:
        while True:
            for job in jobs:
                if job["id"] in watched:
                    _show(progress, bars, job)
            progress.refresh()
            if _is_over(jobs):
                return jobs
            jobs = _next(watched)


def _show(progress: Progress, bars: dict[str, TaskID], job: dict[str, Any]) -> None:
    found = bars.get(job["id"])
    if found is None:
        found = bars[job["id"]] = progress.add_task("", name=visible(job["name"]), state=job["state"])
    total = job["total bytes"] or None
    progress.update(found, completed=job["processed bytes"], total=total, state=job["state"])
