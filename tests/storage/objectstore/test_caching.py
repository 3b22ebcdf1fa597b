"""The oplock and lease machine, by scripts: `>>` feeds an event, `<<` expects the next effect."""

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smbproto.status import Status, StatusError
from storage.objectstore import caching
from storage.objectstore.caching import HANDLE, READ, WRITE, Caching, Holder

NONE, R, RH, RW, RWH = 0, READ, READ | HANDLE, READ | WRITE, READ | WRITE | HANDLE
LEVEL = {"II": R, "exclusive": RW, "batch": RWH}


@dataclass(frozen=True)
class Open:
    """Ask for a lease (`who` is its key) or, with `level`, for an oplock."""

    who: str
    want: int = 0
    level: str = ""
    locks: bool = False
    stat: bool = False
    overwrite: bool = False


@dataclass(frozen=True)
class Operate:
    """An operation of `who` that takes `bits` from the others."""

    who: str
    bits: int


@dataclass(frozen=True)
class Acknowledge:
    who: str
    state: int


@dataclass(frozen=True)
class Close:
    who: str


@dataclass(frozen=True)
class Expire:
    who: str


@dataclass(frozen=True)
class Granted:
    who: str
    state: int


@dataclass(frozen=True)
class Break:
    who: str
    new: int
    ack: bool = True


@dataclass(frozen=True)
class Refused:
    status: Status


WAITS, GOES = "must wait", "goes on"


class Script:
    """Drives a Caching; effects queue up and are compared in order."""

    def __init__(self):
        self.caching = Caching("the stream")
        self.holders: dict[str, Holder] = {}
        self.opens: dict[str, list[object]] = {}
        self.effects: list[object] = []

    def __rshift__(self, event):
        assert not self.effects, f"not expected: {self.effects}"
        getattr(self, "on_" + type(event).__name__.lower())(event)
        return self

    def __lshift__(self, effect):
        assert self.effects, f"nothing came, but {effect} was expected"
        assert self.effects.pop(0) == effect
        return self

    def end(self):
        assert not self.effects, f"not expected: {self.effects}"

    def name(self, holder):
        return next(name for name, known in self.holders.items() if known is holder)

    def notices(self, notices):
        self.effects += [Break(self.name(n.holder), n.new, n.ack_required) for n in notices]

    def check(self, bits, who):
        found = self.caching.check(bits, self.holders.get(who))
        self.notices(found.notices)
        return found.must_wait

    def on_open(self, event):
        holder = self.holders.get(event.who)
        if not event.stat and self.check(
                caching.OPEN_OVERWRITE if event.overwrite else caching.OPEN, event.who):
            self.effects.append(WAITS)
            return
        if not (event.want or event.level):
            return
        if holder is None:
            holder = self.holders[event.who] = Holder(
                self.caching, b"client", event.who.encode(), 0 if event.level else 2)
        opened = object()
        others = any(name != event.who and opens for name, opens in self.opens.items())
        self.opens.setdefault(event.who, []).append(opened)
        state = self.caching.request(holder, opened, event.want or LEVEL[event.level],
                                     others=others, has_locks=event.locks)
        self.effects.append(Granted(event.who, state))

    def on_operate(self, event):
        self.effects.append(WAITS if self.check(event.bits, event.who) else GOES)

    def on_acknowledge(self, event):
        try:
            further = self.caching.acknowledge(self.holders[event.who], event.state)
        except StatusError as error:
            self.effects.append(Refused(error.status))
            return
        if further:
            self.notices([further])

    def on_close(self, event):
        if self.caching.leave(self.holders[event.who], self.opens[event.who].pop()):
            del self.holders[event.who]

    def on_expire(self, event):
        self.caching.expire(self.holders[event.who])


def test_second_open_breaks_write_caching_before_it_is_granted():
    """[MS-SMB2] 3.3.1.4 Algorithm for Leasing in an Object Store: WRITE ends before another client opens."""
    (Script()
        >> Open("ana", RWH) << Granted("ana", RWH)
        >> Open("bob", RWH) << Break("ana", RH) << WAITS
        >> Acknowledge("ana", RH)
        >> Open("bob", RWH) << Granted("bob", RH)).end()


@pytest.mark.parametrize(("held", "asked", "after"), [
    (R, R, R), (R, RH, RH), (R, RW, RW), (R, RWH, RWH),
    (RH, R, RH), (RH, RH, RH), (RH, RW, RH), (RH, RWH, RWH),
    (RW, R, RW), (RW, RH, RW), (RW, RW, RW), (RW, RWH, RWH),
    (RWH, R, RWH), (RWH, RH, RWH), (RWH, RW, RWH), (RWH, RWH, RWH),
])
def test_a_lease_is_only_upgraded_to_what_contains_it(held, asked, after):
    """[MS-FSA] 2.1.5.18: the same key may ask for more; it never trades one right for another."""
    (Script()
        >> Open("ana", held) << Granted("ana", held)
        >> Open("ana", asked) << Granted("ana", after)).end()


