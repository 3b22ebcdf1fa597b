"""The repair job, and the one that empties a disk: every slab gets back all its copies.

    survey: rows with a stale copy, with a copy on a retired disk, or with one that was left joining;
            those with the least redundancy left come first
    task:   one column: step by step what plan.py says, until nothing is left

One pass over the slab map per survey; it gives way every few hundred rows. A disk that fails under a task
fails that task only; the next survey sees the disks that are left. Source: docs/design-spaces.md, "Jobs".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from storage.errors import DiskFailed, SlabLost, StorageError
from storage.pool.jobs.plan import Action, Step, next_step, steps_left
from storage.pool.jobs.port import JobHost, Key, Run, Task
from storage.pool.metadata import COPY, CopyRecord, SpaceState
from storage.space.machine import Pace, SpaceMachine
from storage.space.slabset import Place, SlabSet

ROWS_PER_TURN: Final = 256
STEPS_MAX: Final = 16
"""Of one column in one task; disks that come and go must not keep it for ever."""


class RepairWork:
    """`space_id` None: all spaces. `disk`: only what lies on that (retired) disk."""

    def __init__(self, host: JobHost, space_id: int | None, disk: int | None = None) -> None:
        self._host = host
        self._space_id = space_id
        self._disk = disk

    async def survey(self, pace: Pace) -> list[Task]:
        found: list[tuple[int, Key, int]] = []
        there, retired = set(self._host.disks_there()), set(self._host.disks_retired())
        emptied = {number for number in retired if self._host.slabs_on(number)}
        looked = 0
        for machine in [*self._host.machines.values()]:
            if not is_part_of(machine.state, self._space_id):
                continue
            for row in _rows_touched(machine.state, emptied):
                looked += 1
                if looked % ROWS_PER_TURN == 0:
                    await pace(0)
                found.extend(self._look(machine, row, there, retired))
        found.sort()
        size = self._host.slab_bytes
        return [Task(key, count * size, self._repair(key)) for _, key, count in found]

    def _look(
        self, machine: SpaceMachine, row: int, there: set[int], retired: set[int]
    ) -> Iterator[tuple[int, Key, int]]:
        columns = machine.state.columns(row) or []
        record = machine.state.record
        good = [
            sum(1 for copy in copies if copy.disk in there and not copy.stale and not copy.joining)
            for copies in columns
        ]
        bad_columns = sum(1 for count in good if not count)
        for column, copies in enumerate(columns):
            if self._disk is not None and all(copy.disk != self._disk for copy in copies):
                continue
            if next_step(copies, there, retired) is not None:
                margin = record.parity_columns - bad_columns if record.parity_columns else good[column] - 1
                count = max(1, steps_left(copies, there, retired))
                yield margin, Key(record.space_id, row, column), count

    def _repair(self, key: Key) -> Run:
        async def run(pace: Pace) -> bool:
            return await self._repair_column(key, pace)

        return run

    async def _repair_column(self, key: Key, pace: Pace) -> bool:
        """Raises: StorageError: the copy stays as it was."""
        did = False
        for _ in range(STEPS_MAX):
            machine = self._host.machines.get(key.space_id)
            sets = machine.row(key.row) if machine is not None and not machine.is_deleted else None
            if machine is None or sets is None:
                return did
            slabs = sets[key.column]
            step = next_step(slabs.copies, self._host.disks_there(), self._host.disks_retired())
            if step is None:
                return did
            await self._perform(machine, slabs, step, pace)
            did = True
        raise StorageError(
            f"space {key.space_id} row {key.row} column {key.column}: disks come and go too fast"
        )

    async def _perform(self, machine: SpaceMachine, slabs: SlabSet, step: Step, pace: Pace) -> None:
        await pace(0)
        if step.action is Action.DROP:
            await self._host.drop_copy(machine, slabs, step.copy)
            return
        if not machine.may_mark_stale(slabs):
            raise SlabLost(
                f"space {machine.name} row {slabs.row} column {slabs.column}: nothing to copy from"
            )
        if step.action is Action.REFILL:
            await fill(self._host, machine, slabs, step.copy, None, pace)
            return
        onto = step.onto
        if onto is None:
            place = await self._host.start_copy(machine, slabs, step.copy)
            onto = next(copy for copy in slabs.copies if copy.disk == place.number and copy.joining)
        await fill(self._host, machine, slabs, onto, step.copy, pace)

    def ended(self, task: Task) -> bytes | None:
        return None

    async def conclude(self) -> None:
        """An emptied disk leaves the pool."""
        if self._disk is not None and self._disk in self._host.state.disks:
            await self._host.drop_disk(self._disk)


async def fill(
    host: JobHost,
    machine: SpaceMachine,
    slabs: SlabSet,
    copy: CopyRecord,
    drop: CopyRecord | None,
    pace: Pace,
) -> None:
    """Refill a stale copy and make it current. A joining one that could not be filled is given up."""
    place = _place_of(slabs, copy)
    if place is None:
        raise DiskFailed(f"disk {copy.disk} went away before its slab was refilled")
    try:
        await machine.refill(slabs, place, pace)
        await host.finish_copy(machine, slabs, place, drop)
    except DiskFailed as error:
        host.disk_failed(place.number, error)
        raise
    except StorageError:
        if copy.joining and not slabs.is_dead:
            await host.drop_copy(machine, slabs, copy)
        raise


def is_part_of(state: SpaceState, space_id: int | None) -> bool:
    """Is it that space, or a part of it? None: all are."""
    return space_id is None or space_id in (state.record.space_id, state.record.parent)


def _place_of(slabs: SlabSet, copy: CopyRecord) -> Place | None:
    for place in slabs.writers:
        if place.number == copy.disk:
            return place
    return None


def _rows_touched(state: SpaceState, disks: set[int]) -> list[int]:
    """Rows that may need something: by what the map remembers, and by a look at each if disks are emptied."""
    rows = state.stale_rows | state.joining_rows
    if disks:
        for row, packed in state.rows.items():
            if row not in rows and any(disk in disks for disk, _, _ in COPY.iter_unpack(packed)):
                rows.add(row)
    return sorted(rows)
