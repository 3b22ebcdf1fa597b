"""Debian's smbclient 4.17 against a server: its SMB2 commands, each dialect, signed and encrypted.

Left out: `posix`, `getfacl`, `chmod`, `chown`, `stat`, `link`, `symlink`, `readlink`, `lock` and `posix_*`
need SMB1's UNIX extensions, `print` and `queue` a printer; the tool itself refuses them on SMB2. `reput` of
4.17 writes its rest at offset 0.
"""

from __future__ import annotations

import hashlib
import random
import re
import tarfile
import time

import pytest

from interop.process import Process
from interop.smbclient_tool import SmbClient
from interop.target import Target

DIALECTS = ("SMB2_02", "SMB2_10", "SMB3_00", "SMB3_02", "SMB3_11")
PROTECTIONS = [(dialect, protection) for dialect in DIALECTS for protection in ("sign", "encrypt")
               if protection == "sign" or dialect.startswith("SMB3")]


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(("dialect", "protection"), PROTECTIONS)
def test_each_dialect_carries_data(smbclient: SmbClient, dialect: str, protection: str) -> None:
    """Put, list and get, with the wire's dialect read from the client's own trace."""
    data = noise(300_000)
    smbclient.file("up", data)
    options = ("-m", dialect, f"--client-protection={protection}")
    smbclient.run("put up file", "get file down", options=options).ok()
    assert (smbclient.work / "down").read_bytes() == data
    trace = smbclient.run("ls", options=(*options, "-d", "10"))
    assert f"negotiated dialect[{dialect}]" in trace.output
    assert trace.status == 0


@pytest.mark.parametrize("cipher", ["aes-128-gcm", "aes-128-ccm", "aes-256-gcm", "aes-256-ccm"])
def test_each_cipher_carries_data(smbclient: SmbClient, cipher: str) -> None:
    """[MS-SMB2] 3.3.5.4: the server takes the client's cipher when it is the only one offered."""
    data = noise(200_000)
    smbclient.file("up", data)
    only = f"--option=client smb3 encryption algorithms={cipher.upper()}"
    smbclient.run("put up file", "get file down", options=("--client-protection=encrypt", only)).ok()
    assert (smbclient.work / "down").read_bytes() == data


@pytest.mark.parametrize("algorithm", ["aes-128-gmac", "aes-128-cmac", "hmac-sha256"])
def test_each_signing_algorithm_is_accepted(smbclient: SmbClient, algorithm: str) -> None:
    """[MS-SMB2] 2.2.3.1.7 SMB2_SIGNING_CAPABILITIES: each algorithm signs a session of its own."""
    only = f"--option=client smb3 signing algorithms={algorithm.upper()}"
    smbclient.file("up", b"signed")
    smbclient.run("put up file", "get file down", options=("--client-protection=sign", only)).ok()
    assert (smbclient.work / "down").read_bytes() == b"signed"


@pytest.mark.parametrize("protection", ["sign", "encrypt"])
def test_a_big_file_comes_back_as_it_went(smbclient: SmbClient, protection: str) -> None:
    """64 MiB and some bytes: many requests in flight, and a tail that fills no block."""
    data = noise((64 << 20) + 4321)
    smbclient.file("up", data)
    options = (f"--client-protection={protection}",)
    smbclient.run("put up big", "get big down", options=options, timeout_s=150).ok()
    assert sha((smbclient.work / "down").read_bytes()) == sha(data)


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 65536, 1 << 20, (1 << 20) + 1])
def test_sizes_around_blocks(smbclient: SmbClient, size: int) -> None:
    data = noise(size)
    smbclient.file("up", data)
    listing = smbclient.run("put up file", "get file down", "ls file").ok()
    assert (smbclient.work / "down").read_bytes() == data
    assert [(row["name"], int(row["size"])) for row in listing.entries()] == [("file", size)]


def test_put_replaces_a_longer_file(smbclient: SmbClient) -> None:
    smbclient.file("long", noise(100_000))
    smbclient.file("short", b"short")
    smbclient.run("put long file", "put short file", "get file down").ok()
    assert (smbclient.work / "down").read_bytes() == b"short"


