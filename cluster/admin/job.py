"""`sofs job`: long work of the pool, with progress."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cluster.admin.registry import NoArguments, call
from cluster.errors import NotFound

if TYPE_CHECKING:
    from cluster.node import Node
    from storage.pool.jobs.job import JobStatus

UNDER_WAY = frozenset({"New", "Running", "Suspended"})


@dataclass(frozen=True, slots=True)
class JobId:
    """As the list shows it: a number, or "v" and a number for work on a volume."""

    id: str


def row(job: JobStatus) -> dict[str, object]:
    """As Get-StorageJob tells it."""
    return {
        "id": str(job.id),
        "name": job.name,
        "state": job.state,
        "percent": job.percent,
        "processed bytes": job.bytes_processed,
        "total bytes": job.bytes_total,
        "seconds": int(job.elapsed_s),
        "background": job.is_background,
        "error": job.error,
    }


def _unknown(job_id: str) -> NotFound:
    return NotFound(f"no job {job_id} is running; `sofs job list` shows those there are")


def _number(job_id: str) -> int:
    """Of a job of the pool. Raises: NotFound."""
    if not job_id.isdecimal():
        raise _unknown(job_id)
    return int(job_id)


@call("job.list")
async def listing(node: Node, args: NoArguments) -> list[dict[str, object]]:
    pool = [row(job) for job in node.require_pool().jobs.jobs()]
    return sorted(node.volume_jobs.rows() + pool, key=lambda job: job["state"] not in UNDER_WAY)


@call("job.stop")
async def stop(node: Node, args: JobId) -> dict[str, object]:
    volume_job = node.volume_jobs.find(args.id)
    if volume_job is not None:
        await node.volume_jobs.stop(volume_job)
        return volume_job.row(node.runtime.now())
    jobs, number = node.require_pool().jobs, _number(args.id)
    try:
        await jobs.cancel(number)
        return row(jobs.status(number))
    except KeyError:
        raise _unknown(args.id) from None


@call("job.suspend")
async def suspend(node: Node, args: JobId) -> dict[str, object]:
    jobs, number = node.require_pool().jobs, _number(args.id)
    try:
        await jobs.suspend(number)
        return row(jobs.status(number))
    except KeyError:
        raise _unknown(args.id) from None


@call("job.resume")
async def resume(node: Node, args: JobId) -> dict[str, object]:
    jobs, number = node.require_pool().jobs, _number(args.id)
    try:
        await jobs.resume(number)
        return row(jobs.status(number))
    except KeyError:
        raise _unknown(args.id) from None
