"""smbprotocol, a Python client with an SMB2 stack of its own, in a virtual environment of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from interop.smbclient_tool import SmbClient
from interop.target import Target

ROOT = Path(__file__).resolve().parent.parent
PYTHON = ROOT / ".venv-smbprotocol" / "bin" / "python"
SCRIPT = Path(__file__).parent / "scripts" / "smbprotocol_client.py"


@pytest.mark.timeout(180)
def test_every_check_of_the_script_passes(target: Target, smbclient: SmbClient) -> None:
    """Files, folders, times, hard links, server-side copy, streams, errors; each dialect, plain and
    encrypted."""
    done = subprocess.run(
        [PYTHON, SCRIPT, target.host, str(target.port), target.user, target.share, smbclient.folder],
        input=target.password + "\n",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("ok ") == 8, done.stdout
