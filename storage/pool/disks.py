"""Disks that come and go while the pool runs: added, out for maintenance, returned, reset.

    add       label, empty slots and logs on the new disk -> record + snapshot committed -> member
    return    label and term checked -> promise -> nothing becomes ready for writing -> member again; what its
              own intent log names and nobody else has is settled -> flushed -> committed
    maintain  is everything readable without it? -> flushed -> out on purpose; it returns as above
    reset     the labels are wiped; a member that was away is retired with that

A crash between the label and the commit of an added disk leaves a stranger, which may be added again. A disk
that returns brings back the copies that were not written meanwhile; the others are stale in the map, and are
refilled by the repair job. Awaits disks only. Source: docs/design-spaces.md; Add-, Reset-PhysicalDisk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from storage.disk import Disk
from storage.errors import DiskFailed, LabelCorrupt, PoolFull, PoolInUse
from storage.pool import frame, opening
from storage.pool import label as labels
from storage.pool.allocation import FreeSlabs
from storage.pool.codec import encode_record
from storage.pool.label import Label
from storage.pool.member import Member
from storage.pool.metadata import DiskFlags, DiskRecord, DiskState, MediaType, Usage
from storage.pool.moves import PoolHost
from storage.pool.report import condition_of
from storage.units import BLOCK_BYTES

DISKS_MAX: Final = 1024
DISK_NUMBER_MAX: Final = (1 << 16) - 1
DOMAIN_PARTS_MAX: Final = 3


def check_domain(path: str) -> str:
    """rack/chassis/node, or the end of it. Raises ValueError."""
    parts = path.split("/") if path else []
    if len(parts) > DOMAIN_PARTS_MAX or not all(parts) or len(path.encode()) > 200:
        raise ValueError(f"a fault domain is rack/chassis/node, or the end of that, not {path!r}")
    return path


async def require_blank(
    disks: Sequence[Disk], core: PoolHost | None = None, overwrite: bool = False
) -> None:
    """Raises PoolInUse if a disk belongs to a pool. What an interrupted `add` to this pool left is blank; and
    with `overwrite` all but the members of this pool that are there."""
    for disk in disks:
        try:
            label = await opening.read_label(disk)
        except LabelCorrupt:
            continue
        if overwrite and (core is None or not _is_there(core, label)):
            continue
        if core is not None and label.pool_id == core.state.pool.pool_id:
            known = core.state.disks.get(label.number)
            if known is None or known.disk_id != label.disk_id:
                continue
        raise PoolInUse(
            f"disk {disk.name} belongs to pool {label.pool_name} already; "
            "remove it there first, or overwrite it"
        )


def _is_there(core: PoolHost, label: Label) -> bool:
    record = core.state.disks.get(label.number)
    if record is None or label.pool_id != core.state.pool.pool_id or record.disk_id != label.disk_id:
        return False
    return core.members[label.number].disk is not None


async def add_disks(
    core: PoolHost,
    disks: Sequence[Disk],
    media: MediaType = MediaType.UNSPECIFIED,
    usage: Usage = Usage.AUTO_SELECT,
    fault_domain: str = "",
    overwrite: bool = False,
) -> list[int]:
    """Their numbers. Raises: PoolInUse, PoolFull (too small), DiskFailed, ValueError; nothing is added
    then."""
    core.require_usable()
    check_domain(fault_domain)
    first = core.state.next_disk()
    if len(core.state.disks) + len(disks) > DISKS_MAX or first + len(disks) > DISK_NUMBER_MAX:
        raise ValueError(f"a pool has at most {DISKS_MAX} disks")
    if media is not MediaType.UNSPECIFIED or usage is not Usage.AUTO_SELECT:
        core.require_version(2, "media types and usages")
    await require_blank(disks, core, overwrite)
    fresh = [_plan(core, disk, first + at) for at, disk in enumerate(disks)]
    for member in fresh:
        await _write_blank(core, member)
    pairs = [(member.disk, member.known_label) for member in fresh if member.disk is not None]
    for error in await opening.write_labels(core.runtime, pairs):
        if error is not None:
            raise error
    taken = set(core.state.disks) & {member.number for member in fresh}
    if taken or core.state.next_disk() != first:
        raise PoolInUse(f"pool {core.state.pool.name}: other disks were added meanwhile; try again")
    for member, disk in zip(fresh, disks, strict=True):
        label = member.known_label
        core.members[member.number] = member
        core.free[member.number] = FreeSlabs(label.slab_count, [])
        member.attach(disk, core.runtime.now)
        sizes = label.size_bytes, label.slab_count, DiskState.OK, disk.name
        core.change(
            DiskRecord(member.number, label.disk_id, *sizes, fault_domain, media, usage)
        )
    if core.state.pool.version >= 2:
        core.change(replace(core.state.pool, next_disk=first + len(disks)))
    await core.commit()
    return [member.number for member in fresh]


def _plan(core: PoolHost, disk: Disk, number: int) -> Member:
    pool = core.state.pool
    entropy = core.runtime.random_bytes(16)
    label = labels.plan(pool.pool_id, pool.name, entropy, number, disk.size_bytes, pool.slab_bytes)
    label = replace(label, promised_term=core.epoch >> 32)
    needed = frame.padded(sum(len(encode_record(one)) for one in core.state.records()))
    if needed > label.slot_bytes:
        raise PoolFull(
            f"disk {disk.name} of {disk.size_bytes} bytes is too small for this pool: its metadata takes "
            f"{needed} bytes, {label.slot_bytes} would be kept for it"
        )
    member = Member(number, disk, label)
    _expect_snapshot(member)
    return member


def _expect_snapshot(member: Member) -> None:
    """The next commit writes it the whole state."""
    member.used_bytes = member.known_label.slot_bytes


async def _write_blank(core: PoolHost, member: Member) -> None:
    disk, label = member.disk, member.known_label
    assert disk is not None
    for slot in range(2):
        await disk.write(label.slot_at(slot), [bytes(BLOCK_BYTES)])
        where, image = member.intents.next_image(core.seed)
        await disk.write(label.intents_at(where), [image])
    await disk.flush()


async def return_disk(core: PoolHost, disk: Disk) -> int:
    """A member that was away is there again; its number. Raises: LabelCorrupt (not believed, or Split),
    PoolInUse (it is there already, or belongs elsewhere), DiskFailed."""
    core.require_usable()
    label = await opening.read_label(disk)
    member = _member_of(core, disk, label)
    found = Member(label.number, disk, label)
    logged = await opening.read_intents(found, core.seed)
    term = max(label.promised_term, core.epoch >> 32)
    renewed = replace(label, promised_term=term, sequence=label.sequence + 1)
    for error in await opening.write_labels(core.runtime, [(disk, renewed)]):
        if error is not None:
            raise error
    while core.settling is not None:
        await core.settling.wait()
    _member_of(core, disk, label)
    done = core.settling = core.runtime.event()
    try:
        await _let_in(core, member, disk, renewed, found, logged)
    finally:
        core.settling = None
        done.set()
    await core.commit()
    record = core.state.disks.get(label.number)
    if record is None:
        raise LabelCorrupt(f"disk {disk.name} left pool {core.state.pool.name} meanwhile (Split); reset it")
    if record.state is not DiskState.OK:
        raise DiskFailed(f"disk {disk.name} failed again: {member.failure}")
    return label.number


def _member_of(core: PoolHost, disk: Disk, label: Label) -> Member:
    pool = core.state.pool
    if label.pool_id != pool.pool_id:
        raise PoolInUse(f"disk {disk.name} belongs to pool {label.pool_name}, not to {pool.name}")
    record = core.state.disks.get(label.number)
    if record is None or record.disk_id != label.disk_id:
        raise LabelCorrupt(f"disk {disk.name} is no member of pool {pool.name} any more (Split); reset it")
    if label.promised_term > core.epoch >> 32:
        raise LabelCorrupt(
            f"disk {disk.name} was opened by another server since (Split); open pool {pool.name} anew"
        )
    if core.members[label.number].disk is not None:
        raise PoolInUse(f"disk {disk.name} is there already")
    return core.members[label.number]


async def _let_in(
    core: PoolHost, member: Member, disk: Disk, label: Label, found: Member, logged: dict[int, int]
) -> None:
    number, gone = member.number, member.gone
    member.label = label
    member.intents = found.intents
    _expect_snapshot(member)
    member.attach(disk, core.runtime.now)
    record = core.state.disks[number]
    flags = record.flags & ~DiskFlags.MAINTENANCE
    core.change(replace(record, state=DiskState.OK, name=disk.name, flags=flags))
    for slabs in core.sets_on(number):
        if not slabs.readers:
            core.forget_memory(slabs)
        slabs.logged = 0
        core.resolve(slabs)
    for machine in list(core.spaces.values()):
        await machine.recover({number: logged})
    await core.flush_disks({number})
    await core.write_intents({number})
    if gone is not None and getattr(gone, "inner", gone) is not disk:
        await gone.close()


async def set_maintenance(core: PoolHost, number: int) -> None:
    """The disk is out until it returns: nothing is asked of it, and it is not retired meanwhile. Raises:
    KeyError, PoolInUse (something could not be read without it)."""
    core.require_version(2, "disks in maintenance")
    record = core.state.disks[number]
    there = set(core.disks_there()) - {number}
    for space in core.state.spaces.values():
        lost = condition_of(space, there, is_all_there=False).lost_rows
        if lost:
            raise PoolInUse(
                f"{lost} rows of space {space.record.name} could not be read without disk {number}; "
                "wait for repair to end first"
            )
    await core.flush_all()
    core.change(replace(record, flags=record.flags | DiskFlags.MAINTENANCE))
    core.disk_failed(number, DiskFailed(f"disk {record.name} is in maintenance"))
    await core.commit()


async def reset_disk(core: PoolHost, disk: Disk) -> None:
    """Wipe its labels. A member must be away; it is retired, so that its slabs are made anew elsewhere.
    Raises: PoolInUse, DiskFailed."""
    try:
        label = await opening.read_label(disk)
    except LabelCorrupt:
        label = None
    if label is not None and label.pool_id == core.state.pool.pool_id:
        record = core.state.disks.get(label.number)
        if record is not None and record.disk_id == label.disk_id:
            if core.members[label.number].disk is not None:
                raise PoolInUse(f"disk {disk.name} is a member that is there; retire and remove it first")
            await core.retire_disk(label.number)
    await opening.wipe(disk)