def test_reget_goes_on_where_it_stopped(smbclient: SmbClient) -> None:
    data = noise(200_000)
    smbclient.file("up", data)
    smbclient.file("down", data[:50_000])
    smbclient.run("put up file", "reget file down").ok()
    assert (smbclient.work / "down").read_bytes() == data


def test_mget_and_mput_of_patterns(smbclient: SmbClient) -> None:
    for name in ("a1.txt", "a2.txt", "b1.bin"):
        smbclient.file(name, name.encode())
    smbclient.run("prompt off", "mput *.txt *.bin").ok()
    for name in ("a1.txt", "a2.txt", "b1.bin"):
        (smbclient.work / name).unlink()
    smbclient.run("prompt off", "mget a?.txt").ok()
    assert (smbclient.work / "a1.txt").read_bytes() == b"a1.txt"
    assert (smbclient.work / "a2.txt").exists() and not (smbclient.work / "b1.bin").exists()


def test_a_tree_goes_out_and_comes_back(smbclient: SmbClient) -> None:
    """`recurse` with mput and mget, `deltree`."""
    for folder in ("tree", "tree/a", "tree/a/b", "tree/empty"):
        (smbclient.work / folder).mkdir()
    files = {"tree/1": b"one", "tree/a/2": noise(70_000), "tree/a/b/3": b""}
    for name, data in files.items():
        smbclient.file(name, data)
    smbclient.run("prompt off", "recurse on", "mput tree").ok()
    (smbclient.work / "back").mkdir()
    smbclient.run("prompt off", "recurse on", "lcd back", "mget tree").ok()
    for name, data in files.items():
        assert (smbclient.work / "back" / name).read_bytes() == data
    assert (smbclient.work / "back/tree/empty").is_dir()
    assert "tree" not in smbclient.run("deltree tree", "ls").ok().names()


def test_tar_makes_and_extracts(smbclient: SmbClient) -> None:
    smbclient.file("x", noise(40_000))
    smbclient.run("mkdir sub", "cd sub", "put x inside", "cd ..", "put x outside").ok()
    assert smbclient.run("tar c out.tar").status == 0
    with tarfile.open(smbclient.work / "out.tar") as archive:
        names = {name.split("/")[-1] for name in archive.getnames()}
    assert {"sub", "inside", "outside"} <= names
    smbclient.run("deltree sub", "del outside").ok()
    assert smbclient.run("tar x out.tar", folder="").status == 0
    assert {"sub", "outside"} <= set(smbclient.run("ls").ok().names())


def test_mkdir_rmdir_and_their_refusals(smbclient: SmbClient) -> None:
    smbclient.file("x", b"x")
    smbclient.run("mkdir d", "cd d", "put x x").ok()
    smbclient.run("mkdir d").fails("OBJECT_NAME_COLLISION")
    smbclient.run("rmdir d").fails("DIRECTORY_NOT_EMPTY")
    smbclient.run("rmdir gone").fails("OBJECT_NAME_NOT_FOUND")
    smbclient.run(r"mkdir gone\below").fails("OBJECT_PATH_NOT_FOUND")
    assert "d" not in smbclient.run(r"del d\x", "rmdir d", "ls").ok().names()


def test_del_takes_a_pattern(smbclient: SmbClient) -> None:
    smbclient.file("x", b"x")
    names = smbclient.run("put x a1", "put x a2", "put x b1", "del a*", "ls").ok().names()
    assert [name for name in names if name not in (".", "..")] == ["b1"]
    smbclient.run("del gone").fails("NO_SUCH_FILE")
    smbclient.run("get gone here").fails("OBJECT_NAME_NOT_FOUND")


def test_wdel_deletes_hidden_and_system_files(smbclient: SmbClient) -> None:
    smbclient.file("x", b"x")
    smbclient.run("put x h1", "setmode h1 +hs", "wdel 0x16 h1").ok()
    assert "h1" not in smbclient.run("ls").ok().names()


def test_rename_moves_and_replaces_only_when_asked(smbclient: SmbClient) -> None:
    smbclient.file("one", b"one")
    smbclient.file("two", b"two")
    smbclient.run("put one a", "put two b", "mkdir d", r"rename a d\c").ok()
    smbclient.run("rename b b2").ok()
    smbclient.run("put one a", "rename a b2").fails("OBJECT_NAME_COLLISION")
    smbclient.run("rename a b2 -f", "get b2 down").ok()
    assert (smbclient.work / "down").read_bytes() == b"one"
    assert smbclient.run(r"ls d\*").ok().names() == [".", "..", "c"]


