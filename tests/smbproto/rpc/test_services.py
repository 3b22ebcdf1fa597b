"""srvsvc, wkssvc, lsarpc, samr, asked with impacket's client structures. [MS-SRVS], [MS-WKST], [MS-LSAT],
[MS-SAMR]."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from impacket.dcerpc.v5 import lsad, lsat, samr, srvs, wkst
from impacket.dcerpc.v5.dtypes import NULL, RPC_SID

from smbproto.rpc import pdu
from smbproto.rpc.lsarpc import LsaService
from smbproto.rpc.port import Caller
from smbproto.rpc.samr import SamService
from smbproto.rpc.service import Fault
from smbproto.rpc.srvsvc import NERR_NET_NAME_NOT_FOUND, ServerService
from smbproto.rpc.wkssvc import WorkstationService
from smbproto.status import Status
from tests.smbproto.rpc.host import MACHINE, Dce, Host

ACCESS_DENIED, INVALID_LEVEL = 5, 124


def sid(text: str) -> RPC_SID:
    made = RPC_SID()
    made.fromCanonical(text)
    return made


# srvsvc


@pytest.mark.parametrize(
    ("level", "prefix"), [(0, "shi0"), (1, "shi1"), (2, "shi2"), (501, "shi501"), (502, "shi502")]
)
def test_shares_are_listed_but_hidden_ones(level, prefix):
    """[MS-SRVS] 3.1.4.8 NetrShareEnum."""
    dce = Dce(ServerService(Host()))
    found = srvs.hNetrShareEnum(dce, level)
    entries = found["InfoStruct"]["ShareInfo"][f"Level{level}"]["Buffer"]
    assert [one[f"{prefix}_netname"] for one in entries] == ["IPC$\0", "data\0"]
    assert found["TotalEntries"] == 2 and dce.status == 0


@pytest.mark.parametrize(
    ("level", "status"), [(0, 0), (1, 0), (501, 0), (2, ACCESS_DENIED), (502, ACCESS_DENIED)]
)
def test_paths_of_shares_are_for_administrators(level, status):
    """[MS-SRVS] 3.1.4.8: levels 2 and 502 need administrator rights."""
    dce = Dce(ServerService(Host(admin=False)))
    srvs.hNetrShareEnum(dce, level)
    assert dce.status == status
    srvs.hNetrShareGetInfo(dce, "data\0", level)
    assert dce.status == status


def test_one_share():
    """[MS-SRVS] 3.1.4.10 NetrShareGetInfo; its name compares without case."""
    dce = Dce(ServerService(Host()))
    found = srvs.hNetrShareGetInfo(dce, "DATA\0", 502)["InfoStruct"]["ShareInfo502"]
    assert (found["shi502_path"], found["shi502_max_uses"], found["shi502_current_uses"]) == (
        "C:\\data\0",
        5,
        2,
    )
    srvs.hNetrShareGetInfo(dce, "gone\0", 1)
    assert dce.status == NERR_NET_NAME_NOT_FOUND
    srvs.hNetrShareGetInfo(dce, "data\0", 77)
    assert dce.status == INVALID_LEVEL


@pytest.mark.parametrize("level", [100, 101, 102])
def test_the_server_describes_itself(level):
    """[MS-SRVS] 3.1.4.17 NetrServerGetInfo."""
    found = srvs.hNetrServerGetInfo(Dce(ServerService(Host())), level)["InfoStruct"][f"ServerInfo{level}"]
    assert found[f"sv{level}_name"] == "SOFS\0"


def test_the_time_of_day():
    """[MS-SRVS] 3.1.4.21 NetrRemoteTOD."""
    found = srvs.hNetrRemoteTOD(Dce(ServerService(Host())))["BufferPtr"]
    assert (found["tod_year"], found["tod_month"], found["tod_day"]) == (2025, 8, 18)
    assert (
        found["tod_weekday"] == 1 and found["tod_elapsedt"] == 134_000_000_000_000_000 // 10**7 - 11644473600
    )


def test_sessions_and_files_are_for_administrators():
    """[MS-SRVS] 3.1.4.5 NetrSessionEnum, 3.1.4.2 NetrFileEnum."""
    dce = Dce(ServerService(Host()))
    found = srvs.hNetrSessionEnum(dce, NULL, NULL, 10)["InfoStruct"]["SessionInfo"]["Level10"]["Buffer"]
    assert [one["sesi10_username"] for one in found] == ["ana\0", "bob\0"]
    found = srvs.hNetrSessionEnum(dce, NULL, "BOB\0", 1)["InfoStruct"]["SessionInfo"]["Level1"]["Buffer"]
    assert [one["sesi1_cname"] for one in found] == ["10.0.0.2\0"]
    found = srvs.hNetrFileEnum(dce, "C:\\data\0", NULL, 3)["InfoStruct"]["FileInfo"]["Level3"]["Buffer"]
    assert [one["fi3_id"] for one in found] == [7]
    plain = Dce(ServerService(Host(admin=False)))
    srvs.hNetrSessionEnum(plain, NULL, NULL, 10)
    assert plain.status == ACCESS_DENIED
    srvs.hNetrFileEnum(plain, NULL, NULL, 3)
    assert plain.status == ACCESS_DENIED


@pytest.mark.parametrize(
    ("name", "kind", "status"), [("good", 5, 0), ("a*b", 5, 123), ("", 5, 123), ("x", 99, 87)]
)
def test_names_are_checked(name, kind, status):
    """[MS-SRVS] 3.1.4.32 NetprNameValidate."""
    request = srvs.NetprNameValidate()
    request["ServerName"], request["Name"], request["NameType"], request["Flags"] = NULL, name + "\0", kind, 0
    dce = Dce(ServerService(Host()))
    dce.request(request)
    assert dce.status == status


# wkssvc


def test_the_workstation_describes_itself():
    """[MS-WKST] 3.2.4.1 NetrWkstaGetInfo, 3.2.4.3 NetrWkstaUserEnum."""
    dce = Dce(WorkstationService(Host()))
    found = wkst.hNetrWkstaGetInfo(dce, 102)["WkstaInfo"]["WkstaInfo102"]
    assert (found["wki102_computername"], found["wki102_langroup"]) == ("SOFS\0", "WORKGROUP\0")
    users = wkst.hNetrWkstaUserEnum(dce, 1)["UserInfo"]["WkstaUserInfo"]["Level1"]["Buffer"]
    assert [one["wkui1_username"] for one in users] == ["ana\0", "bob\0"]
    wkst.hNetrWkstaUserEnum(Dce(WorkstationService(Host(admin=False))), 1)
    plain = Dce(WorkstationService(Host(admin=False)))
    wkst.hNetrWkstaUserEnum(plain, 1)
    assert plain.status == ACCESS_DENIED


# lsarpc


@pytest.fixture
def lsa():
    dce = Dce(LsaService(Host()))
    return dce, lsad.hLsarOpenPolicy2(dce)["PolicyHandle"]


def test_the_account_domain_is_the_machine(lsa):
    """[MS-LSAD] 3.1.4.4.3 LsarQueryInformationPolicy2: PolicyAccountDomainInformation."""
    dce, policy = lsa
    found = lsad.hLsarQueryInformationPolicy2(dce, policy, 5)["PolicyInformation"]["PolicyAccountDomainInfo"]
    assert (found["DomainName"], found["DomainSid"].formatCanonical()) == ("SOFS", MACHINE)
    lsad.hLsarQueryInformationPolicy2(dce, policy, 2)
    assert dce.status == Status.INVALID_PARAMETER


KNOWN = [
    (f"{MACHINE}-1000", "ana", "SOFS", 1),
    (f"{MACHINE}-513", "None", "SOFS", 2),
    ("S-1-5-32-544", "Administrators", "BUILTIN", 4),
    ("S-1-1-0", "Everyone", "", 5),
    ("S-1-5-18", "SYSTEM", "NT AUTHORITY", 5),
]


@pytest.mark.parametrize("lookup", [lsat.hLsarLookupSids, lsat.hLsarLookupSids2])
def test_sids_have_names(lsa, lookup):
    """[MS-LSAT] 3.1.4.10 LsarLookupSids2, 3.1.4.11 LsarLookupSids."""
    dce, policy = lsa
    found = lookup(dce, policy, [one[0] for one in KNOWN])
    domains = [one["Name"] for one in found["ReferencedDomains"]["Domains"]]
    names = found["TranslatedNames"]["Names"]
    assert [(one["Name"], domains[one["DomainIndex"]], one["Use"]) for one in names] == [
        one[1:] for one in KNOWN
    ]
    assert (found["MappedCount"], dce.status) == (len(KNOWN), 0)


def test_names_have_sids(lsa):
    """[MS-LSAT] 3.1.4.6 LsarLookupNames3, also by domain, without case."""
    dce, policy = lsa
    asked = ["ANA", "sofs\\bob", "BUILTIN\\administrators", "Everyone", "nt authority\\system"]
    found = lsat.hLsarLookupNames3(dce, policy, asked)["TranslatedSids"]["Sids"]
    sids = [f"{MACHINE}-1000", f"{MACHINE}-1001", "S-1-5-32-544", "S-1-1-0", "S-1-5-18"]
    assert [one["Sid"].formatCanonical() for one in found] == sids


def ndr_text(value: str) -> bytes:
    """RPC_UNICODE_STRING and its buffer, by hand, of an even number of characters."""
    data = value.encode("utf-16-le")
    count = len(value).to_bytes(4, "little")
    return len(data).to_bytes(2, "little") * 2 + b"PTR_" + count + bytes(4) + count + data


@pytest.mark.parametrize("has_domain", [True, False])
def test_the_caller_is_told_its_name(has_domain):
    """[MS-LSAT] 3.1.4.2 LsarGetUserName: PRPC_UNICODE_STRING *UserName is a reference to a pointer, [unique]
    PRPC_UNICODE_STRING *DomainName a pointer to a pointer."""
    host = Host()
    host.caller = Caller("anna", "SOFS", f"{MACHINE}-1000", False, False)
    asked = bytes(8) + (b"PTR_" + bytes(4) if has_domain else bytes(4))
    answer = LsaService(host).call(45, asked)
    domain = b"PTR_PTR_" + ndr_text("SOFS") if has_domain else bytes(4)
    wanted = b"PTR_" + ndr_text("anna") + domain + bytes(4)
    assert len(answer) == len(wanted)
    at = wanted.find(b"PTR_")
    while at >= 0:
        assert any(answer[at : at + 4])
        answer = answer[:at] + b"PTR_" + answer[at + 4 :]
        at = wanted.find(b"PTR_", at + 4)
    assert answer == wanted


@pytest.mark.parametrize("lookup", [lsat.hLsarLookupNames, lsat.hLsarLookupNames2, lsat.hLsarLookupNames3])
def test_what_is_not_known_is_told_apart(lsa, lookup):
    """[MS-LSAT] 3.1.4.5: STATUS_SOME_NOT_MAPPED, STATUS_NONE_MAPPED; SidTypeUnknown."""
    dce, policy = lsa
    found = lookup(dce, policy, ["ana", "nobody"])
    assert dce.status == Status.SOME_NOT_MAPPED and found["TranslatedSids"]["Sids"][1]["Use"] == 8
    lookup(dce, policy, ["nobody", "other\\ana"])
    assert dce.status == Status.NONE_MAPPED


def test_a_handle_is_needed_and_ends(lsa):
    """[MS-LSAD] 3.1.4.9.4 LsarClose: STATUS_INVALID_HANDLE afterwards, as for one of another interface or
    association."""
    dce, policy = lsa
    lsad.hLsarClose(dce, policy)
    for handle in (policy, bytes(20), b"x" * 20):
        lsat.hLsarLookupSids(dce, handle, ["S-1-1-0"])
        assert dce.status == Status.INVALID_HANDLE
        lsad.hLsarClose(dce, handle)
        assert dce.status == Status.INVALID_HANDLE


def test_anonymous_callers_learn_nothing():
    """[MS-LSAT] 3.1.4, [MS-SAMR] 3.1.5.1: ACCESS_DENIED without an authenticated user."""
    dce = Dce(LsaService(Host(admin=False, anonymous=True)))
    lsad.hLsarOpenPolicy2(dce)
    assert dce.status == Status.ACCESS_DENIED
    dce = Dce(SamService(Host(admin=False, anonymous=True)))
    samr.hSamrConnect5(dce)
    assert dce.status == Status.ACCESS_DENIED


# samr


@pytest.fixture
def sam():
    dce = Dce(SamService(Host()))
    server = samr.hSamrConnect5(dce)["ServerHandle"]
    domain = samr.hSamrOpenDomain(dce, server, domainId=sid(MACHINE))["DomainHandle"]
    return dce, server, domain


@pytest.mark.parametrize(
    "connect", [samr.hSamrConnect, samr.hSamrConnect2, samr.hSamrConnect4, samr.hSamrConnect5]
)
def test_every_connect_gives_a_server(connect):
    """[MS-SAMR] 3.1.5.1.1 to 3.1.5.1.4; 3.1.5.2.1 SamrEnumerateDomainsInSamServer."""
    dce = Dce(SamService(Host()))
    server = connect(dce)["ServerHandle"]
    found = samr.hSamrEnumerateDomainsInSamServer(dce, server)["Buffer"]["Buffer"]
    assert [one["Name"] for one in found] == ["SOFS", "Builtin"]


def test_users_groups_and_aliases(sam):
    """[MS-SAMR] 3.1.5.2.5, 3.1.5.2.3, 3.1.5.2.4: users and the group "None" in the machine's domain, aliases
    in BUILTIN."""
    dce, server, domain = sam
    users = samr.hSamrEnumerateUsersInDomain(dce, domain)["Buffer"]["Buffer"]
    assert [(one["Name"], one["RelativeId"]) for one in users] == [("ana", 1000), ("bob", 1001)]
    groups = samr.hSamrEnumerateGroupsInDomain(dce, domain)["Buffer"]["Buffer"]
    assert [(one["Name"], one["RelativeId"]) for one in groups] == [("None", 513)]
    builtin = samr.hSamrOpenDomain(dce, server, domainId=sid("S-1-5-32"))["DomainHandle"]
    aliases = samr.hSamrEnumerateAliasesInDomain(dce, builtin)["Buffer"]["Buffer"]
    assert ("Administrators", 544) in [(one["Name"], one["RelativeId"]) for one in aliases]
    alias = samr.hSamrOpenAlias(dce, builtin, aliasId=544)["AliasHandle"]
    members = samr.hSamrGetMembersInAlias(dce, alias)["Members"]["Sids"]
    assert [one["SidPointer"].formatCanonical() for one in members] == [f"{MACHINE}-1000"]


def test_domains_are_found_by_name(sam):
    """[MS-SAMR] 3.1.5.11.1 SamrLookupDomainInSamServer."""
    dce, server, _ = sam
    assert samr.hSamrLookupDomainInSamServer(dce, server, "sofs")["DomainId"].formatCanonical() == MACHINE
    samr.hSamrLookupDomainInSamServer(dce, server, "gone")
    assert dce.status == Status.NO_SUCH_DOMAIN
    samr.hSamrOpenDomain(dce, server, domainId=sid("S-1-5-21-9-9-9"))
    assert dce.status == Status.NO_SUCH_DOMAIN


@pytest.mark.parametrize("kind", [1, 5, 6, 7, 8, 9, 13, 16, 21])
def test_a_user_s_facts(sam, kind):
    """[MS-SAMR] 3.1.5.5.5 SamrQueryInformationUser2, without any password."""
    dce, _, domain = sam
    user = samr.hSamrOpenUser(dce, domain, userId=1000)["UserHandle"]
    samr.hSamrQueryInformationUser2(dce, user, kind)
    assert dce.status == 0


def test_everything_of_a_user(sam):
    """[MS-SAMR] 2.2.6.6 SAMPR_USER_ALL_INFORMATION."""
    dce, _, domain = sam
    user = samr.hSamrOpenUser(dce, domain, userId=1001)["UserHandle"]
    found = samr.hSamrQueryInformationUser2(dce, user, 21)["Buffer"]["All"]
    assert (found["UserName"], found["UserId"], found["PrimaryGroupId"]) == ("bob", 1001, 513)
    assert found["UserAccountControl"] & 1, "the account is disabled"
    assert samr.hSamrGetGroupsForUser(dce, user)["Groups"]["Groups"][0]["RelativeId"] == 513
    samr.hSamrOpenUser(dce, domain, userId=4711)
    assert dce.status == Status.NO_SUCH_USER


def test_names_and_rids(sam):
    """[MS-SAMR] 3.1.5.11.2 SamrLookupNamesInDomain, 3.1.5.11.3 SamrLookupIdsInDomain."""
    dce, _, domain = sam
    found = samr.hSamrLookupNamesInDomain(dce, domain, ["ANA", "gone"])
    assert [one["Data"] for one in found["RelativeIds"]["Element"]] == [1000, 0]
    assert dce.status == Status.SOME_NOT_MAPPED
    found = samr.hSamrLookupIdsInDomain(dce, domain, [1001, 513])
    assert [one["Data"] for one in found["Names"]["Element"]] == ["bob", "None"]


@pytest.mark.parametrize("kind", [1, 2, 3, 5, 7, 8, 9, 12])
def test_a_domain_s_facts(sam, kind):
    """[MS-SAMR] 3.1.5.5.1 SamrQueryInformationDomain2."""
    dce, _, domain = sam
    samr.hSamrQueryInformationDomain2(dce, domain, kind)
    assert dce.status == 0
    samr.hSamrQueryInformationDomain(dce, domain, kind)
    assert dce.status == 0


def test_the_display_list_goes_on(sam):
    """[MS-SAMR] 3.1.5.3.1 SamrQueryDisplayInformation3: Index and EntryCount; STATUS_MORE_ENTRIES until the
    end."""
    dce, _, domain = sam
    first = samr.hSamrQueryDisplayInformation3(dce, domain, 1, 0, 1)
    assert [one["AccountName"] for one in first["Buffer"]["UserInformation"]["Buffer"]] == ["ana"]
    assert dce.status == Status.MORE_ENTRIES
    rest = samr.hSamrQueryDisplayInformation3(dce, domain, 1, 1, 10)
    assert [one["AccountName"] for one in rest["Buffer"]["UserInformation"]["Buffer"]] == ["bob"]
    assert dce.status == 0


# strangers


class Recorder(Dce):
    """Keeps what was asked, to be asked again with changes."""

    def __init__(self, service, into):
        super().__init__(service)
        self.into = into

    def request(self, request, checkError=True):  # noqa: N803
        self.into.append((self.service, request.opnum, request.getData()))
        return super().request(request)


def recorded():
    asked = []
    dce = Recorder(LsaService(Host()), asked)
    policy = lsad.hLsarOpenPolicy2(dce)["PolicyHandle"]
    lsat.hLsarLookupSids(dce, policy, ["S-1-1-0", "S-1-5-18"])
    lsat.hLsarLookupNames3(dce, policy, ["ana", "nobody"])
    lsad.hLsarQueryInformationPolicy2(dce, policy, 5)
    dce = Recorder(ServerService(Host()), asked)
    srvs.hNetrShareEnum(dce, 502)
    srvs.hNetrShareGetInfo(dce, "data\0", 1)
    srvs.hNetrSessionEnum(dce, "a\0", "b\0", 10)
    dce = Recorder(SamService(Host()), asked)
    server = samr.hSamrConnect5(dce)["ServerHandle"]
    domain = samr.hSamrOpenDomain(dce, server, domainId=sid(MACHINE))["DomainHandle"]
    samr.hSamrLookupNamesInDomain(dce, domain, ["ana", "nobody"])
    samr.hSamrLookupIdsInDomain(dce, domain, [1000, 2])
    samr.hSamrQueryDisplayInformation3(dce, domain, 1, 0, 1)
    return asked


ASKED = recorded()


@settings(max_examples=300, deadline=None)
@given(
    which=st.integers(0, len(ASKED) - 1),
    changes=st.lists(st.tuples(st.integers(0, 500), st.integers(0, 255)), max_size=4),
    cut=st.integers(0, 500),
)
def test_changed_requests_give_an_answer_or_a_fault(which, changes, cut):
    """impacket's reader meets strangers here: whatever it trips over is bad stub data, and nothing else
    escapes."""
    service, operation, stub = ASKED[which]
    changed = bytearray(stub)
    for at, value in changes:
        changed[at % len(changed)] = value
    try:
        assert service.call(
            operation, bytes(changed[: len(changed) - cut % 8 if cut > 400 else len(changed)])
        )
    except Fault as fault:
        assert fault.status in (pdu.FAULT_BAD_STUB_DATA, pdu.FAULT_ACCESS_DENIED)
