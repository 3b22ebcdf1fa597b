"""Run by .venv-smbprotocol's Python: uses smbprotocol (a third SMB2 client) on a share; prints `ok NAME` a
check.

Arguments: host, port, user, share, folder. The password is the first line of standard input. It is a program
of its own because smbprotocol installs a top-level package called smbclient, as we do.
"""

import os
import stat
import sys
import uuid

import smbclient
import smbclient.shutil
from smbprotocol.connection import Connection, Dialects
from smbprotocol.create_contexts import (
    CreateContextName,
    SMB2CreateContextRequest,
    SMB2CreateQueryMaximalAccessRequest,
)
from smbprotocol.exceptions import SMBOSError, SMBResponseException
from smbprotocol.header import NtStatus
from smbprotocol.open import (
    CreateDisposition,
    CreateOptions,
    FileAttributes,
    FilePipePrinterAccessMask,
    ImpersonationLevel,
    Open,
    ShareAccess,
)
from smbprotocol.session import Session
from smbprotocol.tree import TreeConnect

HOST, PORT, USER, SHARE, FOLDER = sys.argv[1], int(sys.argv[2]), *sys.argv[3:6]
PASSWORD = sys.stdin.readline().rstrip("\n")
BASE = rf"\\{HOST}\{SHARE}\{FOLDER}"
LOGIN = {"username": USER, "password": PASSWORD, "port": PORT}


def check_files():
    data = os.urandom(1_500_001)
    with smbclient.open_file(BASE + r"\file", mode="wb", **LOGIN) as stream:
        stream.write(data)
    with smbclient.open_file(BASE + r"\file", mode="rb", **LOGIN) as stream:
        assert stream.read() == data
    with smbclient.open_file(BASE + r"\file", mode="r+b", **LOGIN) as stream:
        stream.seek(1000)
        stream.write(b"changed")
        stream.truncate(5000)
    with smbclient.open_file(BASE + r"\file", mode="rb", **LOGIN) as stream:
        assert stream.read() == data[:1000] + b"changed" + data[1007:5000]
    assert smbclient.stat(BASE + r"\file", **LOGIN).st_size == 5000


def check_folders():
    smbclient.makedirs(BASE + r"\a\b\c", **LOGIN)
    for name in ("x", "y"):
        with smbclient.open_file(BASE + rf"\a\b\{name}", mode="w", **LOGIN) as stream:
            stream.write(name)
    assert sorted(smbclient.listdir(BASE + r"\a\b", **LOGIN)) == ["c", "x", "y"]
    smbclient.rename(BASE + r"\a\b\x", BASE + r"\a\b\z", **LOGIN)
    smbclient.replace(BASE + r"\a\b\z", BASE + r"\a\b\y", **LOGIN)
    with smbclient.open_file(BASE + r"\a\b\y", mode="r", **LOGIN) as stream:
        assert stream.read() == "x"
    walked = [(len(folders), files) for _, folders, files in smbclient.walk(BASE + r"\a", **LOGIN)]
    assert walked == [(1, []), (1, ["y"]), (0, [])], walked
    smbclient.shutil.rmtree(BASE + r"\a", **LOGIN)
    assert "a" not in smbclient.listdir(BASE, **LOGIN)


def check_times_and_attributes():
    path = BASE + r"\dated"
    smbclient.open_file(path, mode="w", **LOGIN).close()
    smbclient.utime(path, ns=(1_400_000_000_123_456_700, 1_500_000_000_765_432_100), **LOGIN)
    found = smbclient.stat(path, **LOGIN)
    assert (found.st_atime_ns, found.st_mtime_ns) == (1_400_000_000_123_456_700, 1_500_000_000_765_432_100)
    assert stat.S_ISREG(found.st_mode)


def check_hard_links():
    with smbclient.open_file(BASE + r"\first", mode="w", **LOGIN) as stream:
        stream.write("linked")
    smbclient.link(BASE + r"\first", BASE + r"\second", **LOGIN)
    assert smbclient.stat(BASE + r"\second", **LOGIN).st_nlink == 2
    assert smbclient.path.samefile(BASE + r"\first", BASE + r"\second", **LOGIN)
    smbclient.remove(BASE + r"\first", **LOGIN)
    with smbclient.open_file(BASE + r"\second", mode="r", **LOGIN) as stream:
        assert stream.read() == "linked"


