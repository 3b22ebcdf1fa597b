"""Running jobs that had to wait, each in a task of its own. Shared by the pump and the stream driver.

    detach(job): the rest of a handler --ends--> next one of the compound ... --> responses leave
                 CANCEL and a lost connection stop it; a handler that waits tells the client

A handler's bug is logged with its message and ends that connection, never the server.
"""

from __future__ import annotations

import logging
from abc import abstractmethod

import trio

from smbproto.endpoint.framing import Arena
from smbproto.errors import ProtocolViolation
from smbproto.io.eager import on_wait, resume
from smbproto.smb2.describe import describe_untrusted
from smbsrv.connection import ARENA_BYTES, Connection
from smbsrv.job import Job, Work
from smbsrv.request import Reply

__all__ = ["JobRunner", "log_end"]

log = logging.getLogger("sofs.smb")


class JobRunner:
    """Base of the drivers. `nursery` is where detached jobs go on."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.arena = Arena(ARENA_BYTES)
        self.nursery = nursery
        self.has_begun = False
        """A task was started that Trio has not run yet."""

    def detach(self, job: Job, work: Work) -> None:
        self.has_begun = True
        self.keep_memory(job)
        scope = trio.CancelScope()  # made here: a CANCEL may come before the task has begun
        job.cancel = scope.cancel
        self.nursery.start_soon(self._task, job, work, scope)

    async def _task(self, job: Job, work: Work | None, scope: trio.CancelScope) -> None:
        on_wait.set(job.waits)
        try:
            while work is not None:
                reply: Reply | None = None
                with scope:
                    if job.connection.is_closing:
                        scope.cancel()
                    reply = await resume(work)
                scope = trio.CancelScope()
                job.cancel = scope.cancel
                work = job.advance(job.cancelled() if reply is None else reply)
            job.finish()
        except Exception as error:
            log_end(job.connection, error, job)
            self.close(job.connection)
        finally:
            job.connection.job_ended(job)
            self.release_memory(job)

    @abstractmethod
    def keep_memory(self, job: Job) -> None:
        """The job detached: the memory that its message lies in is its own until `release_memory`."""

    @abstractmethod
    def release_memory(self, job: Job) -> None: ...

    @abstractmethod
    def close(self, connection: Connection) -> None: ...


def log_end(connection: Connection, error: Exception, job: Job | None = None) -> None:
    """Why a connection is ended by us."""
    statistics = connection.server.statistics
    if isinstance(error, ProtocolViolation):
        statistics.violations += 1
        log.warning("violation connection=%d peer=%s: %s", connection.id, connection.peer, error)
        return
    statistics.bugs += 1
    if job is not None and job.index < len(job.requests):
        error.add_note(f"while handling {describe_untrusted(job.current.message)}")
    log.error("bug connection=%d peer=%s", connection.id, connection.peer, exc_info=error)
