"""A break that may not have reached its holder is told again on another of its connections. [MS-SMB2] 3.3.4.6
Object Store Indicates an Oplock Break; 3.3.4.7 Object Store Indicates a Lease Break."""

import pytest

from smbproto.codec import FileId
from smbproto.smb2.contexts import SMB2_CREATE_REQUEST_LEASE, Lease
from smbproto.smb2.create import CreateContext
from smbproto.smb2.header import UNSOLICITED_MESSAGE_ID, Command
from smbproto.smb2.oplock_break import LeaseBreakAcknowledgment, OplockBreakAcknowledgment
from smbproto.status import Status
from smbsrv.retelling import GIVE_UP_S
from tests.smbsrv.wire import Peer, Site

KEY = b"K" * 16
BATCH = 9
A_WHILE_S = 1.0     # more than a connection is given to take a break


class Holder:
    """A client with one session on three channels, which caches "f"; and another who wants it."""

    def __init__(self, kind: str, **config) -> None:
        self.kind = kind
        self.site = Site(**config)
        self.first = self.site.logged_on()
        self.peers = [self.first, self.channel(), self.channel()]
        fields = {"requested_oplock_level": BATCH}
        if kind == "lease":
            data = Lease(lease_key=KEY, lease_state=7).encode()
            fields = {"requested_oplock_level": 0xFF,
                      "contexts": (CreateContext(SMB2_CREATE_REQUEST_LEASE, data),)}
        self.file_id = self.first.create("f", **fields)
        self.other = self.site.logged_on(client_guid=b"D" * 16)

    def channel(self) -> Peer:
        peer = self.site.connect()
        peer.negotiate()
        assert peer.log_on(binding=self.first.keys).status == Status.SUCCESS
        return peer

    def asked_for(self) -> None:
        self.other.push(self.other.frame(self.other.message(Command.CREATE, Peer.create_request("f"))))

    def told(self) -> list[int]:
        """Which channels have heard of a break since this was asked last."""
        found = []
        for number, peer in enumerate(self.peers):
            for response in peer.late():
                assert response.header.message_id == UNSOLICITED_MESSAGE_ID
                found.append(number)
        return found

    def passes(self, seconds: float) -> None:
        self.site.runtime.time_s += seconds
        self.site.server.retelling.tick(self.site.runtime.now())

    def acknowledges(self) -> None:
        if self.kind == "lease":
            body = LeaseBreakAcknowledgment(lease_key=KEY, lease_state=3).encode()
        else:
            body = OplockBreakAcknowledgment(oplock_level=1, file_id=FileId(*self.file_id)).encode()
        assert self.first.send(Command.OPLOCK_BREAK, body).status == Status.SUCCESS


@pytest.fixture(params=["oplock", "lease"])
def holder(request):
    return Holder(request.param)


def stuck(*peers: Peer) -> None:
    for peer in peers:
        peer.driver.stuck = True


def test_a_break_that_does_not_arrive_is_told_on_each_channel_once(holder):
    stuck(*holder.peers)
    holder.asked_for()
    heard = holder.told()
    assert len(heard) == 1
    for _ in range(2):
        holder.passes(A_WHILE_S)
        more = holder.told()
        assert len(more) == 1 and more[0] not in heard
        heard += more
    holder.passes(A_WHILE_S)
    assert holder.told() == []


def test_who_cannot_be_told_at_all_is_dropped(holder):
    """Just before the object store gives up: its open goes, and who waits gets what it asked for."""
    stuck(*holder.peers)
    holder.asked_for()
    for _ in range(int(GIVE_UP_S)):
        holder.passes(A_WHILE_S)
    assert all(peer.driver.is_closed for peer in holder.peers)
    assert not holder.other.driver.is_closed and len(holder.site.server.retelling) == 0


def test_who_gets_through_on_one_channel_is_not_dropped(holder):
    stuck(*holder.peers)
    holder.asked_for()
    for _ in range(int(GIVE_UP_S) - 1):
        holder.passes(A_WHILE_S)
    holder.peers[1].driver.stuck = False
    holder.passes(2 * A_WHILE_S)
    assert not any(peer.driver.is_closed for peer in holder.peers)


def test_a_break_that_has_arrived_is_not_told_again(holder):
    holder.asked_for()
    assert len(holder.told()) == 1
    holder.passes(10 * A_WHILE_S)
    assert holder.told() == []
    holder.passes(GIVE_UP_S)
    assert len(holder.site.server.retelling) == 0


def test_an_answer_by_any_channel_ends_it(holder):
    stuck(*holder.peers)
    holder.asked_for()
    holder.told()
    holder.acknowledges()
    holder.passes(A_WHILE_S)
    assert holder.told() == [] and len(holder.site.server.retelling) == 0


def test_a_close_ends_it(holder):
    stuck(*holder.peers)
    holder.asked_for()
    holder.told()
    assert holder.first.close(holder.file_id).status == Status.SUCCESS
    holder.passes(A_WHILE_S)
    assert holder.told() == [] and len(holder.site.server.retelling) == 0


def test_a_lost_connection_is_followed_by_the_next_at_once(holder):
    holder.asked_for()
    (number,) = holder.told()
    holder.peers[number].connection.lost()
    (other,) = holder.told()
    assert other != number


def test_what_needs_no_answer_is_not_told_again():
    holder = Holder("oplock")
    holder.asked_for()
    holder.told()
    holder.acknowledges()                      # level II now
    stuck(*holder.peers)
    holder.other.push(
        holder.other.frame(
            holder.other.message(Command.CREATE, Peer.create_request("f", create_disposition=5))
        )
    )
    assert len(holder.told()) == 1 and len(holder.site.server.retelling) == 0
