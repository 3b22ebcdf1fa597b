"""The spaces of a pool: made, put together from their parts, resized, deleted.

    SpaceRecord --machine--> MirrorSpace | ParityMachine (on its `#checks`)
                --compose--> the machine itself, or WriteBackCache(`#journal`, machine)

What cannot be put together (its journal or checksums are lost) is Detached, with the reason; the others go
on. Owner: Pool. Awaits only ports. Source: docs/design-spaces.md.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from crc32c import crc32c

from storage.cache.cache import WriteBackCache
from storage.cache.plain import PlainBacking
from storage.cache.status import CacheStatus
from storage.errors import PoolFull, SlabLost, StorageError
from storage.pool import parts
from storage.pool.metadata import (
    NAME_MAX_BYTES,
    Awareness,
    DropSpaceRecord,
    MediaRule,
    MediaType,
    SpaceRecord,
)
from storage.pool.moves import PoolHost
from storage.space.machine import SpaceMachine
from storage.space.mirror import MirrorSpace
from storage.space.parity.machine import ParityMachine
from storage.space.port import Space
from storage.space.resiliency import Provisioning, Resiliency, ResiliencyKind
from storage.space.resiliency import resiliency as find_resiliency
from storage.space.stripemap import StripeMap
from storage.units import BLOCK_BYTES

SPACES_MAX: Final = 64
"""Parts not counted."""
ROWS_PER_COMMIT: Final = 32
NAME_RESERVED: Final = "#"


class PoolSpaces:
    def __init__(self, core: PoolHost) -> None:
        self._core = core
        self._wholes: dict[int, Space] = {}
        """By id of the space: what users see."""
        self.troubles: dict[int, str] = {}
        """Why a space is detached."""

    # -- what is there -------------------------------------------------------------------------------------

    def machines(self) -> list[SpaceMachine]:
        """Without the parts."""
        return [one for one in self._core.spaces.values() if not one.state.record.parent]

    def machine(self, name: str) -> SpaceMachine:
        """Raises KeyError."""
        for machine in self.machines():
            if machine.name == name:
                return machine
        raise KeyError(f"pool {self._core.state.pool.name} has no space named {name}")

    def whole(self, name: str) -> Space:
        """Raises: KeyError, SlabLost (it is detached)."""
        space_id = self.machine(name).state.record.space_id
        if space_id in self.troubles:
            raise SlabLost(self.troubles[space_id])
        return self._wholes[space_id]

    def caches(self) -> list[WriteBackCache]:
        return [one for one in self._wholes.values() if isinstance(one, WriteBackCache)]

    def cache_status(self, machine: SpaceMachine) -> CacheStatus | None:
        whole = self._wholes.get(machine.state.record.space_id)
        return whole.status() if isinstance(whole, WriteBackCache) else None

    def make_machine(self, record: SpaceRecord) -> SpaceMachine:
        core = self._core
        state, slab = core.state.spaces[record.space_id], core.slab_bytes
        seed = crc32c(record.space_id.to_bytes(4, "little"), core.seed)
        if record.kind is not ResiliencyKind.PARITY:
            return MirrorSpace(core, state, slab, seed)
        truth = self.part_of(record.space_id, parts.CHECKS)
        if not isinstance(truth, MirrorSpace):
            raise StorageError(f"space {record.name}: its part {parts.CHECKS} is not there")
        return ParityMachine(core, state, slab, seed, truth)

    def parts_of(self, space_id: int) -> list[SpaceMachine]:
        return [one for one in self._core.spaces.values() if one.state.record.parent == space_id]

    def part_of(self, space_id: int, suffix: str) -> SpaceMachine | None:
        return next((one for one in self.parts_of(space_id) if one.name.endswith(suffix)), None)

    # -- put together --------------------------------------------------------------------------------------

    async def attach(self, machine: SpaceMachine) -> None:
        """What users see of it. Raises storage errors; it is detached then."""
        record = machine.state.record
        try:
            self._wholes[record.space_id] = await self._compose(machine)
            self.troubles.pop(record.space_id, None)
        except StorageError as error:
            self.troubles[record.space_id] = f"space {record.name} is detached: {error}"
            raise

    async def attach_detached(self) -> None:
        """A disk came back: spaces that could not be put together may be now."""
        for space_id in list(self.troubles):
            machine = self._core.spaces[space_id]
            try:
                if machine.state.record.kind is ResiliencyKind.PARITY:
                    await machine.recover({})
                await self.attach(machine)
            except StorageError:
                continue  # `troubles` says why

    def trouble_of(self, machine: SpaceMachine) -> str:
        """Why it can't be used; empty if it can. Writes that were lost are told by every flush until the pool
        is opened again, as nobody can know who has heard of it."""
        space_id = machine.state.record.space_id
        failed = [one.flush_failure for one in (machine, *self.parts_of(space_id)) if one.flush_failure]
        return self.troubles.get(space_id) or "; ".join(failed)

    async def _compose(self, machine: SpaceMachine) -> Space:
        record = machine.state.record
        journal = self.part_of(record.space_id, parts.JOURNAL)
        if journal is None and isinstance(machine, MirrorSpace):
            return machine
        if not isinstance(journal, MirrorSpace):
            raise StorageError(f"space {record.name}: its part {parts.JOURNAL} is not there")
        if isinstance(machine, MirrorSpace):
            stripe = record.interleave_bytes * record.columns
            backing: PlainBacking | ParityMachine = PlainBacking(machine, record.name, stripe)
        elif isinstance(machine, ParityMachine):
            backing = machine
        else:
            raise StorageError(f"space {record.name}: nothing puts a cache in front of it")
        pool_part = int.from_bytes(self._core.state.pool.pool_id[:4], "little")
        identity = pool_part << 32 | journal.state.record.space_id

        async def abandon() -> None:
            self._drop(journal)
            await self._core.commit()

        limits = parts.cache_limits(journal.size_bytes, backing.stripe_bytes)
        runtime = self._core.runtime
        cache = WriteBackCache(
            journal, backing, runtime, identity=identity, limits=limits, abandon=abandon
        )
        await cache.open()
        return cache

    def _drop(self, machine: SpaceMachine) -> None:
        """The space is no more, with the next commit."""
        core = self._core
        machine.is_deleted = True
        for row in list(machine.state.rows):
            core.release_row(machine, row)
        core.change(DropSpaceRecord(machine.state.record.space_id))
        del core.spaces[machine.state.record.space_id]

    # -- made ----------------------------------------------------------------------------------------------

    async def create(
        self,
        name: str,
        resiliency: str,
        size_bytes: int,
        provisioning: Provisioning = Provisioning.THIN,
        columns: int | None = None,
        interleave_bytes: int | None = None,
        *,
        write_cache_bytes: int | None = None,
        media: MediaType | None = None,
        awareness: Awareness = Awareness.DISK,
    ) -> Space:
        """A new virtual disk, durable on return. `resiliency`: a name of `RESILIENCIES`. The size is rounded
        up to whole blocks. `write_cache_bytes`: None: automatic, 0: none (parity always has one). `media`:
        only disks of that medium. Raises: ValueError (name taken, unknown resiliency, geometry), PoolFull
        (too few disks; fixed: too few slabs)."""
        core = self._core
        core.require_usable()
        strategy = find_resiliency(resiliency)
        self._check_name(name, size_bytes)
        slab = core.slab_bytes
        size = -(-size_bytes // BLOCK_BYTES) * BLOCK_BYTES
        rule = MediaRule.ANY if media is None else MediaRule.REQUIRE
        space_id = core.state.pool.next_space_id
        draft = SpaceRecord(
            space_id,
            strategy.kind,
            strategy.copies,
            columns or 1,
            provisioning,
            interleave_bytes or min(parts.interleave_default(strategy), slab),
            size,
            name,
            strategy.parity_columns,
            media=media or MediaType.UNSPECIFIED,
            media_rule=rule,
            awareness=awareness,
        )
        record = replace(draft, columns=self._columns_for(strategy, draft, columns))
        StripeMap(record.data_columns, record.interleave_bytes, slab)  # ValueError if that is no geometry
        journal = self._journal_bytes(strategy, record, write_cache_bytes)
        records = [record, *parts.part_records(record, space_id + 1, slab, journal)]
        if strategy.tolerance > 1 or len(records) > 1 or record != _plain(record):
            core.require_version(2, "such spaces")
        return await self._build(records)

    def _check_name(self, name: str, size_bytes: int) -> None:
        if any(space.name == name for space in self._core.spaces.values()):
            raise ValueError(f"pool {self._core.state.pool.name} already has a space named {name}")
        if len(self.machines()) >= SPACES_MAX or size_bytes <= 0 or not name:
            raise ValueError(f"a space has a name and a size, a pool at most {SPACES_MAX} spaces")
        if len(name.encode()) > NAME_MAX_BYTES - len(parts.JOURNAL) or NAME_RESERVED in name:
            raise ValueError(f"a space's name has at most {NAME_MAX_BYTES - 8} bytes and no {NAME_RESERVED}")

    def _columns_for(self, strategy: Resiliency, draft: SpaceRecord, columns: int | None) -> int:
        """Raises: ValueError, PoolFull."""
        disks, domains, _ = self._core.disks_for(draft)
        apart = len(set(domains.values()))
        room = apart if strategy.parity_columns else len(disks)
        chosen = columns or strategy.columns_auto(room)
        if chosen not in strategy.columns_legal:
            legal = strategy.columns_legal
            text = ", ".join(map(str, legal)) if len(legal) < 5 else f"{legal[0]} to {legal[-1]}"
            raise ValueError(f"a {strategy.name} space has {text} columns, not {chosen}")
        needed = chosen * strategy.copies
        if needed > room or strategy.domains_min(chosen) > apart:
            raise PoolFull(
                f"a {strategy.name} space of {chosen} columns needs {needed} disks; {room} are there"
                + ("" if apart == len(disks) else f", in {apart} fault domains")
            )
        return chosen

    def _journal_bytes(self, strategy: Resiliency, record: SpaceRecord, wanted: int | None) -> int:
        core = self._core
        least = parts.journal_least_bytes(record)
        if wanted is None or (not wanted and strategy.parity_columns):
            there = [core.state.disks[member.number] for member in core.online()]
            free = {number: slabs.free * core.slab_bytes for number, slabs in core.free.items()}
            return parts.journal_auto_bytes(strategy, there, free, least)
        if wanted and wanted < least:
            raise ValueError(f"the write-back cache of such a space has at least {least} bytes")
        return wanted

    async def _build(self, records: list[SpaceRecord]) -> Space:
        """The parts first: a parity machine needs its checksums."""
        core, record = self._core, records[0]
        core.change(replace(core.state.pool, next_space_id=record.space_id + len(records)))
        for one in records:
            core.change(one)
        for one in [*records[1:], record]:
            core.spaces[one.space_id] = self.make_machine(one)
        try:
            for one in [*records[1:], record]:
                if one.provisioning is Provisioning.FIXED:
                    await self._allocate(core.spaces[one.space_id], one.size_bytes)
            await core.commit()
            await self.attach(core.spaces[record.space_id])
        except StorageError:
            await self.delete(record.name)
            raise
        return self._wholes[record.space_id]

    async def _allocate(self, machine: SpaceMachine, size_bytes: int) -> None:
        """Every row of a fixed space. Raises PoolFull."""
        core = self._core
        row_bytes = machine.state.record.data_columns * core.slab_bytes
        for row in range(-(-size_bytes // row_bytes)):
            if row not in machine.state.rows:
                await core.allocate_row(machine, row, is_whole=True)
                if row % ROWS_PER_COMMIT == 0:
                    await core.commit()
        await core.commit()

    async def resize(self, name: str, size_bytes: int) -> None:
        """It grows; a fixed one gets its slabs first. Raises: KeyError, ValueError (it would shrink),
        PoolFull."""
        core = self._core
        machine = self.machine(name)
        record = machine.state.record
        size = -(-size_bytes // BLOCK_BYTES) * BLOCK_BYTES
        if size < record.size_bytes:
            raise ValueError(f"space {name} has {record.size_bytes} bytes and cannot shrink to {size}")
        grown = replace(record, size_bytes=size)
        checks = self.part_of(record.space_id, parts.CHECKS)
        if checks is not None:
            core.change(
                replace(checks.state.record, size_bytes=parts.truth_bytes(grown, core.slab_bytes))
            )
            _resized(checks)
        if record.provisioning is Provisioning.FIXED:
            await self._allocate(machine, size)
        core.change(grown)
        await core.commit()
        _resized(machine)

    async def delete(self, name: str) -> None:
        """The slabs go back to the pool. Nobody may use the space any more. Raises KeyError."""
        machine = self.machine(name)
        space_id = machine.state.record.space_id
        whole = self._wholes.pop(space_id, None)
        self.troubles.pop(space_id, None)
        if isinstance(whole, WriteBackCache):
            try:
                await whole.close(destage=False)
            except StorageError:
                pass  # what it could not keep is going away
        for one in [machine, *self.parts_of(space_id)]:
            self._drop(one)
        await self._core.commit()


def _resized(machine: SpaceMachine) -> None:
    if isinstance(machine, MirrorSpace):
        machine.resized()


def _plain(record: SpaceRecord) -> SpaceRecord:
    """What version 1 can say of it."""
    kinds = record.kind, record.copies, record.columns, record.provisioning
    return SpaceRecord(record.space_id, *kinds, record.interleave_bytes, record.size_bytes, record.name)
