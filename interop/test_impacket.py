"""impacket's client (its own SMB2 and RPC code): sessions, files, security descriptors, and the pipes of
IPC$."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from typing import Any

import pytest
from impacket import smb3structs as smb2
from impacket.dcerpc.v5 import lsad, lsat, samr, srvs, transport, wkst
from impacket.dcerpc.v5.dtypes import MAXIMUM_ALLOWED, NULL
from impacket.smbconnection import SessionError, SMBConnection

from interop.smbclient_tool import SmbClient
from interop.target import Target

DIALECTS = {"2.0.2": smb2.SMB2_DIALECT_002, "2.1": smb2.SMB2_DIALECT_21, "3.0": smb2.SMB2_DIALECT_30,
            "3.1.1": smb2.SMB2_DIALECT_311}
STATUS_LOGON_FAILURE = 0xC000006D
STATUS_BAD_NETWORK_NAME = 0xC00000CC
STATUS_OBJECT_NAME_NOT_FOUND = 0xC0000034
STATUS_SHARING_VIOLATION = 0xC0000043


def connect(target: Target, dialect: int | None = None) -> Any:
    return SMBConnection(
        target.host, target.host, sess_port=target.port, preferredDialect=dialect, timeout=30
    )


@pytest.fixture
def connection(target: Target) -> Iterator[Any]:
    """A session on the dialect that impacket prefers."""
    made = connect(target)
    made.login(target.user, target.password)
    yield made
    made.close()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_each_dialect_puts_lists_and_gets(target: Target, smbclient: SmbClient, dialect: str) -> None:
    made = connect(target, DIALECTS[dialect])
    assert made.getDialect() == DIALECTS[dialect]
    made.login(target.user, target.password)
    data = random.Random(3).randbytes(700_001)
    path = f"{smbclient.folder}\\file"
    made.putFile(target.share, path, io.BytesIO(data).read)
    back = io.BytesIO()
    made.getFile(target.share, path, back.write)
    assert back.getvalue() == data
    (entry,) = made.listPath(target.share, path)
    assert (entry.get_longname(), entry.get_filesize()) == ("file", len(data))
    made.deleteFile(target.share, path)
    made.logoff()
    made.close()


def test_folders_are_made_listed_renamed_and_removed(
    connection: Any, target: Target, smbclient: SmbClient
) -> None:
    top = smbclient.folder
    connection.createDirectory(target.share, f"{top}\\one")
    connection.rename(target.share, f"{top}\\one", f"{top}\\two")
    names = {entry.get_longname() for entry in connection.listPath(target.share, f"{top}\\*")}
    assert names == {".", "..", "two"}
    connection.deleteDirectory(target.share, f"{top}\\two")


@pytest.mark.parametrize(("user", "password"), [("", "wrong"), ("nosuchuser", "wrong")])
def test_a_failed_logon_is_logon_failure(target: Target, user: str, password: str) -> None:
    made = connect(target)
    with pytest.raises(SessionError) as refused:
        made.login(user or target.user, password)
    assert refused.value.getErrorCode() == STATUS_LOGON_FAILURE
    made.close()


def test_unknown_shares_and_files_have_their_statuses(connection: Any, target: Target) -> None:
    with pytest.raises(SessionError) as refused:
        connection.connectTree("nosuchshare")
    assert refused.value.getErrorCode() == STATUS_BAD_NETWORK_NAME
    with pytest.raises(SessionError) as refused:
        connection.getFile(target.share, "no such file", lambda data: None)
    assert refused.value.getErrorCode() == STATUS_OBJECT_NAME_NOT_FOUND


def test_a_share_mode_keeps_others_out(connection: Any, target: Target, smbclient: SmbClient) -> None:
    """[MS-FSA] 2.1.5.1.2.2 Algorithm to Check Sharing Access to an Existing Stream or Directory."""
    tree = connection.connectTree(target.share)
    path = f"{smbclient.folder}\\alone"
    handle = connection.createFile(tree, path, shareMode=0)
    other = connect(target)
    other.login(target.user, target.password)
    with pytest.raises(SessionError) as refused:
        other.getFile(target.share, path, lambda data: None)
    assert refused.value.getErrorCode() == STATUS_SHARING_VIOLATION
    connection.closeFile(tree, handle)
    other.getFile(target.share, path, lambda data: None)
    other.close()


def bind(connection: Any, pipe: str, interface: Any) -> Any:
    over = transport.SMBTransport(connection.getRemoteName(), connection.getRemoteHost(), filename=pipe,
                                  smb_connection=connection)
    rpc = over.get_dce_rpc()
    rpc.connect()
    rpc.bind(interface)
    return rpc


def test_srvsvc_lists_the_shares(connection: Any, target: Target) -> None:
    """[MS-SRVS] 3.1.4.8 NetrShareEnum."""
    names = {str(share["shi1_netname"])[:-1] for share in connection.listShares()}
    assert {target.share, "IPC$"} <= names


def test_srvsvc_tells_about_one_share_and_the_server(connection: Any, target: Target) -> None:
    """[MS-SRVS] 3.1.4.10 NetrShareGetInfo, 3.1.4.17 NetrServerGetInfo."""
    rpc = bind(connection, r"\srvsvc", srvs.MSRPC_UUID_SRVS)
    info = srvs.hNetrShareGetInfo(rpc, target.share + "\x00", 1)
    assert info["InfoStruct"]["ShareInfo1"]["shi1_netname"][:-1].lower() == target.share.lower()
    about = srvs.hNetrServerGetInfo(rpc, 101)
    assert about["InfoStruct"]["ServerInfo101"]["sv101_version_major"] >= 4


def test_wkssvc_tells_the_computer_name(connection: Any) -> None:
    """[MS-WKST] 3.2.4.1 NetrWkstaGetInfo."""
    rpc = bind(connection, r"\wkssvc", wkst.MSRPC_UUID_WKST)
    about = wkst.hNetrWkstaGetInfo(rpc, 100)
    assert len(about["WkstaInfo"]["WkstaInfo100"]["wki100_computername"]) > 1


def test_lsarpc_maps_the_user_to_a_sid_and_back(connection: Any, target: Target) -> None:
    """[MS-LSAT] 3.1.4.8 LsarLookupNames, 3.1.4.11 LsarLookupSids."""
    rpc = bind(connection, r"\lsarpc", lsat.MSRPC_UUID_LSAT)
    policy = lsad.hLsarOpenPolicy2(rpc, MAXIMUM_ALLOWED | lsat.POLICY_LOOKUP_NAMES)["PolicyHandle"]
    domain = lsad.hLsarQueryInformationPolicy(
        rpc, policy, lsad.POLICY_INFORMATION_CLASS.PolicyAccountDomainInformation)
    base = domain["PolicyInformation"]["PolicyAccountDomainInfo"]["DomainSid"].formatCanonical()
    found = lsat.hLsarLookupNames(rpc, policy, (target.user,))
    rid = found["TranslatedSids"]["Sids"][0]["RelativeId"]
    named = lsat.hLsarLookupSids(rpc, policy, (f"{base}-{rid}",))
    assert named["TranslatedNames"]["Names"][0]["Name"].lower() == target.user.lower()


def test_samr_lists_the_users(connection: Any, target: Target) -> None:
    """[MS-SAMR] 3.1.5.2.5 SamrEnumerateUsersInDomain."""
    rpc = bind(connection, r"\samr", samr.MSRPC_UUID_SAMR)
    server = samr.hSamrConnect(rpc)["ServerHandle"]
    domains = samr.hSamrEnumerateDomainsInSamServer(rpc, server)["Buffer"]["Buffer"]
    users = set()
    for domain in domains:
        sid = samr.hSamrLookupDomainInSamServer(rpc, server, domain["Name"])["DomainId"]
        handle = samr.hSamrOpenDomain(rpc, server, domainId=sid)["DomainHandle"]
        found = samr.hSamrEnumerateUsersInDomain(rpc, handle)
        if found["Buffer"]["Buffer"] is not NULL:
            users |= {user["Name"].lower() for user in found["Buffer"]["Buffer"]}
    assert target.user.lower() in users
