"""The client's end of an RPC association against the server's, in pieces and with bad bytes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from impacket.dcerpc.v5 import srvs
from impacket.dcerpc.v5.dtypes import NULL

from smbproto.errors import WireError
from smbproto.rpc import pdu
from smbproto.rpc.association import Association
from smbproto.rpc.caller import Caller, RpcFault
from smbproto.rpc.service import Fault, interface
from smbproto.rpc.share_list import ShareInfo, decode_shares_untrusted, encode_share_enum

SYNTAX = interface("12345678-1234-abcd-ef00-0123456789ab", 1)


class Echo:
    """Operation 0 gives its stub back, many times over; others are not there."""

    syntax = SYNTAX

    def call(self, operation, stub):
        if operation:
            raise Fault(pdu.FAULT_OP_RANGE)
        return stub * 3


def bound():
    association, caller = Association("test", [Echo()]), Caller(SYNTAX)
    [answer] = association.receive(caller.bind())
    caller.bound(answer)
    return association, caller


@settings(max_examples=30)
@given(st.integers(0, 30_000))
def test_calls_of_any_length_come_back_whole(length):
    """[C706] 12.6.4.9, 12.6.4.10: requests and responses in as many fragments as it takes."""
    association, caller = bound()
    stub = bytes(index * 31 & 255 for index in range(length))
    answers = [answer for fragment in caller.request(0, stub) for answer in association.receive(fragment)]
    results = [caller.response(answer) for answer in answers]
    assert results[-1] == stub * 3
    assert all(result is None for result in results[:-1])


def test_a_fault_is_raised_with_its_status():
    association, caller = bound()
    [answer] = [answer for fragment in caller.request(7, b"") for answer in association.receive(fragment)]
    with pytest.raises(RpcFault) as caught:
        caller.response(answer)
    assert caught.value.status == pdu.FAULT_OP_RANGE


def test_an_interface_that_is_not_there_is_refused():
    caller = Caller(interface("00000000-1234-abcd-ef00-0123456789ab", 1))
    [answer] = Association("test", [Echo()]).receive(caller.bind())
    with pytest.raises(WireError, match="does not offer"):
        caller.bound(answer)


def test_the_answer_to_another_call_is_refused():
    association, caller = bound()
    [answer] = association.receive(caller.request(0, b"one")[0])
    caller.request(0, b"two")
    with pytest.raises(WireError, match="call 2"):
        caller.response(answer)


@settings(max_examples=100)
@given(cut=st.integers(0, 200), at=st.integers(0, 200), value=st.integers(1, 255), is_bind=st.booleans())
def test_bad_fragments_give_typed_errors_only(cut, at, value, is_bind):
    association, caller = Association("test", [Echo()]), Caller(SYNTAX)
    [answer] = association.receive(caller.bind())
    use = caller.bound
    if not is_bind:
        caller.bound(answer)
        [answer] = association.receive(caller.request(0, b"stub data")[0])
        use = caller.response
    bad = bytearray(answer[: len(answer) - cut % len(answer)])
    bad[at % len(bad)] ^= value
    try:
        use(bytes(bad))
    except (WireError, RpcFault):
        pass


def shares_stub():
    response = srvs.NetrShareEnumResponse()
    response["InfoStruct"]["Level"] = 1
    response["InfoStruct"]["ShareInfo"]["tag"] = 1
    for name, kind, remark in (("data", 0, "all of it"), ("IPC$", 0x80000003, "")):
        entry = srvs.SHARE_INFO_1()
        entry["shi1_netname"], entry["shi1_type"], entry["shi1_remark"] = name + "\0", kind, remark + "\0"
        response["InfoStruct"]["ShareInfo"]["Level1"]["Buffer"].append(entry)
    response["TotalEntries"], response["ErrorCode"], response["ResumeHandle"] = 2, 0, NULL
    return response.getData()


def test_a_list_of_shares():
    assert decode_shares_untrusted(shares_stub()) == [
        ShareInfo("data", "disk", "all of it", False),
        ShareInfo("IPC$", "pipe", "", True),
    ]
    assert "host".encode("utf-16-le") in encode_share_enum("host")


@settings(max_examples=60)
@given(cut=st.integers(0, 300), at=st.integers(0, 300), value=st.integers(1, 255))
def test_a_bad_list_of_shares_is_a_wire_error(cut, at, value):
    good = shares_stub()
    bad = bytearray(good[: len(good) - cut % len(good)])
    if bad:
        bad[at % len(bad)] ^= value
    try:
        decode_shares_untrusted(bytes(bad))
    except WireError:
        pass
