"""Other people's servers: Debian's smbd and impacket's smbserver, each on a free port, configured by itself.

smbd is a peer for our client, and the check of the harness itself: `pytest interop --server=samba` runs
every test of a server against it, so a test that fails against both is suspect. It needs root (it changes
to a user's id); the two accounts are ones that every Debian system has. Data lie on tmpfs, where extended
attributes take no blocks.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from interop.process import Process, answers_smb, free_port
from interop.target import Target

PASSWORD = "Passw0rd!"
USER, SECOND_USER = "games", "daemon"

SHARES = {      # name -> lines besides its path
    "data": ("vfs objects = acl_xattr streams_xattr",),
    "second": ("vfs objects = acl_xattr streams_xattr",),
    "encrypted": ("vfs objects = acl_xattr streams_xattr", "server smb encrypt = required"),
    "nostreams": ("vfs objects = acl_xattr", "streams_xattr:prefix = user.none."),
    "noncanon": ("vfs objects = acl_xattr streams_xattr", "acl flag inherited canonicalization = no"),
    "dosmode": ("hide files = /hidefile/", "hide dot files = yes"),
}

GLOBAL = """\
[global]
  workgroup = WORKGROUP
  netbios name = PEER
  server role = standalone server
  security = user
  map to guest = never
  guest account = nobody
  smb ports = {port}
  interfaces = lo
  bind interfaces only = yes
  disable netbios = yes
  load printers = no
  printing = bsd
  printcap name = /dev/null
  disable spoolss = yes
  server min protocol = SMB2_02
  server multi channel support = yes
  durable handles = yes
  kernel oplocks = no
  kernel share modes = no
  posix locking = no
  oplocks = yes
  smb2 leases = yes
  ea support = yes
  store dos attributes = yes
  map archive = no
  map hidden = no
  map system = no
  map readonly = no
  dos filemode = yes
  strict rename = yes
  smbd:FSCTL_SMBTORTURE = yes
  read only = no
  log level = 0
  max log size = 20000
  passdb backend = tdbsam:{base}/private/passdb.tdb
  private dir = {base}/private
  lock directory = {base}/lock
  state directory = {base}/state
  cache directory = {base}/cache
  pid directory = {base}/pid
  ncalrpc dir = {base}/ncalrpc
  log file = {base}/log/log.%m
"""


class Unavailable(Exception):
    """This peer cannot run here; the message says why."""


def tmpfs_folder(prefix: str) -> Path:
    """A new folder, in memory if the machine has room there."""
    memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix=prefix, dir=memory if os.access(memory, os.W_OK) else None))


def _configure(base: Path, port: int) -> Path:
    for name in ("private", "lock", "state", "cache", "pid", "ncalrpc", "log"):
        (base / name).mkdir()
    base.chmod(0o755)
    (base / "private").chmod(0o700)
    owner = pwd.getpwnam(USER)
    text = GLOBAL.format(base=base, port=port)
    for name, lines in SHARES.items():
        folder = base / "shares" / name
        folder.mkdir(parents=True)
        folder.chmod(0o777)
        os.chown(folder, owner.pw_uid, owner.pw_gid)
        text += f"[{name}]\n  path = {folder}\n" + "".join(f"  {line}\n" for line in lines)
    configuration = base / "smb.conf"
    configuration.write_text(text)
    for user in (USER, SECOND_USER):
        subprocess.run(["smbpasswd", "-c", str(configuration), "-s", "-a", user], check=True, timeout=30,
                       input=f"{PASSWORD}\n{PASSWORD}\n".encode(), stdout=subprocess.DEVNULL)
    return configuration


def start_samba(base: Path | None = None) -> Target:
    """Debian's smbd; raises Unavailable where it cannot run. The caller stops it."""
    if os.geteuid() != 0:
        raise Unavailable("smbd changes to the user's id, so it needs root")
    smbd = shutil.which("smbd", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if smbd is None:
        raise Unavailable("smbd is not installed (tools/setup.sh test)")
    base = base or tmpfs_folder("sofs-samba.")
    port = free_port()
    configuration = _configure(base, port)
    process = Process([smbd, "-s", configuration, "-l", base / "log", "--foreground", "--no-process-group",
                       "--debug-stdout"], base / "log" / "stdout")
    process.wait_until(lambda: answers_smb(port))
    return Target(kind="samba", process=process, port=port, user=USER, password=PASSWORD, share="data",
                  second_user=SECOND_USER, second_password=PASSWORD, folder=base / "shares" / "data",
                  shares={name: name for name in SHARES})


def start_impacket(folder: Path) -> Target:
    """impacket's smbserver (SMB 2.0.2) sharing a new folder `data` in `folder`. The caller stops it."""
    data = folder / "data"
    data.mkdir()
    port = free_port()
    script = Path(sys.executable).with_name("smbserver.py")
    process = Process([sys.executable, script, "-smb2support", "-ip", "127.0.0.1", "-port", str(port),
                       "-username", "tester", "-password", PASSWORD, "data", data],
                      folder / "impacket.log", cwd=folder)
    process.wait_until(lambda: answers_smb(port))
    return Target(kind="impacket", process=process, port=port, user="tester", password=PASSWORD, share="data",
                  folder=data, shares={"data": "data"})
