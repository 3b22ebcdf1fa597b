"""A message in words, and the table of commands."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smbproto.errors import WireError
from smbproto.smb2 import smb1_negotiate
from smbproto.smb2.describe import REQUESTS, RESPONSES, decode_body_untrusted, describe_untrusted
from smbproto.smb2.header import SMB2_FLAGS_SERVER_TO_REDIR, Command, Header
from smbproto.smb2.oplock_break import LeaseBreakAcknowledgment, LeaseBreakNotification, LeaseBreakResponse
from smbproto.smb2.transform import TransformHeader
from smbproto.status import Status
from tests.smbproto.samples import KEY, MESSAGES

SAMPLES = {type(one): one for one, _ in MESSAGES}


def test_each_command_has_its_request_and_its_response():
    """[MS-SMB2] 2.2.1.2 SMB2 Packet Header - SYNC, Command; CANCEL has no response."""
    own = {Command.OPLOCK_BREAK}
    assert set(REQUESTS) == set(Command) - own - {Command.SERVER_TO_CLIENT_NOTIFICATION}
    assert set(RESPONSES) == set(Command) - own - {Command.CANCEL}


@pytest.mark.parametrize("command", list(REQUESTS))
def test_a_request_is_found_by_its_command(command):
    whole = Header(command=command).encode() + SAMPLES[REQUESTS[command]].encode()
    assert decode_body_untrusted(whole, Header.decode_untrusted(whole)) == SAMPLES[REQUESTS[command]]
    assert Command(command).name in describe_untrusted(whole)


@pytest.mark.parametrize("command", list(RESPONSES))
def test_a_response_is_found_by_its_command(command):
    header = Header(command=command, flags=SMB2_FLAGS_SERVER_TO_REDIR)
    whole = header.encode() + SAMPLES[RESPONSES[command]].encode()
    assert decode_body_untrusted(whole, header) == SAMPLES[RESPONSES[command]]
    assert " SUCCESS " in describe_untrusted(whole)


@pytest.mark.parametrize(
    ("body", "flags", "message_id"),
    [
        (LeaseBreakAcknowledgment(lease_key=KEY, lease_state=1), 0, 5),
        (LeaseBreakResponse(lease_key=KEY, lease_state=1), 1, 5),
        (LeaseBreakNotification(lease_key=KEY, current_lease_state=7, new_lease_state=1), 1, 2**64 - 1),
    ],
)
def test_the_three_forms_of_a_break_are_told_apart(body, flags, message_id):
    header = Header(command=Command.OPLOCK_BREAK, flags=flags, message_id=message_id)
    assert decode_body_untrusted(header.encode() + body.encode(), header) == body


def test_an_error_is_shown_with_its_status():
    """[MS-SMB2] 2.2.2 SMB2 ERROR Response, whatever the command."""
    header = Header(command=Command.CREATE, flags=1, status=Status.OBJECT_NAME_NOT_FOUND)
    shown = describe_untrusted(header.encode() + bytes.fromhex("0900 00 00 00000000 00"))
    assert "OBJECT_NAME_NOT_FOUND ErrorResponse" in shown


def test_what_is_no_smb2_message_is_described_too():
    assert describe_untrusted(
        TransformHeader(nonce=KEY, original_message_size=9, session_id=1).encode()
    ).startswith("TransformHeader(")
    assert "SMB 2.???" in describe_untrusted(smb1_negotiate.encode_negotiate(("SMB 2.???",)))
    assert describe_untrusted(b"GET / HTTP/1.1").startswith("<14 bytes")
    assert "no message of command 0x77" in describe_untrusted(Header(command=0x77).encode())
    with pytest.raises(WireError):
        decode_body_untrusted(bytes(64), Header(command=Command.SERVER_TO_CLIENT_NOTIFICATION))


@given(st.integers(0, 0x14), st.integers(0, 3), st.binary(max_size=80))
@settings(max_examples=300)
def test_any_bytes_can_be_described(command, flags, body):
    """A log line must not fail."""
    assert describe_untrusted(Header(command=command, flags=flags).encode() + body)
    assert describe_untrusted(body)
