"""Who may cache what of one stream: oplocks and leases.

            request                   check(bits)              acknowledge(state)
   (none) ----------> HELD(state) --------------> BREAKING(to) ------------------> HELD(state') or none
                         |  level II, READ only:       |  expire: none
                         |  no answer                  |  a further break lowers `required`; the rest
                         '---------> HELD or none      |  of it begins when the answer comes

A caching state is a union of READ, HANDLE and WRITE. Oplocks are kept in the same terms: level II is R,
exclusive RW, batch RWH; they differ in that they belong to one open, and break to level II (R) or none only.

Sources: [MS-FSA] 2.1.4.12 Algorithm to Check for an Oplock Break; 2.1.5.18 Server Requests an Oplock;
2.1.5.19 Server Acknowledges an Oplock Break; [MS-SMB2] 3.3.1.4 Algorithm for Leasing in an Object Store;
3.3.4.6 Object Store Indicates an Oplock Break; 3.3.4.7 Object Store Indicates a Lease Break; 3.3.5.22
Receiving an SMB2 OPLOCK_BREAK Acknowledgment. What it does not: deliver notices, measure time or wait;
`Caching` returns what must be told (`Notice`) and whether the operation must wait; whoever waited asks
again from the start. It never breaks a holder for an operation of its own. Invariants: READ is in every
state but none; WRITE is held by at most one holder; breaking implies that breaking_to is a proper subset
of state. Owner: the StreamState of that stream. No I/O.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from smbproto.status import Status, StatusError

READ: Final = 1
HANDLE: Final = 2
WRITE: Final = 4

LEVEL_NONE: Final = 0x00
LEVEL_II: Final = 0x01
LEVEL_EXCLUSIVE: Final = 0x08
LEVEL_BATCH: Final = 0x09
LEVEL_LEASE: Final = 0xFF

STATE_OF_LEVEL: Final = {LEVEL_II: READ, LEVEL_EXCLUSIVE: READ | WRITE, LEVEL_BATCH: READ | WRITE | HANDLE}
LEVEL_OF_STATE: Final = {
    0: LEVEL_NONE,
    READ: LEVEL_II,
    READ | WRITE: LEVEL_EXCLUSIVE,
    READ | WRITE | HANDLE: LEVEL_BATCH,
    READ | HANDLE: LEVEL_II,
}

# What an operation takes away from other holders.
OPEN: Final = WRITE
OPEN_OVERWRITE: Final = READ | WRITE
OPEN_SHARING: Final = HANDLE
CHANGE_DATA: Final = READ | WRITE
CHANGE_NAME: Final = HANDLE
READ_DATA: Final = WRITE


class Holder:
    """One oplock, or one lease with all the opens that share it. `version` is 0 for an oplock, else the
    lease's."""

    __slots__ = (
        "breaking_to",
        "caching",
        "client_guid",
        "deadline_s",
        "epoch",
        "is_breaking",
        "lease_key",
        "opens",
        "parent_key",
        "required",
        "state",
        "version",
    )

    def __init__(
        self,
        caching: Caching,
        client_guid: bytes = b"",
        lease_key: bytes = b"",
        version: int = 0,
        epoch: int = 0,
        parent_key: bytes = b"",
    ) -> None:
        self.caching = caching
        self.client_guid = client_guid
        self.lease_key = lease_key
        self.version = version
        self.epoch = epoch
        self.parent_key = parent_key
        self.opens: list[object] = []
        self.state = 0
        self.is_breaking = False
        self.breaking_to = 0
        self.required = 0
        self.deadline_s = 0.0

    @property
    def is_lease(self) -> bool:
        return self.version != 0

    @property
    def level(self) -> int:
        return LEVEL_LEASE if self.version else LEVEL_OF_STATE[self.state]

    def without(self, state: int, bits: int) -> int:
        """The state that is left of `state` when `bits` are taken away, among those that there are."""
        left = state & ~bits
        if not left & READ:
            return 0
        if not self.version and left != state:
            return READ
        return left


class Notice(NamedTuple):
    """Tell the holder. With `ack_required` it is BREAKING now, else it is there already."""

    holder: Holder
    current: int
    new: int
    ack_required: bool


class Check(NamedTuple):
    """What an operation sets off, and whether it must wait until the breaks in progress end."""

    notices: list[Notice]
    must_wait: bool


NOTHING: Final = Check([], False)


