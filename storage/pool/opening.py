"""Finding a pool on a set of disks: labels, the newest metadata of a quorum, the promise of a new term.

    labels -> one pool id -> metadata slots -> newest epoch -> enough voters? -> promise -> `Opening`

A disk whose label or metadata cannot be believed counts as missing; if the pool has no quorum because of it,
LabelCorrupt says which one. Awaits disks only. Raises: LabelCorrupt, PoolUnavailable.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from crc32c import crc32c

from storage.disk import Disk
from storage.errors import DiskFailed, LabelCorrupt, PoolUnavailable, StorageError
from storage.pool import intents, quorum, slots
from storage.pool import label as labels
from storage.pool.batcher import gather
from storage.pool.label import Label
from storage.pool.member import Member
from storage.pool.metadata import PoolState
from storage.runtime import Runtime
from storage.units import BLOCK_BYTES, DiskOffset

UNRECOGNIZED: Final = "Unrecognized metadata"
STALE: Final = "Stale metadata"
SPLIT: Final = "Split"


@dataclass(slots=True)
class Opening:
    """What was found. `members` are the disks that are there and believed; `logged` their intent logs."""

    state: PoolState
    epoch: int
    term: int
    voting: set[int]
    members: dict[int, Member]
    logged: dict[int, dict[int, int]]
    troubles: list[str] = field(default_factory=list)
    strangers: list[Stranger] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Stranger:
    """A disk that was given and is no member. `operational` by Windows' names: Unrecognized metadata (no
    label,
    or of another pool), Stale metadata (its copy of the pool's cannot be believed), Split (it was a member
    once; also the second of two equal ones)."""

    disk: Disk
    operational: str
    detail: str


def pool_seed(pool_id: bytes) -> int:
    return crc32c(pool_id)


async def read_label(disk: Disk) -> Label:
    """The better of a disk's two labels. Raises: LabelCorrupt, DiskFailed."""
    found: list[Label] = []
    trouble: LabelCorrupt | None = None
    for place in (DiskOffset(0), labels.second_place(disk.size_bytes)):
        buffer = memoryview(bytearray(BLOCK_BYTES))
        await disk.read(place, [buffer])
        try:
            found.append(labels.decode(buffer, disk.size_bytes))
        except LabelCorrupt as error:
            trouble = trouble or error
    if not found:
        raise LabelCorrupt(f"disk {disk.name}: neither of its two labels can be believed: {trouble}")
    return max(found, key=lambda one: one.sequence)


async def write_labels(runtime: Runtime, pairs: Sequence[tuple[Disk, Label]]) -> list[StorageError | None]:
    """Both places of each disk, one after the other with a flush between; an entry each: None or why it
    failed."""

    def work(disk: Disk, label: Label) -> Callable[[], Awaitable[None]]:
        async def both() -> None:
            data = labels.encode(label)
            for place in label.places:
                await disk.write(place, [data])
                await disk.flush()

        return both

    return await gather(runtime, [work(*pair) for pair in pairs], "write labels")


async def wipe(disk: Disk) -> None:
    """It belongs to no pool any more."""
    for place in (labels.second_place(disk.size_bytes), DiskOffset(0)):
        await disk.write(place, [bytes(BLOCK_BYTES)])
        await disk.flush()


async def _read_labels(disks: Sequence[Disk], strangers: list[Stranger]) -> list[tuple[Disk, Label]]:
    found: list[tuple[Disk, Label]] = []
    for disk in disks:
        try:
            found.append((disk, await read_label(disk)))
        except (LabelCorrupt, DiskFailed) as error:
            strangers.append(Stranger(disk, UNRECOGNIZED, str(error)))
    if not found:
        if not disks:
            raise PoolUnavailable("no disk was given to open a pool from")
        raise LabelCorrupt("no pool found on these disks. " + "; ".join(one.detail for one in strangers))
    counts = Counter(label.pool_id for _, label in found)
    pool_id = max(counts, key=lambda one: counts[one])
    name = next(label.pool_name for _, label in found if label.pool_id == pool_id)
    kept: dict[bytes, tuple[Disk, Label]] = {}
    for disk, label in found:
        if label.pool_id != pool_id:
            text = f"disk {disk.name} belongs to another pool, {label.pool_name}, not to {name}"
            strangers.append(Stranger(disk, UNRECOGNIZED, text))
        elif label.disk_id in kept:
            other = kept[label.disk_id][0].name
            strangers.append(Stranger(disk, SPLIT, f"disk {disk.name} is a duplicate of disk {other}"))
        else:
            kept[label.disk_id] = (disk, label)
    return list(kept.values())


