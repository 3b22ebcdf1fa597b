"""The command line, in this process: what it prints, what it leaves behind, and how it says no."""

import json
import os

import pytest

from smbclient.io.cli import main
from tests.smbclient.samba import PASSWORD, USER


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    for name in ("SMB_USER", "SMB_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def url(samba, monkeypatch):
    """Where files are; who we are stands in the environment."""
    monkeypatch.setenv("SMB_USER", USER)
    monkeypatch.setenv("SMB_PASSWORD", PASSWORD)
    return f"//127.0.0.1:{samba.port}/data"


@pytest.mark.interop
def test_files_there_and_back(url, tmp_path, capfd):
    data = os.urandom(3_000_000)
    (tmp_path / "here").write_bytes(data)
    os.utime("here", ns=(0, 1_500_000_000_000_000_000))
    assert main(["mkdir", "--parents", f"{url}/cli/inner"]) == 0
    assert main(["put", "here", f"{url}/cli"]) == 0
    assert main(["get", f"{url}/cli/here", "back"]) == 0
    assert (tmp_path / "back").read_bytes() == data
    assert (tmp_path / "back").stat().st_mtime_ns == 1_500_000_000_000_000_000
    assert not list(tmp_path.glob("*.smbclient-part"))
    assert main(["cp", f"{url}/cli/here", "cli/copy"]) == 0
    assert main(["mv", f"{url}/cli/copy", "cli/inner"]) == 0
    capfd.readouterr()
    assert main(["ls", f"{url}/cli"]) == 0
    assert capfd.readouterr().out == "here\ninner/\n"
    assert main(["ls", "--json", f"{url}/cli/inner"]) == 0
    [entry] = json.loads(capfd.readouterr().out)
    assert (entry["name"], entry["type"], entry["st_size"]) == ("copy", "file", len(data))
    assert main(["stat", "--json", f"{url}/cli/here"]) == 0
    assert json.loads(capfd.readouterr().out)["st_mtime_ns"] == 1_500_000_000_000_000_000
    assert main(["ls", "-l", f"{url}/cli"]) == 0
    assert "3000000" in capfd.readouterr().out
    assert main(["tree", f"{url}/cli"]) == 0
    assert "copy" in capfd.readouterr().out
    assert main(["rm", "-r", f"{url}/cli"]) == 0
    assert main(["ls", f"{url}/cli"]) == 1
    assert "OBJECT_NAME_NOT_FOUND" in capfd.readouterr().err


@pytest.mark.interop
def test_the_shares_of_a_host(url, capfd):
    assert main(["ls", url.removesuffix("/data")]) == 0
    assert [line.split()[0] for line in capfd.readouterr().out.splitlines()] == ["data", "sealed"]


@pytest.mark.interop
def test_cat_gives_the_bytes_as_they_are(url, tmp_path, capfdbinary):
    (tmp_path / "bytes").write_bytes(bytes(range(256)))
    assert main(["put", "bytes", f"{url}/bytes"]) == 0
    capfdbinary.readouterr()
    assert main(["cat", f"{url}/bytes"]) == 0
    assert capfdbinary.readouterr().out == bytes(range(256))
    assert main(["rm", f"{url}/bytes"]) == 0


@pytest.mark.interop
@pytest.mark.parametrize("encrypt", [[], ["--encrypt", "--dialect", "3.1.1"]])
def test_whole_directories_there_and_back(url, tmp_path, encrypt):
    for number in range(40):
        folder = tmp_path / "tree" / str(number % 4) / "deep"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"file {number}").write_bytes(bytes([number]) * number * 100)
    assert main(["put", "-r", *encrypt, "tree", f"{url}/tree"]) == 0
    assert main(["get", "-r", *encrypt, f"{url}/tree", "back"]) == 0
    there, back = (
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("file *")}
        for name in ("tree", "back")
    )
    assert back == there
    assert len(back) == 40
    assert main(["rm", "-r", f"{url}/tree"]) == 0


@pytest.mark.interop
@pytest.mark.parametrize(("arguments", "said"), [
    (["get", "{url}/no such file"], "OBJECT_NAME_NOT_FOUND: asking for 'no such file'"),
    (["mkdir", "{url}/a?b"], "OBJECT_NAME_INVALID"),
    (["put", "nothing", "{url}"], "nothing: No such file or directory"),
    (["put", ".", "{url}/x"], "give -r to store a directory"),
    (["get", "{url}"], "give -r to fetch a directory"),
    (["rm", "-r", "{url}"], "the root of a share cannot be removed"),
    (["ls", "//127.0.0.1:{port}/nosuchshare"], "BAD_NETWORK_NAME: connecting to \\\\127.0.0.1\\nosuchshare"),
])  # fmt: skip
def test_what_cannot_be_is_one_clear_line(url, samba, capfd, arguments, said):
    assert main([argument.format(url=url, port=samba.port) for argument in arguments]) == 1
    error = capfd.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.interop
def test_a_wrong_password_is_told(url, capfd, monkeypatch):
    monkeypatch.setenv("SMB_PASSWORD", "wrong")
    assert main(["ls", url]) == 1
    error = capfd.readouterr().err
    assert "LOGON_FAILURE" in error
    assert "wrong" not in error


@pytest.mark.interop
def test_credentials_come_from_a_file_that_nobody_else_may_read(samba, tmp_path, capfd):
    url = f"//127.0.0.1:{samba.port}/data"
    path = tmp_path / "credentials"
    path.write_text(f"# who we are\nusername={USER}\npassword={PASSWORD}\ndomain=WORKGROUP\n")
    path.chmod(0o640)
    assert main(["ls", "-A", str(path), url]) == 1
    assert "chmod 600" in capfd.readouterr().err
    path.chmod(0o600)
    assert main(["ls", "-A", str(path), url]) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ls", "host/share"], "write //host/share/path"),
        (["cat", "//host"], "names no share"),
        (["ls", "smb://ana:secret@host/share"], "a password does not belong into a URL"),
        (["ls", "//host/share"], "no user"),
        (["ls", "//ana@host/share"], "no password: set SMB_PASSWORD"),
        (["ls", "-A", "/no/such/file", "//host/share"], "/no/such/file: No such file"),
    ],
)
def test_a_wrong_command_line_says_what_to_do(arguments, said, capfd, monkeypatch):
    with open(os.devnull) as nobody:
        monkeypatch.setattr("sys.stdin", nobody)
        assert main(arguments) == 1
    error = capfd.readouterr().err
    assert said in error
    assert "secret" not in error


def test_a_port_where_nobody_listens_is_told(capfd, monkeypatch):
    monkeypatch.setenv("SMB_PASSWORD", "x")
    assert main(["ls", "//ana@127.0.0.1:1/share"]) == 1
    assert "CONNECTION_REFUSED: cannot connect to 127.0.0.1 port 1" in capfd.readouterr().err


def test_no_command_is_a_usage_error(capfd):
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 2