class Caching:
    """The holders of one stream. `identity` is what a lease key is bound to: the stream, or a directory's
    node."""

    __slots__ = ("holders", "identity")

    def __init__(self, identity: object) -> None:
        self.identity = identity
        self.holders: list[Holder] = []

    # asking
    def request(
        self,
        holder: Holder,
        open_: object,
        wanted: int,
        *,
        others: bool,
        has_locks: bool,
        is_directory: bool = False,
    ) -> int:
        """Attach an open to its holder and give it what is possible of `wanted`. Returns the state then.

        others: non-stat opens of other keys exist. has_locks: so do their byte-range locks; then nothing is
        granted. Beside one that holds WRITE (it was spared, as this
        open only stats) nothing is granted; beside a level II oplock no HANDLE, beside HANDLE no oplock.
        A lease that is breaking is given nothing new; a lease is only ever upgraded, to a state that
        contains its own ([MS-FSA] 2.1.5.18, RH to RW is none).
        """
        wanted &= READ | HANDLE | (0 if is_directory else WRITE)
        if not wanted & READ or has_locks:
            wanted = 0
        asked = wanted
        for other in self.holders:
            if other is holder:
                continue
            if other.state & WRITE or (other.state & HANDLE and not holder.version):
                wanted = 0
            elif other.state and not other.version:
                wanted &= ~HANDLE
        if others or any(other is not holder and other.state for other in self.holders):
            wanted &= ~WRITE
            if not holder.version:
                wanted &= READ
        holder.opens.append(open_)
        if holder not in self.holders:
            self.holders.append(holder)
        is_new = len(holder.opens) == 1
        if is_new or (wanted == asked and wanted & holder.state == holder.state and not holder.is_breaking):
            if wanted == holder.state:
                return wanted
            holder.state = wanted
            holder.epoch = holder.epoch + 1 & 0xFFFF
        return holder.state

    def leave(self, holder: Holder, open_: object) -> bool:
        """An open closes. True: it was the last of its holder, which is gone, its break too."""
        holder.opens.remove(open_)
        if holder.opens:
            return False
        self.holders.remove(holder)
        holder.is_breaking = False
        holder.breaking_to = 0
        holder.state = 0
        return True

    # breaking
    def check(
        self,
        bits: int,
        mine: Holder | None,
        *,
        spare_key: bytes = b"",
        skip_leases: bool = False,
        waits: bool = True,
    ) -> Check:
        """An operation that takes `bits` away from all holders but `mine` (an own level II oplock goes at
        a write).

        It waits for WRITE and HANDLE that it takes, and for a break in progress that is not its own.
        spare_key: of the directory lease that the changer named as its parent, whoever holds it.
        """
        notices: list[Notice] = []
        must_wait = False
        for holder in tuple(self.holders):
            if (skip_leases and holder.version) or (
                holder is mine and (holder.version or holder.state != READ)
            ):
                continue
            if spare_key and holder.lease_key == spare_key:
                continue
            if not holder.state & bits:
                must_wait = must_wait or (waits and holder.is_breaking)
                continue
            if waits and (holder.state & bits & (WRITE | HANDLE) or holder.breaking_to & bits):
                must_wait = True
            notice = self._take(holder, bits)
            if notice is not None:
                notices.append(notice)
        return Check(notices, must_wait) if notices or must_wait else NOTHING

    def _take(self, holder: Holder, bits: int) -> Notice | None:
        if holder.is_breaking:
            holder.required = holder.without(holder.required, bits)
            return None
        return self._begin(holder, holder.without(holder.state, bits))

    def _begin(self, holder: Holder, target: int) -> Notice | None:
        current = holder.state
        if target == current:
            return None
        holder.epoch = holder.epoch + 1 & 0xFFFF
        if not current & (WRITE | HANDLE):
            holder.state = target
            return Notice(holder, current, target, False)
        holder.is_breaking = True
        holder.breaking_to = holder.required = target
        return Notice(holder, current, target, True)

    # answers
    def acknowledge(self, holder: Holder, state: int) -> Notice | None:
        """The holder answered. A further break that came meanwhile begins now: its notice.

        Raises UNSUCCESSFUL when no break is in progress, REQUEST_NOT_ACCEPTED when the answer keeps too much.
        """
        if not holder.is_breaking:
            raise StatusError(Status.UNSUCCESSFUL, "no break is in progress")
        if state & ~holder.breaking_to:
            raise StatusError(Status.REQUEST_NOT_ACCEPTED, f"{state:#x} is more than {holder.breaking_to:#x}")
        return self.settle(holder, state)

    def settle(self, holder: Holder, state: int) -> Notice | None:
        """End the break in progress at `state`, whoever says so (an answer, a timeout, an unreachable
        client)."""
        required = holder.required
        holder.is_breaking = False
        holder.breaking_to = 0
        holder.state = state
        target = holder.without(state, ~required & (READ | HANDLE | WRITE))
        if not target and holder.version and state & (HANDLE | WRITE):
            # As Windows, by way of READ: who has just answered is not asked to give up all at once.
            notice = self._begin(holder, READ)
            holder.required = 0
        else:
            notice = self._begin(holder, target)
        if notice is not None:
            holder.epoch = holder.epoch - 1 & 0xFFFF  # the same break goes on
        return notice

    def expire(self, holder: Holder) -> None:
        """[MS-SMB2] 3.3.6.1 Oplock Break Acknowledgment Timer Event: as if it had answered that it keeps
        nothing."""
        holder.is_breaking = False
        holder.breaking_to = 0
        holder.state = 0
