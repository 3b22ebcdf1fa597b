"""Byte-range locks against a list looked through by brute force, and the cases that clients notice."""

from time import process_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smbproto.status import Status, StatusError
from storage.objectstore.locks import LockTable
from storage.volume import RangeLock
from tests.storage.objectstore.world import World


def status_of(call, *args) -> Status:
    try:
        call(*args)
    except StatusError as error:
        return error.status
    return Status.SUCCESS


class Model:
    """Every byte of a small file knows who locks it; zero-length locks stand between bytes."""

    SIZE = 12

    def __init__(self):
        self.locks = []

    @staticmethod
    def touch(a, b):
        (a_at, a_len), (b_at, b_len) = a, b
        if a_len and b_len:
            return bool(set(range(a_at, a_at + a_len)) & set(range(b_at, b_at + b_len)))
        if a_len:
            return a_at < b_at < a_at + a_len
        return bool(b_len) and b_at < a_at < b_at + b_len

    def may_lock(self, owner, at, length, exclusive):
        return not any(
            self.touch((at, length), (l_at, l_len)) and (exclusive or (l_excl and l_owner != owner))
            for l_owner, l_at, l_len, l_excl in self.locks)

    def may_read(self, owner, at, length):
        return not any(l_excl and l_owner != owner and self.touch((at, length), (l_at, l_len))
                       for l_owner, l_at, l_len, l_excl in self.locks if length and l_len)

    def may_write(self, owner, at, length):
        return not any((not l_excl or l_owner != owner) and self.touch((at, length), (l_at, l_len))
                       for l_owner, l_at, l_len, l_excl in self.locks if length and l_len)


STEPS = st.tuples(
    st.sampled_from("lluurwc"), st.integers(0, 2), st.integers(0, 11), st.integers(0, 5), st.booleans())


@given(st.lists(STEPS, max_size=40))
@settings(max_examples=150)
def test_locks_are_those_of_a_list(steps):
    """[MS-FSA] 2.1.4.10 Algorithm for Determining If a Range Access Conflicts with Byte-Range Locks."""
    table, model = LockTable(), Model()
    owners = [object() for _ in range(3)]
    for what, who, at, length, exclusive in steps:
        owner = owners[who]
        if what == "l":
            is_free = model.may_lock(who, at, length, exclusive)
            expected = Status.SUCCESS if is_free else Status.LOCK_NOT_GRANTED
            assert status_of(table.lock, owner, [RangeLock(at, length, exclusive)]) == expected
            if expected is Status.SUCCESS:
                model.locks.append((who, at, length, exclusive))
        elif what == "u":
            found = next((lock for lock in model.locks if lock[:3] == (who, at, length)), None)
            expected = Status.SUCCESS if found else Status.RANGE_NOT_LOCKED
            assert status_of(table.unlock, owner, [RangeLock(at, length)]) == expected
            if found:
                model.locks.remove(found)
        elif what == "r":
            assert table.forbids_read(owner, at, length) != model.may_read(who, at, length)
        elif what == "w":
            assert table.forbids_write(owner, at, length) != model.may_write(who, at, length)
        else:
            table.release(owner)
            model.locks = [lock for lock in model.locks if lock[0] != who]
        assert len(table.held) == len(model.locks)


def test_a_range_past_the_end_of_numbers_is_invalid():
    """[MS-FSA] 2.1.5.8: FileOffset + Length - 1 over MAXULONGLONG is STATUS_INVALID_LOCK_RANGE."""
    table = LockTable()
    assert status_of(table.lock, self_, [RangeLock((1 << 64) - 1, 2)]) is Status.INVALID_LOCK_RANGE
    assert status_of(table.lock, self_, [RangeLock((1 << 64) - 1, 1, True)]) is Status.SUCCESS


self_ = object()


def test_all_ranges_of_a_request_or_none():
    """[MS-SMB2] 3.3.5.14.2: if a range cannot be locked, the earlier ones of the request are unlocked."""
    table, other = LockTable(), object()
    table.lock(other, [RangeLock(20, 5, True)])
    with pytest.raises(StatusError, match="LOCK_NOT_GRANTED"):
        table.lock(self_, [RangeLock(0, 5, True), RangeLock(10, 5, True), RangeLock(22, 1, True)])
    assert len(table.held) == 1


