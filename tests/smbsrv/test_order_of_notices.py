"""Where a break stands among the answers on its connection."""

import pytest

from smbproto.codec import FileId
from smbproto.smb2.header import UNSOLICITED_MESSAGE_ID, Command
from smbproto.smb2.oplock_break import OplockBreakAcknowledgment
from smbproto.status import Status
from tests.smbsrv.wire import Peer, Site

ECHO = b"\4\0\0\0"
BATCH = 9


def overwrite(peer: Peer) -> bytes:
    """Frames of one segment: an ECHO, a CREATE that must wait for the holder of a batch oplock, an ECHO."""
    create = Peer.create_request("f", create_disposition=5)
    return b"".join(
        peer.frame(peer.message(command, body))
        for command, body in ((Command.ECHO, ECHO), (Command.CREATE, create), (Command.ECHO, ECHO))
    )


@pytest.mark.parametrize("is_sealing", [False, True])
def test_a_break_comes_between_the_answers_of_the_frames_around_it(is_sealing):
    """A client that sees the second answer may rely on all that was said before it. [MS-SMB2] 3.3.4.6 Object
    Store Indicates an Oplock Break."""
    peer = Site().logged_on()
    peer.is_sealing = is_sealing
    peer.create("f", requested_oplock_level=BATCH)
    first = peer.message_id
    said = [(response.header.message_id, response.status) for response in peer.push(overwrite(peer))]
    assert said == [
        (first, Status.SUCCESS),
        (first + 1, Status.PENDING),
        (UNSOLICITED_MESSAGE_ID, Status.SUCCESS),
        (first + 2, Status.SUCCESS),
    ]


def test_a_break_that_a_request_sets_off_follows_its_answer():
    """The acknowledgment of one break lets the next begin: first the answer, then the notice."""
    site = Site()
    peer, other, third = (site.logged_on(client_guid=bytes([number]) * 16) for number in (1, 2, 3))
    file_id = peer.create("f", requested_oplock_level=BATCH)
    other.push(other.frame(other.message(Command.CREATE, Peer.create_request("f"))))
    third.push(overwrite(third))
    (told,) = peer.late()
    assert told.header.message_id == UNSOLICITED_MESSAGE_ID
    body = OplockBreakAcknowledgment(oplock_level=1, file_id=FileId(*file_id)).encode()
    answers = peer.push(peer.frame(peer.message(Command.OPLOCK_BREAK, body)))
    assert answers[0].status == Status.SUCCESS and answers[0].header.message_id != UNSOLICITED_MESSAGE_ID
    assert [one.header.message_id for one in answers[1:]] == [UNSOLICITED_MESSAGE_ID]
