"""Breaks under way: telling holders, waiting for them, and giving up on them.

What is broken is decided by `caching`; here it is carried out. Sources: [MS-SMB2] 3.3.4.6 Object Store
Indicates an Oplock Break; 3.3.4.7 Object Store Indicates a Lease Break; 3.3.2.1 Oplock Break
Acknowledgment Timer; 3.3.6.1 Oplock Break Acknowledgment Timer Event; [MS-FSA] 2.1.4.12 Algorithm to
Check for an Oplock Break. A holder whose opens are all kept for lost clients cannot answer: they are
purged in place of being told. Times are seconds. Owner: the volume; waits only through the runtime.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from storage.objectstore import caching
from storage.objectstore.caching import Check, Holder, Notice
from storage.objectstore.disconnected import may_purge
from storage.objectstore.state import Blocked, StreamState
from storage.volume import BreakSink, File, LeaseBreak

if TYPE_CHECKING:
    from storage.objectstore.file import OpenFile
    from storage.runtime import Event, Runtime

T = TypeVar("T")

BREAK_TIMEOUT_S: Final = 35.0
"""[MS-SMB2] 3.3.2.1 Oplock Break Acknowledgment Timer: Windows waits 35 seconds."""


class NoSink:
    """Before a server is attached nobody can be told."""

    def oplock_break(self, file: File, level: int, ack_required: bool) -> bool:
        return False

    def lease_break(self, notice: LeaseBreak) -> bool:
        return False

    def open_purged(self, file: File) -> None:
        return


class _Operation(Generic[T]):
    """An attempt that was blocked; `storage.objectstore.state.Waiting`."""

    __slots__ = ("attempt", "error", "event", "outcome", "state")

    def __init__(self, attempt: Callable[[], T], event: Event, state: StreamState) -> None:
        self.attempt = attempt
        self.event = event
        self.state = state
        self.outcome: list[T] = []
        self.error: Exception | None = None
        state.waiters.append(self)

    def retry(self) -> None:
        try:
            self.outcome.append(self.attempt())
        except Blocked as blocked:
            self.state = blocked.state
            self.state.waiters.append(self)
            return
        except (
            Exception
        ) as error:  # whatever it is, it belongs to the task that waits, not to whoever woke it
            self.error = error
        self.event.set()

    def withdraw(self, undo: Callable[[T], None] | None) -> None:
        if self in self.state.waiters:
            self.state.waiters.remove(self)
        if self.outcome and undo is not None:
            undo(self.outcome[0])

    def take(self) -> T:
        if self.error is not None:
            raise self.error
        return self.outcome[0]


class Breaks:
    """Of one volume."""

    __slots__ = ("_breaking", "_is_watching", "_purge", "_runtime", "sink")

    def __init__(self, runtime: Runtime, purge: Callable[[OpenFile], None]) -> None:
        self.sink: BreakSink = NoSink()
        self._runtime = runtime
        self._purge = purge
        self._breaking: list[Holder] = []
        self._is_watching = False

    def deliver(self, notices: list[Notice]) -> None:
        """Tell the holders; one that cannot be told loses its opens, as a kept one does."""
        queue = list(notices)
        while queue:
            notice = queue.pop(0)
            holder = notice.holder
            # `caching` is blind to what an open is.
            opens: list[OpenFile] = holder.opens  # type: ignore[assignment]
            if notice.ack_required and opens and all(may_purge(one.keeping) for one in opens):
                for one in tuple(opens):
                    self._purge(one)
                continue
            if notice.ack_required:
                holder.deadline_s = self._runtime.now() + BREAK_TIMEOUT_S
            if not self._tell(notice, opens) and notice.ack_required:
                for one in tuple(opens):
                    self._purge(one)
                continue
            if notice.ack_required:
                self._breaking.append(holder)
                self._watch()

    def _tell(self, notice: Notice, opens: list[OpenFile]) -> bool:
        holder = notice.holder
        if holder.is_lease:
            return self.sink.lease_break(
                LeaseBreak(
                    holder.client_guid,
                    holder.lease_key,
                    notice.current,
                    notice.new,
                    holder.epoch if holder.version == 2 else 0,
                    notice.ack_required,
                )
            )
        return bool(opens) and self.sink.oplock_break(
            opens[0], caching.LEVEL_OF_STATE[notice.new], notice.ack_required
        )

    def start(self, check: Check, state: StreamState) -> bool:
        """Deliver; True: the operation is blocked until `state` is woken, then it asks again."""
        if check.notices:
            self.deliver(check.notices)
        if not check.must_wait or state.caching is None:
            return False
        return any(holder.is_breaking for holder in state.caching.holders)

    async def until(self, attempt: Callable[[], T], undo: Callable[[T], None] | None = None) -> T:
        """What `attempt` gives once it is no longer Blocked.

        It is a plain function, tried again whenever a break or an open that it waits for ends.
        Cancel: safe; an outcome that nobody takes any more is undone.
        """
        try:
            return attempt()
        except Blocked as blocked:
            waiting = _Operation(attempt, self._runtime.event(), blocked.state)
        try:
            await waiting.event.wait()
        except BaseException:
            waiting.withdraw(undo)
            raise
        return waiting.take()

    def forget(self, holder: Holder) -> None:
        """Its break is over, or it is gone."""
        if not holder.is_breaking and holder in self._breaking:
            self._breaking.remove(holder)

    def settled(self, holder: Holder) -> None:
        """A break ended, however: whoever waits looks again. Opens that are kept for lost clients are kept by
        HANDLE caching; one that shares its lease with a live open may have lost it."""
        self.forget(holder)
        if not holder.is_breaking and not holder.state & caching.HANDLE:
            opens: list[OpenFile] = holder.opens  # type: ignore[assignment]
            for one in tuple(opens):
                if may_purge(one.keeping):
                    self._purge(one)
        stream_state = holder.caching.identity
        assert isinstance(stream_state, StreamState)
        stream_state.wake()

    def _watch(self) -> None:
        if not self._is_watching:
            self._is_watching = True
            self._runtime.spawn(self._expire_overdue, "oplock break acknowledgment timer")

    async def _expire_overdue(self) -> None:
        """[MS-SMB2] 3.3.6.1: an overdue holder counts as having given up all."""
        while self._breaking:
            now = self._runtime.now()
            for holder in tuple(self._breaking):
                if holder.is_breaking and holder.deadline_s <= now:
                    holder.caching.expire(holder)
                if not holder.is_breaking:
                    self.settled(holder)
            if self._breaking:
                first = min(holder.deadline_s for holder in self._breaking)
                await self._runtime.sleep(max(first - now, 0.01))
        self._is_watching = False