def test_rename_of_a_folder_takes_what_is_in_it_along(smbclient: SmbClient) -> None:
    smbclient.file("x", b"deep")
    smbclient.run("mkdir d", r"mkdir d\e", r"put x d\e\f", "rename d g", r"get g\e\f down").ok()
    assert (smbclient.work / "down").read_bytes() == b"deep"


def test_names_keep_their_case_and_are_found_in_any(smbclient: SmbClient) -> None:
    smbclient.file("x", b"x")
    assert smbclient.run("put x MixedCase.Txt", "ls MIXEDCASE.TXT").ok().names() == ["MixedCase.Txt"]
    smbclient.run("get mixedcase.txt down", "rename MIXEDCASE.txt mixedcase.TXT").ok()
    assert "mixedcase.TXT" in smbclient.run("ls").ok().names()
    smbclient.run("put x Ærø", "get ÆRØ down2").ok()
    smbclient.run("mkdir MIXEDCASE.TXT").fails("OBJECT_NAME_COLLISION")


@pytest.mark.parametrize("name", [
    "with space", "日本語", "emoji 😀", "a.b.c.d", ".hidden", "#%&'()=~{}!@^+,[]", "x" * 200])
def test_unusual_names_come_back_as_they_went(smbclient: SmbClient, name: str) -> None:
    smbclient.file("x", b"x")
    names = smbclient.run(f'put x "{name}"', f'get "{name}" down', "ls").ok().names()
    assert name in names


def test_allinfo_altname_and_setmode(smbclient: SmbClient) -> None:
    smbclient.file("x", b"12345")
    said = smbclient.run("put x file.txt", "allinfo file.txt").ok().output
    assert "attributes: A (20)" in said and "stream: [::$DATA], 5 bytes" in said
    assert re.search(r"create_time: +\w+ \w+ +\d+ ", said)
    assert "file.txt" in smbclient.run("altname file.txt").ok().output.casefold()
    shown = smbclient.run("setmode file.txt +rhs", "ls file.txt").ok().entries()
    assert shown[0]["attributes"] == "AHSR"
    smbclient.run("del file.txt").fails("CANNOT_DELETE")
    assert smbclient.run("setmode file.txt -rhsa", "ls file.txt").ok().entries()[0]["attributes"] in ("N", "")
    smbclient.run("del file.txt").ok()


def test_archive_modes_choose_files(smbclient: SmbClient) -> None:
    smbclient.file("x", b"x")
    smbclient.run("put x new", "put x old", "setmode old -a").ok()
    smbclient.run("prompt off", "archive 1", "mget *").ok()
    assert (smbclient.work / "new").exists() and not (smbclient.work / "old").exists()


def test_utimes_sets_what_is_given_and_keeps_the_rest(smbclient: SmbClient) -> None:
    smbclient.file("x", b"x")
    smbclient.run("put x file", 'utimes file 20:01:02-03:04:05 21:02:03-04:05:06 22:03:04-05:06:07 -1').ok()
    said = smbclient.run("allinfo file").ok().output
    for field, date in (("create_time", "Jan  2"), ("access_time", "Feb  3"), ("write_time", "Mar  4")):
        assert re.search(rf"{field}: +\w+ {date} ", said), said
    smbclient.run('utimes file -1 -1 23:04:05-06:07:08 -1').ok()
    said = smbclient.run("allinfo file").ok().output
    assert re.search(r"create_time: +\w+ Jan  2 ", said), said
    assert re.search(r"write_time: +\w+ Apr  5 ", said), said


def test_hard_links_share_their_data(smbclient: SmbClient) -> None:
    smbclient.file("x", b"shared")
    smbclient.file("y", b"changed")
    smbclient.run("put x a", "hardlink a b", "put y a", "get b down", "del a", "get b down2").ok()
    assert (smbclient.work / "down2").read_bytes() == b"changed"


