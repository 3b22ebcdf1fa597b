"""Samba's other tools: rpcclient on the pipes, smbcacls on security descriptors, smbcquotas, smbget."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from interop.server import sofs
from interop.smbclient_tool import SmbClient
from interop.target import Target

SOURCE = Path(__file__).parent / "scripts" / "port445.c"
SID = re.compile(r"S-1-5-21-\d+-\d+-\d+-\d+")


def rpcclient(tool: SmbClient, command: str) -> str:
    options = ["-p", str(tool.target.port), tool.target.host, "-c", command]
    done = tool.execute(tool.argv("rpcclient", options, None, None))
    assert done.status == 0 and "NT_STATUS_" not in done.output, done.output
    return done.output


@pytest.fixture(scope="module")
def redirection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that makes a tool which knows no port but 445 go to another."""
    library = tmp_path_factory.mktemp("redirection") / "port445.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=True, timeout=60)
    return library


class Smbcacls:
    """smbcacls on files of the test's folder."""

    def __init__(self, tool: SmbClient, library: Path) -> None:
        self.tool = tool
        self.environment = {**os.environ, "LD_PRELOAD": str(library), "SMB_PORT": str(tool.target.port)}

    def __call__(self, name: str, *options: str) -> str:
        path = f"{self.tool.folder}\\{name}"
        argv = self.tool.argv("smbcacls", [self.tool.target.unc, path, *options], None, None)
        done = subprocess.run(argv, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout
        return done.stdout


@pytest.fixture
def smbcacls(smbclient: SmbClient, redirection: Path) -> Smbcacls:
    return Smbcacls(smbclient, redirection)


def test_rpcclient_enumerates_users_and_looks_sids_up(smbclient: SmbClient, target: Target) -> None:
    """samr enumdomusers, lsarpc lookupnames and lookupsids agree about who the user is."""
    assert f"user:[{target.user}]" in rpcclient(smbclient, "enumdomusers")
    found = SID.search(rpcclient(smbclient, f"lookupnames {target.user}"))
    assert found
    said = rpcclient(smbclient, f"lookupsids {found[0]}")
    assert re.search(rf"\\{target.user} \(1\)", said), said


def test_rpcclient_looks_well_known_sids_up(smbclient: SmbClient) -> None:
    """[MS-DTYP] 2.4.2.4 Well-known SID Structures."""
    said = rpcclient(smbclient, "lookupsids S-1-1-0 S-1-5-32-544 S-1-5-11")
    assert "Everyone" in said and "Administrators" in said and "Authenticated Users" in said


@pytest.mark.parametrize(("command", "wanted"), [
    ("srvinfo", r"platform_id\s+:\s+500"), ("netshareenum 1", "netname: "), ("lsaquery", "Domain Name: "),
    ("enumdomains", r"name:\["), ("querydominfo", "Total Users"), ("wkssvc_wkstagetinfo 100", ""),
    ("getusername", "Account Name: .+, Authority Name: .+"),
])
def test_rpcclient_queries(smbclient: SmbClient, command: str, wanted: str) -> None:
    assert re.search(wanted, rpcclient(smbclient, command))


def test_smbcacls_reads_adds_changes_and_removes_entries(smbclient: SmbClient, smbcacls: Smbcacls) -> None:
    """QUERY_INFO and SET_INFO of a security descriptor; the owner stays as it is."""
    smbclient.file("x", b"x")
    smbclient.run("put x f").ok()
    before = smbcacls("f")
    assert "OWNER:" in before and "ACL:" in before
    owner = re.search(r"OWNER:(.*)", before)
    entry = "ACL:S-1-5-11:ALLOWED/0x0/READ"
    smbcacls("f", "--add", entry)
    assert re.search(r"ACL:.*(S-1-5-11|Authenticated Users):ALLOWED/0x0/R", smbcacls("f"))
    smbcacls("f", "--modify", "ACL:S-1-5-11:ALLOWED/0x0/FULL")
    assert re.search(r"ACL:.*(S-1-5-11|Authenticated Users):ALLOWED/0x0/FULL", smbcacls("f"))
    smbcacls("f", "--delete", "ACL:S-1-5-11:ALLOWED/0x0/FULL")
    after = smbcacls("f")
    assert "S-1-5-11" not in after and "Authenticated Users" not in after
    assert owner and owner[1] in after


def test_a_denied_reader_is_kept_out(smbclient: SmbClient, smbcacls: Smbcacls, target: Target) -> None:
    """An access check: the second user reads what Everyone may, and not what it is denied."""
    if not target.second_user:
        pytest.skip("this server has one user")
    smbclient.file("x", b"for some")
    smbclient.run("put x f").ok()
    smbcacls("f", "--add", "ACL:S-1-1-0:ALLOWED/0x0/FULL")
    second, password = target.second_user, target.second_password
    smbclient.run("get f open", user=second, password=password).ok()
    smbcacls("f", "--add", f"ACL:{target.second_user}:DENIED/0x0/READ")
    smbclient.run("get f denied", user=second, password=password).fails("ACCESS_DENIED")
    smbclient.run("get f mine").ok()


def test_inherited_entries_reach_new_files(smbclient: SmbClient, smbcacls: Smbcacls) -> None:
    """[MS-DTYP] 2.5.3.4.1 CreateSecurityDescriptor: object and container inherit."""
    smbclient.file("x", b"x")
    smbclient.run("mkdir d").ok()
    smbcacls("d", "--add", "ACL:S-1-5-11:ALLOWED/OI|CI/READ")
    smbclient.run(r"put x d\f", r"mkdir d\e").ok()
    found = [re.search(r"(?:S-1-5-11|Authenticated Users):ALLOWED/([^/]*)/", smbcacls(name))
             for name in (r"d\f", r"d\e")]
    assert found[0] and found[1]
    assert "OI" not in found[0][1] and "OI|CI" in found[1][1]


@pytest.fixture
def smbcquotas(smbclient: SmbClient, redirection: Path, target: Target) -> Callable[..., str]:
    """smbcquotas on the share's volume; where there are no quotas it has nothing to ask."""
    if target.kind != "pool":
        pytest.skip("a directory of the host has the host's quotas")
    environment = {**os.environ, "LD_PRELOAD": str(redirection), "SMB_PORT": str(target.port)}

    def run(*options: str, user: str | None = None, password: str | None = None) -> str:
        argv = smbclient.argv("smbcquotas", [target.unc, *options], user, password)
        done = subprocess.run(argv, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
        return done.stdout

    return run


def test_smbcquotas_lists_and_sets_quotas(
    smbclient: SmbClient, smbcquotas: Callable[..., str], target: Target
) -> None:
    """QUERY_INFO and SET_INFO of quotas through NTFS's quota file; QUERY_INFO of the volume's defaults."""
    second, password = target.second_user, target.second_password
    smbclient.file("x", bytes(100_000))
    smbclient.run("put x f", user=second, password=password).ok()
    assert re.search(rf"{_sid_of(smbclient, second)}\s*:\s*131072/", smbcquotas("-L", "-n"))
    smbcquotas("-S", f"UQLIM:{second}:200000/300000")
    assert re.search(r"131072/\s*200000/\s*300000", smbcquotas("-u", second, "-n"))
    assert "File System QUOTAS" in smbcquotas("-F")
    smbcquotas("-S", "FSQFLAGS:QUOTA_ENABLED/DENY_DISK")
    try:
        smbclient.file("y", bytes(400_000))
        refused = smbclient.run("put y g", user=second, password=password)
        assert "NT_STATUS_DISK_FULL" in refused.output, refused.output
        smbcquotas("-S", f"UQLIM:{second}:200000/3000000")
        smbclient.run("put y g", user=second, password=password).ok()
        smbclient.run("put y h").ok()
    finally:
        smbcquotas("-S", "FSQFLAGS:QUOTA_ENABLED")
    smbcquotas("-S", "FSQLIM:5000000/6000000")
    assert re.search(r"Soft Limit: +5000000\n.*Hard Limit: +6000000\n", smbcquotas("-F", "-n"))
    state = target.process.log.with_name("pool")
    command = [str(sofs()), "--json", "--state", str(state), "quota"]
    done = subprocess.run([*command, "default", "demo", "track"], capture_output=True, text=True, timeout=60,
                          check=True)
    assert json.loads(done.stdout) == {"volume": "demo", "enforced": False}
    assert "Soft Limit: 18446744073709551615\n" in smbcquotas("-F", "-n")
    done = subprocess.run([*command, "list", "demo"], capture_output=True, text=True, timeout=60, check=True)
    (row,) = [row for row in json.loads(done.stdout)["owners"] if row["user"] == second]
    assert (row["state"], row["limit bytes"]) == ("Above threshold", 3_000_000)
    denied = smbcquotas("-L", user=second, password=password)
    assert "ACCESS_DENIED" in denied, denied


def _sid_of(tool: SmbClient, name: str) -> str:
    found = SID.search(rpcclient(tool, f"lookupnames {name}"))
    assert found
    return found[0]


def test_smbget_fetches_a_tree(smbclient: SmbClient, target: Target) -> None:
    data = random.Random(5).randbytes(3_000_001)
    smbclient.file("x", data)
    smbclient.run("mkdir t", r"put x t\big").ok()
    login = smbclient.configuration.with_name("smbgetrc")
    login.touch(mode=0o600)
    login.write_text(f"user {target.user}%{target.password}\n")
    (smbclient.work / "got").mkdir()
    uri = f"smb://{target.host}:{target.port}/{target.share}/{smbclient.folder}/t/big"
    done = smbclient.execute(["smbget", "-f", str(login), "-o", "got/big", uri])
    assert done.status == 0, done.output
    got = (smbclient.work / "got" / "big").read_bytes()
    assert hashlib.sha256(got).digest() == hashlib.sha256(data).digest()
