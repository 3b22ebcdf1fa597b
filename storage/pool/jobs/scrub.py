"""The scrub job: every written block of every copy is read, verified, and repaired if it is bad.

    row by row, space by space; the checkpoint is the last row below which all are done

Rows that are written meanwhile are read once, as they are then. Blocks that no copy or parity can give back
are counted as lost: the job then ends as EXCEPTION and says so; nothing is made up in their place.
Source: docs/design-spaces.md, "Jobs".
"""

from __future__ import annotations

import struct
from typing import Final

from storage.errors import BlockCorrupt, StorageError
from storage.pool.jobs.crew import WHOLE_ROW
from storage.pool.jobs.port import JobHost, Key, Run, Task
from storage.pool.jobs.repair import is_part_of
from storage.space.machine import Pace

_POINT: Final = struct.Struct("<III")
"""Version, space id, row: all rows before it are done."""


class ScrubWork:
    def __init__(self, host: JobHost, space_id: int | None, checkpoint: bytes) -> None:
        self._host = host
        self._space_id = space_id
        self._from = decode_point(checkpoint)
        self._waiting: dict[Key, None] = {}
        self._is_surveyed = False
        self.checked = self.repaired = self.lost = 0

    async def survey(self, pace: Pace) -> list[Task]:
        """Once: the rows there are now."""
        if self._is_surveyed:
            return []
        self._is_surveyed = True
        tasks = []
        for space_id, machine in sorted(self._host.machines.items()):
            if not is_part_of(machine.state, self._space_id):
                continue
            for row in sorted(machine.state.rows):
                if (space_id, row) >= self._from:
                    copies = machine.state.columns(row) or []
                    size = sum(map(len, copies)) * self._host.slab_bytes
                    key = Key(space_id, row, WHOLE_ROW)
                    tasks.append(Task(key, size, self._scrub(key)))
                    self._waiting[key] = None
            await pace(0)
        return tasks

    def _scrub(self, key: Key) -> Run:
        async def run(pace: Pace) -> bool:
            machine = self._host.machines.get(key.space_id)
            if machine is None or machine.is_deleted or key.row not in machine.state.rows:
                return False
            result = await machine.scrub_row(key.row, pace)
            self.checked += result.checked
            self.repaired += result.repaired
            self.lost += result.lost
            if result.lost:
                raise BlockCorrupt(f"space {machine.name} row {key.row}: {result.lost} blocks are lost")
            return True

        return run

    def ended(self, task: Task) -> bytes | None:
        self._waiting.pop(task.key, None)
        first = next(iter(self._waiting), None)
        return None if first is None else _POINT.pack(1, first.space_id, first.row)

    async def conclude(self) -> None:
        """A scrub that says Completed has made what it repaired durable."""
        first: StorageError | None = None
        for machine in list(self._host.machines.values()):
            if is_part_of(machine.state, self._space_id) and not machine.is_deleted:
                try:
                    await machine.flush()
                except StorageError as error:
                    first = first or error
        if first is not None:
            raise first


def decode_point(checkpoint: bytes) -> tuple[int, int]:
    """(space id, row) to go on from; from the beginning if it says nothing that is known."""
    if len(checkpoint) != _POINT.size:
        return 0, 0
    version, space_id, row = _POINT.unpack(checkpoint)
    return (space_id, row) if version == 1 else (0, 0)