def test_server_side_copy(smbclient: SmbClient) -> None:
    """`scopy` is FSCTL_SRV_COPYCHUNK: 5 MiB takes several requests."""
    data = noise((5 << 20) + 77)
    smbclient.file("x", data)
    smbclient.run("put x a", "scopy a b", "get b down").ok()
    assert sha((smbclient.work / "down").read_bytes()) == sha(data)


def test_extended_attributes(smbclient: SmbClient) -> None:
    smbclient.file("x", b"x")
    said = smbclient.run("put x a", "setea a colour blue", "geteas a").ok().output
    assert re.search(r"colour \(0\) =", said, re.I) and "blue" in said


def test_alternate_streams_hold_data_of_their_own(smbclient: SmbClient) -> None:
    smbclient.file("main", b"main data")
    smbclient.file("other", noise(5000))
    smbclient.run("put main f", "put other f:second", "get f down", "get f:second down2").ok()
    assert (smbclient.work / "down").read_bytes() == b"main data"
    assert (smbclient.work / "down2").read_bytes() == noise(5000)
    assert "stream: [:second:$DATA], 5000 bytes" in smbclient.run("allinfo f").ok().output
    smbclient.run("del f", "get f:second down3").fails("OBJECT_NAME_NOT_FOUND")


def test_showacls_prints_owner_and_entries(smbclient: SmbClient) -> None:
    smbclient.file("x", b"x")
    said = smbclient.run("put x f", "showacls", "ls f").ok().output
    assert re.search(r"Owner SID:\s+S-1-", said) and "ACE" in said and "DACL" in said


def test_volume_and_free_space(smbclient: SmbClient) -> None:
    assert re.search(r"Volume: \|.+\| serial number 0x[0-9a-f]+", smbclient.run("volume").ok().output)
    found = re.search(r"(\d+) blocks of size (\d+)\. (\d+) blocks available", smbclient.run("du").ok().output)
    assert found
    total, size, free = map(int, found.groups())
    assert 0 < free <= total and size > 0


def test_listing_of_many_names_is_complete(smbclient: SmbClient) -> None:
    """More names than one QUERY_DIRECTORY answer holds."""
    (smbclient.work / "many").mkdir()
    wanted = {f"name-{number:04d}-{'x' * 60}" for number in range(600)}
    for name in wanted:
        (smbclient.work / "many" / name).touch()
    smbclient.run("prompt off", "recurse on", "mput many", timeout_s=150).ok()
    names = smbclient.run(r"ls many\*").ok().names()
    assert len(names) == len(set(names)) == 602
    assert wanted <= set(names)
    assert len(smbclient.run(r"ls many\name-01??-*").ok().names()) == 100


@pytest.mark.parametrize(("pattern", "found"), [
    ("*", {"a", "a.b", "a.b.c", "bb.b"}), ("*.b", {"a.b", "bb.b"}),
    ("a*", {"a", "a.b", "a.b.c"}), ("??.b", {"bb.b"}), ("a.b", {"a.b"}), ("*.c", {"a.b.c"}),
    ("A.*", {"a.b", "a.b.c"}),
])
def test_wildcards(smbclient: SmbClient, pattern: str, found: set[str]) -> None:
    """[MS-FSA] 2.1.4.4 Algorithm for Determining if a FileName Is in an Expression."""
    smbclient.file("x", b"x")
    smbclient.run("put x a", "put x a.b", "put x a.b.c", "put x bb.b").ok()
    assert set(smbclient.run(f"ls {pattern}").ok().names()) - {".", ".."} == found


def test_notify_reports_a_change_made_by_another_client(smbclient: SmbClient) -> None:
    """CHANGE_NOTIFY stays pending, and is answered when something happens; here by a second process."""
    smbclient.file("x", b"x")
    argv = smbclient.argv("smbclient", ["-p", str(smbclient.target.port)], None, None)
    log = smbclient.work / "notify.log"
    watch = Process(["stdbuf", "-oL", *argv, smbclient.target.unc, "-c", f"notify {smbclient.folder}"], log)

    def noticed() -> bool:      # the watch may not stand yet when the first file is made, so there are more
        smbclient.run("put x noticed", "del noticed").ok()
        return "noticed" in watch.text()
    try:
        watch.wait_until(noticed, timeout_s=20)
    finally:
        watch.stop()