@pytest.mark.parametrize(("bits", "held", "left", "ack", "waits"), [
    (caching.OPEN, RWH, RH, True, True),
    (caching.OPEN, RW, R, True, True),
    (caching.OPEN, RH, None, False, False),
    (caching.OPEN, R, None, False, False),
    (caching.OPEN_OVERWRITE, RWH, NONE, True, True),
    (caching.OPEN_OVERWRITE, RH, NONE, True, False),
    (caching.OPEN_OVERWRITE, R, NONE, False, False),
    (caching.OPEN_SHARING, RWH, RW, True, True),
    (caching.OPEN_SHARING, RH, R, True, True),
    (caching.OPEN_SHARING, RW, None, False, False),
    (caching.CHANGE_NAME, RWH, RW, True, True),
    (caching.CHANGE_DATA, RH, NONE, True, False),
    (caching.CHANGE_DATA, R, NONE, False, False),
])
def test_what_an_operation_takes_from_a_lease(bits, held, left, ack, waits):
    """[MS-FSA] 2.1.4.12 Algorithm to Check for an Oplock Break."""
    script = Script() >> Open("ana", held) << Granted("ana", held) >> Operate("bob", bits)
    if left is not None:
        script << Break("ana", left, ack)
    (script << (WAITS if waits else GOES)).end()


@pytest.mark.parametrize(("bits", "held", "left", "ack"), [
    (caching.OPEN, "batch", R, True), (caching.OPEN, "exclusive", R, True), (caching.OPEN, "II", None, False),
    (caching.OPEN_OVERWRITE, "batch", NONE, True), (caching.OPEN_OVERWRITE, "exclusive", NONE, True),
    (caching.OPEN_OVERWRITE, "II", NONE, False),
    (caching.OPEN_SHARING, "batch", R, True), (caching.OPEN_SHARING, "exclusive", None, False),
    (caching.CHANGE_DATA, "II", NONE, False),
])
def test_what_an_operation_takes_from_an_oplock(bits, held, left, ack):
    """[MS-FSA] 2.1.4.12: oplocks break to level II or none."""
    script = Script() >> Open("ana", level=held) << Granted("ana", LEVEL[held]) >> Operate("bob", bits)
    if left is not None:
        script << Break("ana", left, ack)
    (script << (WAITS if ack else GOES)).end()


def test_an_own_operation_breaks_nothing_but_an_own_level_two_oplock():
    """[MS-FSA] 2.1.4.12: a key spares its own; a level II oplock goes at any write, its owner's included."""
    (Script()
        >> Open("ana", RWH) << Granted("ana", RWH)
        >> Operate("ana", caching.CHANGE_DATA) << GOES
        >> Operate("ana", caching.CHANGE_NAME) << GOES).end()
    (Script()
        >> Open("ana", level="II") << Granted("ana", R)
        >> Operate("ana", caching.CHANGE_DATA) << Break("ana", NONE, ack=False) << GOES).end()
    (Script()
        >> Open("ana", level="batch") << Granted("ana", RWH)
        >> Operate("ana", caching.CHANGE_DATA) << GOES).end()


def test_a_break_that_comes_during_another_begins_with_its_answer():
    """[MS-SMB2] 3.3.4.7: one break of a lease is outstanding at a time; Windows goes by way of READ."""
    (Script()
        >> Open("ana", RWH) << Granted("ana", RWH)
        >> Open("bob") << Break("ana", RH) << WAITS
        >> Open("eve", overwrite=True) << WAITS
        >> Acknowledge("ana", RH) << Break("ana", R)
        >> Open("eve", overwrite=True) << WAITS
        >> Acknowledge("ana", R) << Break("ana", NONE, ack=False)
        >> Open("eve", R, overwrite=True) << Granted("eve", R)).end()


@pytest.mark.parametrize(("first", "second", "asked", "after"), [
    (R, R, RH, RH), (R, R, RWH, R), (R, RH, RWH, R), (RH, R, RWH, RH), (RH, RH, RWH, RH), (R, RH, RH, RH),
])
def test_beside_another_lease_an_upgrade_is_all_or_nothing(first, second, asked, after):
    """[MS-FSA] 2.1.5.18.1: an exclusive oplock fails beside other opens, and the lease stays what it is."""
    (Script()
        >> Open("ana", first) << Granted("ana", first)
        >> Open("bob", second) << Granted("bob", second)
        >> Open("ana", asked) << Granted("ana", after)).end()


def test_oplocks_and_handle_caching_keep_apart():
    """[MS-FSA] 2.1.5.18.2: no level II beside HANDLE caching, no HANDLE caching beside level II."""
    (Script()
        >> Open("ana", RH) << Granted("ana", RH)
        >> Open("bob", level="batch") << Granted("bob", NONE)).end()
    (Script()
        >> Open("ana", level="II") << Granted("ana", R)
        >> Open("bob", RWH) << Granted("bob", R)).end()


