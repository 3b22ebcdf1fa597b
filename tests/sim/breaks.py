"""How a simulated client answers breaks: it writes back, closes what it only cached, and acknowledges, at
times never. One part of `tests/sim/client.py`.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import trio

from smbproto.codec import FileId
from smbproto.smb2.create import (
    SMB2_LEASE_HANDLE_CACHING,
    SMB2_LEASE_WRITE_CACHING,
    SMB2_OPLOCK_LEVEL_II,
)
from smbproto.smb2.header import Command
from smbproto.smb2.oplock_break import (
    SMB2_NOTIFY_BREAK_LEASE_FLAG_ACK_REQUIRED,
    LeaseBreakAcknowledgment,
    LeaseBreakNotification,
    OplockBreakAcknowledgment,
    OplockBreakNotification,
)
from smbproto.status import Status
from tests.sim.handles import SILENCE, Handle, Lost, SimConnection, SimLease
from tests.sim.model import ModelStream

if TYPE_CHECKING:
    from tests.sim.simulation import Simulation


class BreakAnswers:
    """The other parts give what is declared here."""

    sim: Simulation
    number: int
    rng: random.Random
    generation: int
    connection: SimConnection
    leases: dict[bytes, SimLease]
    handles: dict[Handle, None]
    oplock_breaks: dict[FileId, list[tuple[int, int]]]
    _up: trio.Event
    _nursery: trio.Nursery
    call: Any
    close: Any

    def believe(self, stream: ModelStream, holder: object, state: int) -> None:
        raise AssertionError

    async def write_back(self, stream: ModelStream) -> None:
        raise AssertionError

    def _broken(self, notice: OplockBreakNotification | LeaseBreakNotification) -> None:
        order = self.connection.arrivals if hasattr(self, "connection") else 0
        self.sim.trace(self.number, "break")
        if isinstance(notice, LeaseBreakNotification):
            lease = self.leases.get(notice.lease_key)
            if lease is not None:
                lease.breaks.append((order, notice.new_lease_state))
                if lease.granted_at < order:
                    lease.state &= notice.new_lease_state
            # [MS-SMB2] 3.2.5.19.2: whose file is not found needs no further processing.
            if lease is not None and notice.flags & SMB2_NOTIFY_BREAK_LEASE_FLAG_ACK_REQUIRED:
                lease.answering += 1
                self._nursery.start_soon(self._acknowledge_lease, self.generation, notice, lease)
            elif lease is not None:
                self.believe(lease.stream, lease, lease.state)
            return
        here = (one for one in self.handles if one.generation == self.generation)
        handle = next((one for one in here if one.file_id == notice.file_id), None)
        if handle is None:
            self.oplock_breaks.setdefault(notice.file_id, []).append((order, notice.oplock_level))
            needs_answer = True
        else:
            needs_answer = handle.level > SMB2_OPLOCK_LEVEL_II
            handle.level = min(handle.level, notice.oplock_level)
        if needs_answer:
            self._nursery.start_soon(self._acknowledge_oplock, self.generation, notice, handle)

    async def _acknowledge_lease(
        self, generation: int, notice: LeaseBreakNotification, lease: SimLease
    ) -> None:
        try:
            await trio.sleep(self.rng.expovariate(1 / 0.02))
            if generation != self.generation or not self._up.is_set():
                return
            is_silent = self.rng.random() < SILENCE
            keep = notice.new_lease_state if self.rng.random() < 0.8 else notice.new_lease_state & 1
            keep = 0 if is_silent else keep
            lease.state &= keep
            lease.breaks.append((self.connection.arrivals + 1, keep))
            if await self._give_up(lease):
                is_silent = False
            if is_silent:
                self.sim.count("breaks left unanswered")
                return
            self.sim.count("lease breaks acknowledged")
            await self.call(
                Command.OPLOCK_BREAK,
                LeaseBreakAcknowledgment(lease_key=notice.lease_key, lease_state=keep),
                generation=generation,
                also=(Status.OBJECT_NAME_NOT_FOUND, Status.UNSUCCESSFUL, Status.REQUEST_NOT_ACCEPTED),
            )
        except Lost:
            pass
        finally:
            lease.answering -= 1
            lease.answered_at_s = trio.current_time()

    async def _give_up(self, lease: SimLease) -> bool:
        """Write back and close what the new state does not cover; whether opens lingered."""
        await self.write_back(lease.stream)
        if not lease.state & SMB2_LEASE_WRITE_CACHING:
            lease.stream.caching.pop(lease, None)
        lingering = False
        if not lease.state & SMB2_LEASE_HANDLE_CACHING:
            for handle in [one for one in self.handles if one.lease is lease]:
                handle.broken.set()
                if handle.is_lingering:
                    lingering = True
                    await self.close(handle)
        return lingering

    async def _acknowledge_oplock(
        self, generation: int, notice: OplockBreakNotification, handle: Handle | None
    ) -> None:
        await trio.sleep(self.rng.expovariate(1 / 0.02))
        if generation != self.generation or not self._up.is_set():
            return
        lingered = False
        if handle is not None:
            try:
                await self.write_back(handle.stream)
                handle.stream.caching.pop(handle, None)
                handle.broken.set()
                if handle.is_lingering:
                    lingered = True
                    await self.close(handle)
            except Lost:
                return
        self.sim.count("oplock breaks acknowledged")
        if lingered or self.rng.random() < SILENCE:
            self.sim.count("breaks left unanswered", not lingered)
            return
        request = OplockBreakAcknowledgment(oplock_level=notice.oplock_level, file_id=notice.file_id)
        try:
            await self.call(
                Command.OPLOCK_BREAK,
                request,
                generation=generation,
                also=(
                    Status.FILE_CLOSED,
                    Status.INVALID_OPLOCK_PROTOCOL,
                    Status.INVALID_DEVICE_STATE,
                    Status.INVALID_PARAMETER,
                ),
            )
        except Lost:
            pass
