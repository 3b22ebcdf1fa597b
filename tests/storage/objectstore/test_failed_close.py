"""[MS-FSA] 2.1.5.5 Server Requests Closing an Open, where the file system cannot do its part."""

from __future__ import annotations

import pytest

from smbproto import fscc
from smbproto.status import Status
from storage.errors import HostRefused
from tests.storage.objectstore.world import ALL, World


def test_what_cannot_be_deleted_stays_and_its_open_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mark goes with the open: else the name could neither be opened nor be made anew, for ever."""
    world = World()
    file = world.open("f", access=ALL, disposition=fscc.FILE_CREATE, options=fscc.FILE_DELETE_ON_CLOSE)

    def refuse(*_: object) -> None:
        raise HostRefused("remove 'f': no")

    with monkeypatch.context() as patch:
        patch.setattr(world.volume.fs, "unlink", refuse)
        assert world.refuses(file.close()) is Status.ACCESS_DENIED
    assert not world.volume.open_nodes
    again = world.open("f", access=ALL, disposition=fscc.FILE_OPEN, share=0)
    world.close(again)
