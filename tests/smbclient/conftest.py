"""One smbd for all tests that want a foreign server."""

import pytest

from tests.smbclient.samba import Samba, is_possible


@pytest.fixture(scope="session")
def samba(tmp_path_factory):
    if not is_possible():
        pytest.skip("smbd and root are needed (Debian's package samba)")
    server = Samba(tmp_path_factory.mktemp("samba"))
    yield server
    server.stop()
