"""Guessing passwords is slow, whatever the number of connections, and hurts nobody else."""

from hypothesis import given, settings
from hypothesis import strategies as st

from smbproto.errors import WireError
from smbproto.status import Status
from smbsrv.guesses import Guesses, GuessLimits, source_of
from tests.smbsrv.wire import PASSWORD, Site

LIMITS = GuessLimits(period_s=2.0, allowance=3, address_allowance=10, counts_max=50)


def fail(guesses: Guesses, source: str, user: str, now: float) -> bool:
    """An attempt with a wrong password; whether it was let through."""
    if guesses.attempt(source, user, now) > 0:
        return False
    guesses.failed(source, user, now)
    return True


def test_a_few_mistakes_cost_nothing_and_more_are_let_through_one_in_a_period():
    guesses = Guesses(LIMITS)
    assert [fail(guesses, "a", "ana", 0.0) for _ in range(4)] == [True, True, True, False]
    assert guesses.attempt("a", "ANA", 0.0) == 2.0
    assert guesses.attempt("a", "ana", 1.5) == 0.5
    assert fail(guesses, "a", "ana", 2.0) and not fail(guesses, "a", "ana", 2.0)
    assert guesses.attempt("a", "ana", 100.0) == 0.0


def test_a_right_guess_is_held_up_like_a_wrong_one_and_clears_the_count():
    guesses = Guesses(LIMITS)
    for _ in range(3):
        fail(guesses, "a", "ana", 0.0)
    assert guesses.attempt("a", "ana", 0.0) > 0
    guesses.succeeded("a", "ana", 2.0)
    assert all(fail(guesses, "a", "ana", 2.0) for _ in range(3))


def test_nobody_else_waits_for_a_guesser():
    """The same user from elsewhere, another user from the same address."""
    guesses = Guesses(LIMITS)
    while fail(guesses, "a", "ana", 0.0):
        pass
    assert guesses.attempt("b", "ana", 0.0) == guesses.attempt("a", "bob", 0.0) == 0.0


def test_many_users_from_one_address_are_counted_together_but_for_those_who_are_known():
    guesses = Guesses(LIMITS)
    guesses.succeeded("a", "ana", 0.0)
    tried = sum(fail(guesses, "a", f"user{number}", 0.0) for number in range(100))
    assert tried == LIMITS.address_allowance
    assert guesses.attempt("a", "bob", 0.0) > 0
    assert guesses.attempt("a", "ana", 0.0) == 0.0
    assert guesses.attempt("b", "bob", 0.0) == 0.0


def test_without_a_period_nothing_is_counted():
    guesses = Guesses(GuessLimits(period_s=0.0))
    assert all(fail(guesses, "a", "ana", 0.0) for _ in range(1000)) and len(guesses) == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.floats(0, 3)), max_size=120))
def test_never_more_than_the_allowance_and_one_in_a_period(tries):
    guesses, now = Guesses(LIMITS), 0.0
    through: dict[tuple[str, str], int] = {}
    for source, user, pause in tries:
        now += pause
        if fail(guesses, source, user, now):
            through[source, user] = through.get((source, user), 0) + 1
    most = LIMITS.allowance + now / LIMITS.period_s + 1e-6
    assert all(count <= most for count in through.values())


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99), st.booleans()), max_size=300))
def test_memory_is_bounded(tries):
    guesses = Guesses(LIMITS)
    for source, user, is_right in tries:
        (guesses.succeeded if is_right else guesses.failed)(str(source), str(user), 0.0)
        assert len(guesses) <= LIMITS.counts_max


def test_addresses_count_as_their_customers_have_them():
    assert source_of("192.0.2.7:50000") == source_of("[::ffff:192.0.2.7]:50001") == "192.0.2.7"
    assert source_of("[2001:db8:1:2:3::4]:5") == source_of("[2001:db8:1:2:ffff::1]:6") == "2001:db8:1:2::/64"
    assert source_of("[fe80::1%eth0]:445") == "fe80::/64"
    assert source_of("test") == "test" and source_of("memory:7") == "memory"


def connected(site: Site):
    peer = site.connect()
    peer.negotiate()
    return peer


def guess(site: Site, password: str):
    """An attempt on a connection of its own: its peer, and its answer if that comes at once."""
    peer = connected(site)
    try:
        return peer, peer.log_on("ana", password).status
    except WireError:  # no answer yet
        return peer, None


def test_the_server_looks_at_no_password_before_its_time():
    """Past the allowance a session setup waits in silence, on whatever connection; then it is answered."""
    site = Site(guesses=GuessLimits(allowance=2))
    for _ in range(2):
        assert guess(site, "wrong")[1] == Status.LOGON_FAILURE
    held, status = guess(site, PASSWORD)
    assert status is None and site.server.guesses.waiting == 1
    site.runtime.time_s += 2.0
    held.driver.go_on()
    (answer,) = held.late()
    assert answer.status == Status.SUCCESS and site.server.guesses.waiting == 0
    assert guess(site, "wrong")[1] == Status.LOGON_FAILURE


def test_an_attempt_that_would_wait_too_long_is_refused_unseen():
    site = Site(guesses=GuessLimits(allowance=1, wait_max_s=1.0))
    assert guess(site, "wrong")[1] == Status.LOGON_FAILURE
    assert guess(site, PASSWORD)[1] == Status.ACCOUNT_LOCKED_OUT
    assert site.server.sessions == {}


def test_a_connection_that_is_lost_while_it_waits_leaves_nothing():
    site = Site(guesses=GuessLimits(allowance=1))
    guess(site, "wrong")
    peer, status = guess(site, PASSWORD)
    assert status is None
    peer.connection.lost()
    assert site.server.guesses.waiting == 0 and site.server.sessions == {}
