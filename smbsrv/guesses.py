"""How fast passwords may be guessed.

    attempt() --0: verify it now--> failed(): the count grows  |  succeeded(): the pair's count is forgotten
        `-- > 0: ask again after so many seconds; nothing was verified

Failures are counted by (client address, user) and by client address alone; a count melts by one in each
`period_s`. Below its allowance nobody waits, so a mistyped password costs nothing; past it attempts are
verified one in `period_s`, on however many connections they come: it is decided before the password is
looked at, so that a right guess is held up like a wrong one. A pair that has logged on since is spared the
count of its address, or one guesser behind a shared address would keep all others out.

Source: ours; Windows Server 2025 holds each failed NTLM attempt up for two seconds ("SMB authentication rate
limiter"). What it does not: lock accounts, which would let anybody shut a user out; it never refuses, the
caller does when the wait is too long. Addresses are cut to what one customer gets (an IPv6 /64). Times are
seconds on the server's clock. Owner: the Server. No I/O.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import TypeAlias

__all__ = ["GuessLimits", "Guesses", "source_of"]

NAME_CHARACTERS_MAX = 64


@dataclass(frozen=True, slots=True)
class GuessLimits:
    """`period_s` 0: nothing is counted."""

    period_s: float = 2.0
    """Between two attempts of one user from one address, past the allowance."""
    allowance: int = 5
    address_share: float = 0.5
    """Of `period_s`, between two attempts of an address for whatever users."""
    address_allowance: int = 60
    wait_max_s: float = 20.0
    """An attempt that would have to wait longer is refused unseen."""
    waiting_max: int = 1024
    """Attempts that wait at a time; what is more is refused unseen as well."""
    counts_max: int = 8192

    def __post_init__(self) -> None:
        assert self.period_s >= 0 and 0 < self.address_share <= 1
        assert 1 <= self.allowance <= self.address_allowance and self.counts_max >= 2


@dataclass(slots=True)
class _Count:
    """`failures` as they were at `at_s`; they melt since."""

    failures: float = 0.0
    at_s: float = 0.0
    is_known: bool = False
    """The pair has logged on."""

    def now(self, now: float, period_s: float) -> float:
        return max(0.0, self.failures - (now - self.at_s) / period_s)


_Key: TypeAlias = "str | tuple[str, str]"


def source_of(peer: str) -> str:
    """Who counts as one client, of "address:port" or "[address]:port"."""
    host = peer.rpartition(":")[0].strip("[]") or peer
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        return f"{IPv6Address(int(address) >> 64 << 64)}/64"
    return str(getattr(address, "ipv4_mapped", None) or address)


class Guesses:
    """See the module."""

    def __init__(self, limits: GuessLimits) -> None:
        self.limits = limits
        self.waiting = 0
        """Attempts that wait now; their callers count them."""
        self._counts: dict[_Key, _Count] = {}

    def __len__(self) -> int:
        return len(self._counts)

    def attempt(self, source: str, user: str, now: float) -> float:
        """How long the next attempt must wait, in seconds; 0: verify it now, and tell how it went."""
        limits = self.limits
        if not limits.period_s:
            return 0.0
        pair = self._counts.get(_pair(source, user))
        wait = self._wait(pair, now, limits.period_s, limits.allowance)
        if pair is not None and pair.is_known:
            return wait
        address = self._counts.get(source)
        shorter_s = limits.period_s * limits.address_share
        return max(wait, self._wait(address, now, shorter_s, limits.address_allowance))

    def failed(self, source: str, user: str, now: float) -> None:
        if self.limits.period_s:
            self._add(_pair(source, user), now, self.limits.period_s)
            self._add(source, now, self.limits.period_s * self.limits.address_share)

    def succeeded(self, source: str, user: str, now: float) -> None:
        if self.limits.period_s:
            self._keep(_pair(source, user), _Count(0.0, now, is_known=True))

    @staticmethod
    def _wait(count: _Count | None, now: float, period_s: float, allowance: int) -> float:
        if count is None:
            return 0.0
        return max(0.0, (count.now(now, period_s) - allowance + 1) * period_s)

    def _add(self, key: _Key, now: float, period_s: float) -> None:
        old = self._counts.get(key)
        failures, is_known = (0.0, False) if old is None else (old.now(now, period_s), old.is_known)
        self._keep(key, _Count(failures + 1, now, is_known))

    def _keep(self, key: _Key, count: _Count) -> None:
        """As the newest; the one that nothing was heard of for longest goes if there are too many."""
        self._counts.pop(key, None)
        if len(self._counts) >= self.limits.counts_max:
            del self._counts[next(iter(self._counts))]
        self._counts[key] = count


def _pair(source: str, user: str) -> _Key:
    return source, user[:NAME_CHARACTERS_MAX].casefold()