def check_server_side_copy():
    data = os.urandom(3_000_000)
    with smbclient.open_file(BASE + r"\source", mode="wb", **LOGIN) as stream:
        stream.write(data)
    smbclient.shutil.copyfile(BASE + r"\source", BASE + r"\copy", **LOGIN)
    with smbclient.open_file(BASE + r"\copy", mode="rb", **LOGIN) as stream:
        assert stream.read() == data


def check_streams():
    with smbclient.open_file(BASE + r"\s:other", mode="wb", **LOGIN) as stream:
        stream.write(b"in a stream")
    with smbclient.open_file(BASE + r"\s:other", mode="rb", **LOGIN) as stream:
        assert stream.read() == b"in a stream"
    assert smbclient.stat(BASE + r"\s", **LOGIN).st_size == 0


def refused(action) -> int:
    """The NTSTATUS with which `action` fails."""
    try:
        action()
    except SMBOSError as error:
        return error.ntstatus
    except SMBResponseException as error:
        return error.status
    raise AssertionError("not refused")


def check_errors():
    def read(path):
        return lambda: smbclient.open_file(BASE + path, mode="rb", **LOGIN).close()
    assert refused(read(r"\gone")) == NtStatus.STATUS_OBJECT_NAME_NOT_FOUND
    assert refused(read(r"\gone\below")) == NtStatus.STATUS_OBJECT_PATH_NOT_FOUND
    assert refused(read("")) == NtStatus.STATUS_FILE_IS_A_DIRECTORY
    missing = TreeConnect(smbclient.register_session(HOST, **LOGIN), rf"\\{HOST}\nosuchshare")
    assert refused(missing.connect) == NtStatus.STATUS_BAD_NETWORK_NAME


def one_session(dialect, encrypt):
    """Negotiate this dialect, open with a create context, write, flush and read."""
    connection = Connection(uuid.uuid4(), HOST, PORT)
    connection.connect(dialect)
    try:
        assert connection.dialect == dialect
        session = Session(connection, USER, PASSWORD, require_encryption=encrypt)
        session.connect()
        tree = TreeConnect(session, rf"\\{HOST}\{SHARE}")
        tree.connect(require_secure_negotiate=True)
        handle = Open(tree, rf"{FOLDER}\low-{dialect:x}-{encrypt}")
        contexts = [SMB2CreateContextRequest()]
        contexts[0]["buffer_name"] = CreateContextName.SMB2_CREATE_QUERY_MAXIMAL_ACCESS_REQUEST
        contexts[0]["buffer_data"] = SMB2CreateQueryMaximalAccessRequest()
        answered = handle.create(
            ImpersonationLevel.Impersonation, FilePipePrinterAccessMask.MAXIMUM_ALLOWED,
            FileAttributes.FILE_ATTRIBUTE_NORMAL, ShareAccess.FILE_SHARE_READ, CreateDisposition.FILE_OPEN_IF,
            CreateOptions.FILE_NON_DIRECTORY_FILE, contexts)
        assert len(answered) == 1, answered
        data = os.urandom(60_000)
        assert handle.write(data, 0) == len(data)
        handle.flush()
        assert handle.read(0, len(data)) == data
        handle.close()
        tree.disconnect()
        session.disconnect()
    finally:
        connection.disconnect()


def check_dialects():
    for dialect in (Dialects.SMB_2_0_2, Dialects.SMB_2_1_0, Dialects.SMB_3_0_0, Dialects.SMB_3_0_2,
                    Dialects.SMB_3_1_1):
        one_session(dialect, False)
        if dialect >= Dialects.SMB_3_0_0:
            one_session(dialect, True)


CHECKS = [check_files, check_folders, check_times_and_attributes, check_hard_links, check_server_side_copy,
          check_streams, check_errors, check_dialects]

if __name__ == "__main__":
    for check in CHECKS:
        check()
        sys.stdout.write(f"ok {check.__name__.removeprefix('check_')}\n")
        sys.stdout.flush()
