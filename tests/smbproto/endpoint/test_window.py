"""The message-id window against a set of ids, and the arithmetic of credits."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smbproto import limits
from smbproto.endpoint.window import ClientWindow, ServerWindow, credit_charge

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("consume"), st.integers(-2, 60), st.integers(0, 6)),
        st.tuples(st.just("grant"), st.integers(0, 40), st.just(0)),
    ),
    max_size=60,
)


@settings(max_examples=200)
@given(steps=STEPS, credits_max=st.integers(1, 30))
def test_window_agrees_with_a_set_of_ids(steps, credits_max):
    """[MS-SMB2] 3.3.1.1: an id is used at most once; those never granted and those used are refused."""
    window, free, high = ServerWindow(credits_max), {0}, 1
    for what, value, charge in steps:
        if what == "consume":
            lowest = min(free, default=high)
            message_id = max(0, lowest + value)
            wanted = set(range(message_id, message_id + (charge or 1)))
            assert window.consume(message_id, charge) is (wanted <= free)
            if wanted <= free:
                free -= wanted
        else:
            granted = window.grant(value)
            span = high - min(free, default=high)
            assert granted == max(0, min(value, credits_max - len(free), 2 * credits_max - span))
            free |= set(range(high, high + granted))
            high += granted
        assert window.available == len(free)
        assert len(free) <= max(credits_max, 1)


def test_an_id_left_out_does_not_let_the_window_grow_without_end():
    """[MS-SMB2] 3.3.1.1: a client cannot run ahead without end of an id that it left unused."""
    window = ServerWindow(16)
    window.grant(15)
    next_id = 1
    for _ in range(1000):
        if not window.consume(next_id, 1):
            break
        next_id += 1
        window.grant(1)
    assert next_id <= 33
    assert window.consume(0, 1)
    assert window.grant(1) == 1, "once the id is used, it goes on"


def test_a_message_id_is_good_once():
    window = ServerWindow()
    assert window.consume(0, 1)
    assert not window.consume(0, 1)
    window.grant(4)
    assert window.consume(3, 2)
    assert not window.consume(4, 1)
    assert not window.consume(2, 2), "all or none"
    assert window.consume(2, 1)
    assert window.consume(1, 1)
    assert window.available == 0


@pytest.mark.parametrize(
    ("sent", "returned", "charge"),
    [(0, 0, 1), (1, 0, 1), (65536, 0, 1), (65537, 0, 2), (0, 131072, 2), (100, 131073, 3), (8388608, 0, 128)],
)
def test_credit_charge(sent, returned, charge):
    """[MS-SMB2] 3.1.5.2: (max(SendPayloadSize, Expected ResponsePayloadSize) - 1) / 65536 + 1."""
    assert credit_charge(sent, returned) == charge


@settings(max_examples=100)
@given(st.lists(st.tuples(st.integers(1, 10), st.integers(0, 20)), max_size=50), st.integers(1, 100))
def test_client_and_server_windows_agree(requests, target):
    """Whatever the server grants of what the client asks, the client never uses an id that it has not."""
    client, server = ClientWindow(target), ServerWindow()
    for charge, granted_max in requests:
        first = client.take(charge)
        if first is None:
            assert client.available < charge
            continue
        assert server.consume(first, charge)
        wanted = client.wanted(charge)
        assert charge <= wanted <= limits.CREDITS_MAX + charge
        client.answered(charge)
        client.granted(server.grant(min(wanted, granted_max)))
        assert client.available == server.available


def test_client_asks_up_to_its_target():
    client = ClientWindow(64)
    assert client.take(1) == 0
    assert client.wanted(1) == 64
    client.answered(1)
    client.granted(64)
    assert client.take(4) == 1
    assert client.wanted(4) == 4
    assert client.take(61) is None