async def _read_metadata(disk: Disk, label: Label, seed: int) -> tuple[slots.SlotContent, Member]:
    best: tuple[slots.SlotContent, int] | None = None
    trouble: LabelCorrupt | None = None
    for slot in range(2):
        buffer = memoryview(bytearray(label.slot_bytes))
        await disk.read(label.slot_at(slot), [buffer])
        try:
            content = slots.parse(buffer, seed)
        except LabelCorrupt as error:
            trouble = error
            continue
        if best is None or content.epoch > best[0].epoch:
            best = content, slot
    if best is None:
        raise LabelCorrupt(f"disk {disk.name}: no pool metadata on it can be believed: {trouble}")
    member = Member(label.number, disk, label)
    member.slot, member.used_bytes = best[1], best[0].used_bytes
    return best[0], member


async def read_intents(member: Member, seed: int) -> dict[int, int]:
    label, disk = member.known_label, member.disk
    assert disk is not None
    images = []
    for slot in range(2):
        buffer = bytearray(labels.INTENT_SLOT_BYTES)
        await disk.read(label.intents_at(slot), [memoryview(buffer)])
        images.append(bytes(buffer))
    member.intents.sequence, found = intents.decode(images, seed)
    return found


async def find_pool(disks: Sequence[Disk], runtime: Runtime) -> Opening:
    strangers: list[Stranger] = []
    found = await _read_labels(disks, strangers)
    seed = pool_seed(found[0][1].pool_id)
    read: list[tuple[slots.SlotContent, Member]] = []
    logged: dict[int, dict[int, int]] = {}
    for disk, label in found:
        try:
            content, member = await _read_metadata(disk, label, seed)
            logged[member.number] = await read_intents(member, seed)
            read.append((content, member))
        except (LabelCorrupt, DiskFailed) as error:
            strangers.append(Stranger(disk, STALE, str(error)))
    troubles = [one.detail for one in strangers]
    if not read:
        raise LabelCorrupt(f"pool {found[0][1].pool_name} cannot be opened. " + "; ".join(troubles))
    newest = max((content for content, _ in read), key=lambda one: one.epoch)
    newest.state.check()
    members: dict[int, Member] = {}
    for _, member in read:
        record = newest.state.disks.get(member.number)
        if record is None or record.disk_id != member.known_label.disk_id:
            name = member.disk.name if member.disk is not None else ""
            text = f"disk {member.number} ({name}) was removed from the pool"
            troubles.append(text)
            if member.disk is not None:
                strangers.append(Stranger(member.disk, SPLIT, text))
        else:
            members[member.number] = member
    _require_quorum(newest.state, members, troubles)
    term = quorum.next_term([m.known_label.promised_term for m in members.values()], newest.epoch)
    await _promise(runtime, newest.state, members, term)
    voting = quorum.voters(newest.state)
    return Opening(newest.state, newest.epoch, term, voting, members, logged, troubles, strangers)


def _require_quorum(state: PoolState, members: dict[int, Member], troubles: list[str]) -> None:
    try:
        quorum.require_open(state.pool.name, state, members, {})
    except PoolUnavailable as error:
        if not troubles:
            raise
        text = f"{error} Trouble: " + "; ".join(troubles)
        if any("believed" in one for one in troubles):
            raise LabelCorrupt(text) from error
        raise PoolUnavailable(text) from error


async def _promise(runtime: Runtime, state: PoolState, members: dict[int, Member], term: int) -> None:
    """No older opening's metadata wins from here on. Disks that fail are dropped from `members`."""
    pairs: list[tuple[Disk, Label]] = []
    order = sorted(members)
    for number in order:
        member = members[number]
        label = member.known_label
        member.label = replace(label, promised_term=term, sequence=label.sequence + 1)
        assert member.disk is not None
        pairs.append((member.disk, member.label))
    errors = await write_labels(runtime, pairs)
    troubles = {number: str(error) for number, error in zip(order, errors, strict=True) if error is not None}
    for number in troubles:
        del members[number]
    quorum.require_open(state.pool.name, state, members, troubles)
