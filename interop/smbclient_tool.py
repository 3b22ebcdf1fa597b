"""Debian's smbclient as a tool of tests: one call is one process, one session, and a list of its commands."""

from __future__ import annotations

import re
import subprocess
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from interop.target import Target

ROW = re.compile(r"^  (?P<name>.*?)\s+(?P<attributes>[A-Za-z]*)\s+(?P<size>\d+)  \w{3} \w{3} [ \d]\d ", re.M)
CONFIGURATION = """\
[global]
  workgroup = WORKGROUP
  client min protocol = SMB2_02
  client max protocol = SMB3_11
  lock directory = {base}
  state directory = {base}
  cache directory = {base}
  private dir = {base}
  pid directory = {base}
  load printers = no
"""


@dataclass(frozen=True)
class Result:
    """What one run of smbclient said."""

    status: int
    output: str

    def ok(self) -> Result:
        """Itself; fails the test if smbclient reported any failure (it goes on after most)."""
        assert self.status == 0 and "NT_STATUS_" not in self.output, f"status {self.status}:\n{self.output}"
        return self

    def fails(self, status: str) -> Result:
        """Itself; fails the test unless smbclient reported exactly this NTSTATUS."""
        assert f"NT_STATUS_{status}" in self.output, f"not {status}, but {self.status}:\n{self.output}"
        return self

    def names(self) -> list[str]:
        """The names of a listing, in its order."""
        return [found["name"] for found in self.entries()]

    def entries(self) -> list[dict[str, str]]:
        """The rows of a listing: name, attributes, size."""
        return [found.groupdict() for found in ROW.finditer(self.output)]


class SmbClient:
    """Runs `smbclient` against `target`, from the local folder `work`."""

    def __init__(self, target: Target, work: Path) -> None:
        self.target = target
        self.work = work
        self.folder = ""
        state = work / "smbclient-state"
        state.mkdir()
        self.configuration = state / "smb.conf"
        self.configuration.write_text(CONFIGURATION.format(base=state))

    def credentials(self, user: str, password: str) -> Path:
        """A credentials file, so that no password is on a command line."""
        path = self.configuration.with_name(f"credentials.{user}")
        path.touch(mode=0o600)
        path.write_text(f"username = {user}\npassword = {password}\ndomain = WORKGROUP\n")
        return path

    def argv(self, program: str, options: Sequence[str], user: str | None, password: str | None) -> list[str]:
        credentials = self.credentials(user or self.target.user,
                                       self.target.password if password is None else password)
        return [program, "-s", str(self.configuration), "-A", str(credentials), *options]

    def run(self, *commands: str, share: str | None = None, options: Sequence[str] = (),
            user: str | None = None, password: str | None = None, folder: str | None = None,
            timeout_s: float = 60) -> Result:
        """The commands in one session, in the test's folder of the share."""
        argv = self.argv("smbclient", ["-p", str(self.target.port), *options], user, password)
        argv += [f"//{self.target.host}/{share or self.target.share}"]
        where = self.folder if folder is None else folder
        if where:
            argv += ["-D", where]
        return self.execute([*argv, "-c", "; ".join(commands)], timeout_s)

    def execute(self, argv: Sequence[str], timeout_s: float = 60) -> Result:
        done = subprocess.run(argv, cwd=self.work, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=timeout_s, check=False)
        return Result(done.returncode, done.stdout.decode("utf-8", "replace"))

    def enter_new_folder(self, name: str) -> None:
        """Make a folder at the top of the share and work in it from now on."""
        folder = f"{re.sub(r'[^A-Za-z0-9]+', '_', name)[:60]}-{zlib.crc32(name.encode()):08x}"
        self.run(f'mkdir "{folder}"', folder="").ok()
        self.folder = folder

    def file(self, name: str, data: bytes) -> Path:
        """A local file in the working folder."""
        path = self.work / name
        path.write_bytes(data)
        return path
