"""Debian's smbd, isolated: its own configuration, databases and directories, on a free port of the loopback.

It needs root, since smbd changes to the user that it serves. Its one user is a Unix account that Debian
always has.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import smbclient

USER, PASSWORD = "games", "Passw0rd! with spaces"
START_TIMEOUT_S = 15.0

CONFIGURATION = """
[global]
  workgroup = WORKGROUP
  netbios name = TESTSAMBA
  server role = standalone server
  passdb backend = tdbsam:{base}/private/passdb.tdb
  private dir = {base}/private
  lock directory = {base}/lock
  state directory = {base}/state
  cache directory = {base}/cache
  pid directory = {base}/pid
  ncalrpc dir = {base}/ncalrpc
  log file = {base}/log/log.smbd
  log level = 0
  smb ports = {port}
  interfaces = lo
  bind interfaces only = yes
  disable netbios = yes
  load printers = no
  printing = bsd
  printcap name = /dev/null
  disable spoolss = yes
  server min protocol = SMB2_02
  map to guest = never
  guest account = nobody
  ea support = yes
  store dos attributes = yes
  map archive = no
  read only = no
[data]
  path = {base}/data
  vfs objects = acl_xattr streams_xattr
[sealed]
  path = {base}/sealed
  server smb encrypt = required
"""


def is_possible() -> bool:
    return shutil.which("smbd") is not None and shutil.which("smbpasswd") is not None and os.geteuid() == 0


class Samba:
    """A running smbd."""

    user, password = USER, PASSWORD

    def __init__(self, base: Path) -> None:
        self.base = base
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        for name in ("private", "lock", "state", "cache", "pid", "ncalrpc", "log", "data", "sealed"):
            (base / name).mkdir(parents=True)
        base.chmod(0o755)
        for share in ("data", "sealed"):
            shutil.chown(base / share, USER)
        self._configuration = base / "smb.conf"
        self._configuration.write_text(CONFIGURATION.format(base=base, port=self.port))
        subprocess.run(
            ["smbpasswd", "-c", self._configuration, "-s", "-a", USER],
            input=f"{PASSWORD}\n{PASSWORD}\n", text=True, check=True, capture_output=True, timeout=30,
        )  # fmt: skip
        self._log = (base / "log" / "stdout").open("wb")
        self._process = subprocess.Popen(
            ["smbd", "-s", self._configuration, "-l", base / "log", "--foreground", "--no-process-group",
             "--debug-stdout"],
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log,
            start_new_session=True,  # smbd ends its whole process group
        )  # fmt: skip
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                assert self._process.poll() is None, (self.base / "log" / "stdout").read_text()
                time.sleep(0.05)
        raise AssertionError(f"smbd does not listen on port {self.port}")

    def session(self, **options):
        """A session with it, for an `async with`."""
        return smbclient.connect("127.0.0.1", self.port, **{"user": USER, "password": PASSWORD} | options)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(10)
        self._log.close()