def test_who_only_looks_gets_nothing_beside_a_writer():
    """[MS-FSA] 2.1.4.12: opening for attributes breaks nothing, and so is granted nothing."""
    (Script()
        >> Open("ana", level="batch") << Granted("ana", RWH)
        >> Open("bob", level="batch", stat=True) << Granted("bob", NONE)).end()


def test_a_lease_that_breaks_is_given_nothing_new():
    """[MS-SMB2] 3.3.5.9.8: SMB2_LEASE_FLAG_BREAK_IN_PROGRESS, and the state that there is."""
    script = (Script()
        >> Open("ana", RWH) << Granted("ana", RWH)
        >> Open("bob", RWH) << Break("ana", RH) << WAITS
        >> Open("ana", RWH) << Granted("ana", RWH))
    assert script.holders["ana"].is_breaking


def test_an_answer_that_keeps_too_much_is_refused():
    """[MS-SMB2] 3.3.5.22.2: a state that is no subset of BreakToLeaseState is STATUS_REQUEST_NOT_ACCEPTED."""
    (Script()
        >> Open("ana", RWH) << Granted("ana", RWH)
        >> Acknowledge("ana", RH) << Refused(Status.UNSUCCESSFUL)
        >> Open("bob") << Break("ana", RH) << WAITS
        >> Acknowledge("ana", RW) << Refused(Status.REQUEST_NOT_ACCEPTED)
        >> Acknowledge("ana", NONE)
        >> Open("bob", R) << Granted("bob", R)).end()


def test_an_overdue_answer_means_nothing_is_kept():
    """[MS-SMB2] 3.3.6.1 Oplock Break Acknowledgment Timer Event."""
    (Script()
        >> Open("ana", RWH) << Granted("ana", RWH)
        >> Open("bob") << Break("ana", RH) << WAITS
        >> Expire("ana")
        >> Acknowledge("ana", RH) << Refused(Status.UNSUCCESSFUL)
        >> Open("bob", RWH) << Granted("bob", RH)).end()


def test_closing_ends_a_break():
    """[MS-FSA] 2.1.5.5: the oplock of a closed open is gone."""
    (Script()
        >> Open("ana", level="batch") << Granted("ana", RWH)
        >> Open("bob") << Break("ana", R) << WAITS
        >> Close("ana")
        >> Open("bob", level="batch") << Granted("bob", RWH)).end()


def test_level_two_is_not_granted_on_a_locked_file():
    """[MS-FSA] 2.1.5.18.2: with byte-range locks there is no shared oplock."""
    (Script() >> Open("ana", level="II", locks=True) << Granted("ana", NONE)).end()


def test_epochs_grow_with_each_change_of_state():
    """[MS-SMB2] 3.3.5.9.11: Lease.Epoch is incremented when the state changes."""
    script = Script() >> Open("ana", R) << Granted("ana", R)
    assert script.holders["ana"].epoch == 1
    script >> Open("ana", R) << Granted("ana", R)
    assert script.holders["ana"].epoch == 1
    script >> Open("ana", RWH) << Granted("ana", RWH)
    assert script.holders["ana"].epoch == 2
    script >> Open("bob") << Break("ana", RH) << WAITS
    assert script.holders["ana"].epoch == 3


STEPS = st.tuples(
    st.sampled_from(["open", "overwrite", "share", "write", "name", "ack", "close", "expire"]),
    st.sampled_from(["ana", "bob", "eve", "dan"]), st.sampled_from([R, RH, RW, RWH]), st.booleans())


@given(st.lists(STEPS, max_size=40))
@settings(max_examples=200)
def test_nobody_caches_what_another_may_change(steps):
    """After any sequence: a writer is alone; every state holds READ; a break goes to a proper subset."""
    script = Script()
    for what, who, state, is_oplock in steps:
        script.effects.clear()
        holder = script.holders.get(who)
        if what in ("open", "overwrite"):
            oplock_of = {R: "II", RW: "exclusive", RWH: "batch", RH: "II"}[state]
            if is_oplock and holder is not None:
                continue
            level = oplock_of if is_oplock else ""
            script >> Open(who, 0 if level else state, level, overwrite=what == "overwrite")
        elif what == "ack" and holder is not None and holder.is_breaking:
            script >> Acknowledge(who, holder.breaking_to)
        elif what == "close" and holder is not None:
            script >> Close(who)
        elif what == "expire" and holder is not None and holder.is_breaking:
            script >> Expire(who)
        elif what in ("share", "write", "name"):
            script >> Operate(who, {"share": HANDLE, "write": READ | WRITE, "name": HANDLE}[what])
        holders = script.caching.holders
        writers = [h for h in holders if h.state & WRITE]
        assert len(writers) <= 1
        assert not writers or all(h.state == 0 for h in holders if h is not writers[0])
        for h in holders:
            assert h.state in (NONE, R, RH, RW, RWH) and (h.version or h.state != RH)
            if h.is_breaking:
                assert h.breaking_to & ~h.state == 0 and h.breaking_to != h.state
                assert h.required & ~h.breaking_to == 0
