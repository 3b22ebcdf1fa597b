"""Servers for the client: one smbd for all tests that want a foreign one, and our own in memory."""

import tempfile
from pathlib import Path

import pytest

from tests.smbclient.ours import Ours
from tests.smbclient.samba import Samba, is_possible


@pytest.fixture
def ours():
    return Ours()


@pytest.fixture(scope="session")
def samba():
    if not is_possible():
        pytest.skip("smbd and root are needed (Debian's package samba)")
    with tempfile.TemporaryDirectory(
        prefix="smbclient-samba-"
    ) as base:  # pytest's own are closed to other users
        server = Samba(Path(base))
        yield server
        server.stop()
