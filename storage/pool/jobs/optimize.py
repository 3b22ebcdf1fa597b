"""The optimize job: slabs move until all disks are filled evenly, in proportion to their size.

    survey -> even enough? nothing
              : plan.py's moves -> each: new copy onto that disk, refilled, the old one dropped

Only copies that are current move, of columns with nothing else to do. A move whose target fills up meanwhile
fails alone; the next survey plans again. Source: docs/design-spaces.md, "Jobs"; Optimize-StoragePool.
"""

from __future__ import annotations

from typing import Final

from storage.errors import PoolFull, StorageError
from storage.pool.jobs.plan import Held, Load, Move, imbalance, plan_moves
from storage.pool.jobs.port import JobHost, Key, Run, Task
from storage.pool.jobs.repair import fill
from storage.space.machine import Pace

ROWS_PER_TURN: Final = 256
ROUNDS_MAX: Final = 8


class OptimizeWork:
    def __init__(self, host: JobHost) -> None:
        self._host = host
        self._rounds = 0

    async def survey(self, pace: Pace) -> list[Task]:
        groups = disk_groups(self._host)
        if unevenness(self._host) <= 1 or self._rounds >= ROUNDS_MAX:
            return []
        self._rounds += 1
        loads = {number: load for group in groups for number, load in group.items()}
        held: list[Held] = []
        looked = 0
        for space_id, machine in sorted(self._host.machines.items()):
            state = machine.state
            for row in sorted(set(state.rows) - state.stale_rows - state.joining_rows):
                looked += 1
                if looked % ROWS_PER_TURN == 0:
                    await pace(0)
                columns = state.columns(row) or []
                every = frozenset(copy.disk for copies in columns for copy in copies)
                for column, copies in enumerate(columns):
                    mine = frozenset(copy.disk for copy in copies)
                    beside = every if state.record.parity_columns else mine
                    key = Key(space_id, row, column)
                    held.extend(Held(key, copy, beside) for copy in copies if copy.disk in loads)
        moves = [
            move
            for group in groups
            for move in plan_moves(group, [one for one in held if one.copy.disk in group], self._may_hold)
        ]
        size = self._host.slab_bytes
        return [Task(move.key, size, self._move(move)) for move in moves]

    def _may_hold(self, held: Held, number: int) -> bool:
        machine = self._host.machines[held.key.space_id]
        return self._host.may_hold(machine, held.copy, held.beside - {held.copy.disk}, number)

    def _move(self, move: Move) -> Run:
        async def run(pace: Pace) -> bool:
            machine = self._host.machines.get(move.key.space_id)
            sets = machine.row(move.key.row) if machine is not None and not machine.is_deleted else None
            if machine is None or sets is None:
                return False
            slabs = sets[move.key.column]
            if move.copy not in slabs.copies or any(copy.stale or copy.joining for copy in slabs.copies):
                return False
            await pace(0)
            try:
                place = await self._host.start_copy(machine, slabs, move.copy, move.onto)
            except PoolFull:
                return False  # taken meanwhile, by another column's move as well; the next survey plans again
            new = next((copy for copy in slabs.copies if copy.disk == place.number and copy.joining), None)
            if new is None:
                raise StorageError(f"space {machine.name} row {slabs.row}: the new copy is gone already")
            await fill(self._host, machine, slabs, new, move.copy, pace)
            return True

        return run

    def ended(self, task: Task) -> bytes | None:
        return None

    async def conclude(self) -> None:
        return


def disk_groups(host: JobHost) -> list[dict[int, Load]]:
    """The disks that data is spread over: those there that take new slabs on their own; a group for each
    medium, as slabs that were put on a medium for its speed stay there."""
    groups: dict[int, dict[int, Load]] = {}
    for number in sorted(host.disks_filled()):
        disk = host.state.disks[number]
        groups.setdefault(disk.media, {})[number] = Load(host.slabs_on(number), disk.slab_count)
    return list(groups.values())


def unevenness(host: JobHost) -> float:
    """Of the worst group; above 1 is Suboptimal."""
    return max((imbalance(group) for group in disk_groups(host)), default=0.0)
