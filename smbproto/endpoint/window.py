"""Message ids and credits: what a client may send, as both ends count it.

A credit is the right to use one message id. The server's window is the ids from `low` to `high`; those of
them that came out of order are bits of one integer, which is 0 while a client sends in order.

         used:   . . 1 . 1 1 .          a set bit: consumed before a lower one
         id:     low ............ high   granted so far

Source: [MS-SMB2] 3.3.1.1 Algorithm for Handling Available Message Sequence Numbers by the Server; 3.3.1.2
Algorithm for the Granting of Message Credits; 3.2.4.1.6 Algorithm for Handling Available Message Sequence
Numbers by the Client; 3.1.5.2 Calculating the CreditCharge. Invariants: low <= high; no bit of `used` at or
above high - low; bit 0 of `used` is clear.
"""

from __future__ import annotations

from smbproto import limits

__all__ = ["ClientWindow", "ServerWindow", "credit_charge"]


def credit_charge(send_bytes: int, response_bytes: int = 0) -> int:
    """What a request costs that sends and may get back that much payload; at least 1."""
    return max(1, (max(send_bytes, response_bytes) - 1) // limits.CREDIT_BYTES + 1)


class ServerWindow:
    """Connection.CommandSequenceWindow. Begins with id 0 alone."""

    __slots__ = ("_credits_max", "_high", "_low", "_used")

    def __init__(self, credits_max: int = limits.CREDITS_MAX) -> None:
        assert 1 <= credits_max <= 0xFFFF
        self._credits_max = credits_max
        self._low, self._high = 0, limits.CREDITS_GRANTED_INITIALLY
        self._used = 0

    @property
    def available(self) -> int:
        """How many ids the client may still use."""
        return self._high - self._low - self._used.bit_count()

    def consume(self, message_id: int, charge: int) -> bool:
        """Take `charge` ids from `message_id` on, all or none. False: one was not the client's to use.

        A charge of 0 counts as 1, which is what SMB 2.0.2 sends.
        """
        charge = charge or 1
        start, used = message_id - self._low, self._used
        if start < 0 or message_id + charge > self._high:
            return False
        if not start and not used:
            self._low = message_id + charge
            return True
        mask = ((1 << charge) - 1) << start
        if used & mask:
            return False
        used |= mask
        if used & 1:
            done = (~used & (used + 1)).bit_length() - 1  # how many ones it ends with
            used >>= done
            self._low += done
        self._used = used
        return True

    def grant(self, wanted: int) -> int:
        """Grant up to `wanted` new ids; how many it was, for the response's CreditResponse.

        Bounded by credits_max unused ids, and by twice that span where a client leaves low ids unused.
        """
        span = self._high - self._low
        room = self._credits_max - span + self._used.bit_count()
        granted = max(0, min(wanted, room, 2 * self._credits_max - span))
        self._high += granted
        return granted


class ClientWindow:
    """The ids a client has and has not used. Begins with id 0 alone."""

    __slots__ = ("_available", "_next", "_outstanding", "_target")

    def __init__(self, target: int) -> None:
        """`target`: how many credits the client would like to own."""
        assert 1 <= target <= limits.CREDITS_MAX
        self._target = target
        self._next = 0
        self._available = limits.CREDITS_GRANTED_INITIALLY
        self._outstanding = 0

    @property
    def available(self) -> int:
        return self._available

    @property
    def owned(self) -> int:
        """Credits free or in use by requests without a final response."""
        return self._available + self._outstanding

    def take(self, charge: int) -> int | None:
        """The first of `charge` consecutive ids, now used; None if there are not so many."""
        if charge > self._available:
            return None
        first = self._next
        self._next += charge
        self._available -= charge
        self._outstanding += charge
        return first

    def wanted(self, charge: int) -> int:
        """CreditRequest of a request whose ids were taken: its cost, and what is missing to the target."""
        return max(charge, min(0xFFFF, self._target - self._available - self._outstanding + charge))

    def answered(self, charge: int) -> None:
        """The final response to a request came: its ids are no longer outstanding."""
        self._outstanding -= charge
        assert self._outstanding >= 0

    def granted(self, credits: int) -> None:
        """A response brought that many credits."""
        self._available = min(self._available + credits, 0xFFFF)
