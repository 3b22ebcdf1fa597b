"""`sofs job`."""

from __future__ import annotations

import typer

from cluster.cli.context import do
from cluster.cli.watch import watch_jobs

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def listing() -> None:
    """Jobs that run, and the last ones that ended."""
    do("job.list")


@app.command()
def watch() -> None:
    """Show the progress of all jobs until none runs any more; Ctrl-C ends the watching, not the jobs."""
    watch_jobs()


@app.command()
def stop(job_id: str) -> None:
    """End a job where it is; what it has done stays."""
    do("job.stop", id=job_id)


@app.command()
def suspend(job_id: str) -> None:
    """Let a job rest; it stays so until it is resumed, over restarts too."""
    do("job.suspend", id=job_id)


@app.command()
def resume(job_id: str) -> None:
    """Let a job go on."""
    do("job.resume", id=job_id)