def test_open_close_and_tree_commands(smbclient: SmbClient) -> None:
    """`open`, `close`, `tcon`, `tdis`, `tid`, `logoff`, `echo` and `timeout` in one session."""
    smbclient.file("x", b"x")
    tcon = f"tcon {smbclient.target.share}"
    said = smbclient.run("put x f", "open f", "close 1", "tid", tcon, "tdis").ok().output
    assert "open file" in said and "tcon to" in said and "tdis successful" in said


def test_two_shares_are_two_places(smbclient: SmbClient) -> None:
    second = smbclient.target.shares.get("second")
    if second is None:
        pytest.skip("this server has one share")
    smbclient.file("x", b"x")
    smbclient.run("put x only-in-first", folder="").ok()
    assert "only-in-first" not in smbclient.run("ls", share=second, folder="").ok().names()
    smbclient.run("del only-in-first", folder="").ok()


@pytest.mark.parametrize("protection", ["sign", "encrypt"])
def test_the_list_of_shares(smbclient: SmbClient, target: Target, protection: str) -> None:
    """`smbclient -L`: srvsvc NetShareEnum over IPC$."""
    options = ["-p", str(target.port), f"--client-protection={protection}", "-L", target.host]
    said = smbclient.execute(smbclient.argv("smbclient", options, None, None)).output
    assert re.search(rf"^\s+{target.share}\s+Disk", said, re.M), said
    assert re.search(r"^\s+IPC\$\s+IPC", said, re.M), said


def test_wrong_password_unknown_user_and_anonymous_are_refused(smbclient: SmbClient) -> None:
    """[MS-SMB2] 3.3.5.5.3: a failed authentication is STATUS_LOGON_FAILURE, the same for both mistakes."""
    smbclient.run("ls", password="wrong").fails("LOGON_FAILURE")
    smbclient.run("ls", user="nosuchuser", password="wrong").fails("LOGON_FAILURE")
    smbclient.run("ls", password="").fails("LOGON_FAILURE")
    anonymous = ["smbclient", "-s", str(smbclient.configuration), "-p", str(smbclient.target.port), "-N",
                 "-U", "%", smbclient.target.unc, "-c", "ls"]
    said = smbclient.execute(anonymous)
    assert said.status != 0 and "NT_STATUS_" in said.output


def test_guessing_passwords_is_slow_for_who_guesses_alone(smbclient: SmbClient) -> None:
    """Five failures of a user cost nothing; then one attempt in two seconds is looked
    at. Others do not wait."""
    if not smbclient.target.is_ours:
        pytest.skip("this server limits nothing, or otherwise")
    for number in range(5):
        smbclient.run("ls", user="guessed", password=f"wrong{number}").fails("LOGON_FAILURE")
    began = time.monotonic()
    for number in range(3):
        smbclient.run("ls", user="guessed", password=f"wronger{number}").fails("LOGON_FAILURE")
    assert time.monotonic() - began > 3.5
    smbclient.run("ls").ok()


def test_an_unknown_share_is_bad_network_name(smbclient: SmbClient) -> None:
    """[MS-SMB2] 3.3.5.7: no such share is STATUS_BAD_NETWORK_NAME."""
    smbclient.run("ls", share="nosuchshare", folder="").fails("BAD_NETWORK_NAME")


@pytest.mark.parametrize("name", ["a*b", "a?b", "a<b", "a>b", 'a|b'])
def test_illegal_names_are_refused(smbclient: SmbClient, name: str) -> None:
    """[MS-FSCC] 2.1.5.2 Filename: wildcards and a vertical bar stand in no name."""
    smbclient.file("x", b"x")
    smbclient.run(f'put x "{name}"').fails("OBJECT_NAME_INVALID")


def test_a_name_of_256_characters_is_refused(smbclient: SmbClient) -> None:
    smbclient.file("x", b"x")
    assert "NT_STATUS_OBJECT_NAME_INVALID" in smbclient.run(f"put x {'n' * 256}").output
    smbclient.run(f"put x {'n' * 255}", f"del {'n' * 255}").ok()


def test_data_survive_on_the_server_between_sessions(smbclient: SmbClient) -> None:
    data = noise(123_456)
    smbclient.file("x", data)
    smbclient.run("put x kept").ok()
    smbclient.run("get kept down").ok()
    assert (smbclient.work / "down").read_bytes() == data