def test_unlocking_stops_at_the_first_range_that_is_not_locked():
    """[MS-SMB2] 3.3.5.14.1: the ranges before it stay unlocked."""
    table = LockTable()
    table.lock(self_, [RangeLock(0, 5, True), RangeLock(10, 5, True)])
    with pytest.raises(StatusError, match="RANGE_NOT_LOCKED"):
        table.unlock(self_, [RangeLock(0, 5), RangeLock(1, 1), RangeLock(10, 5)])
    assert [(lock.offset, lock.end) for lock in table.held] == [(10, 15)]


def test_a_waiting_lock_is_granted_when_the_way_is_free():
    """[MS-FSA] 2.1.5.8: without FailImmediately the request waits until the range can be locked."""
    world = World()
    one, two = world.open("f"), world.open("f")
    world.run(one.lock([RangeLock(0, 10, True)], True))
    waiting = world.start(two.lock([RangeLock(5, 10, True)], False))
    assert not waiting.is_done
    assert two.read_now(0, memoryview(bytearray(0))) == 0
    one.unlock([RangeLock(0, 10)])
    world.settle()
    assert waiting.is_done and waiting.error is None
    assert world.refuses(one.lock([RangeLock(14, 1)], True)) is Status.LOCK_NOT_GRANTED


def test_a_cancelled_wait_leaves_nothing():
    """[MS-SMB2] 3.3.5.16 Receiving an SMB2 CANCEL Request."""
    world = World()
    one, two = world.open("f"), world.open("f")
    world.run(one.lock([RangeLock(0, 10, True)], True))
    waiting = world.start(two.lock([RangeLock(0, 10, True)], False))
    waiting.cancel()
    one.unlock([RangeLock(0, 10)])
    assert one.state.locks is None
    world.run(one.lock([RangeLock(0, 10, True)], True))


def test_a_grant_that_meets_a_cancel_is_given_back():
    """The lock came, then the cancel before the task ran: nothing stays locked."""
    world = World()
    one, two = world.open("f"), world.open("f")
    world.run(one.lock([RangeLock(0, 10, True)], True))
    waiting = world.start(two.lock([RangeLock(0, 10, True)], False))
    one.unlock([RangeLock(0, 10)])
    waiting.cancel()
    world.run(one.lock([RangeLock(0, 10, True)], True))


def test_closing_frees_locks_and_ends_waits():
    """[MS-FSA] 2.1.5.5: closing removes all locks of the open."""
    world = World()
    one, two, three = world.open("f"), world.open("f"), world.open("f")
    world.run(one.lock([RangeLock(0, 10, True)], True))
    second = world.start(two.lock([RangeLock(0, 10, True)], False))
    third = world.start(three.lock([RangeLock(0, 10, True)], False))
    world.close(two)
    world.settle()
    assert second.status is Status.RANGE_NOT_LOCKED
    world.close(one)
    world.settle()
    assert third.is_done and third.error is None


def test_locks_stop_reads_and_writes_of_others():
    """[MS-FSA] 2.1.5.3, 2.1.5.4: STATUS_FILE_LOCK_CONFLICT; nobody writes under a shared lock."""
    world = World()
    world.write_file("f", bytes(100))
    one, two = world.open("f"), world.open("f")
    buffer = memoryview(bytearray(10))
    world.run(one.lock([RangeLock(0, 10, True), RangeLock(50, 10)], True))
    assert one.read_now(5, buffer) == 10 and one.write_now(0, buffer)
    assert status_of(two.read_now, 9, buffer) is Status.FILE_LOCK_CONFLICT
    assert status_of(two.write_now, 9, buffer) is Status.FILE_LOCK_CONFLICT
    assert two.read_now(50, buffer) == 10 and two.write_now(10, buffer)
    assert status_of(one.write_now, 50, buffer) is Status.FILE_LOCK_CONFLICT


def test_many_locks_cost_little_each():
    """One request of 4,096 elements must not stop the server, whatever is locked already."""
    began = process_time()
    table, ana, bob = LockTable(), object(), object()
    count = 20_000
    for first in range(0, count, 4000):
        table.lock(ana, [RangeLock(2 * n, 1, n % 2 == 0) for n in range(first, first + 4000)])
    waiters = [table.enqueue(bob, RangeLock(2 * n, 1, True), lambda: None) for n in range(2000, 4000)]
    assert table.forbids_read(bob, 0, 1) and not table.forbids_read(ana, 0, 2 * count)
    table.unlock(ana, [RangeLock(2 * n, 1, False) for n in range(4000)])
    assert all(waiter.is_granted for waiter in waiters)
    table.release(ana)
    assert len(table.held) == len(waiters)
    assert process_time() - began < 1
