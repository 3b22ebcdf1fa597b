"""Fixtures: a server for the run (`--server`), a folder for each test, and a watch on the server log."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from interop import peers, server
from interop.process import answers_smb
from interop.smbclient_tool import SmbClient
from interop.target import Target

STARTERS = {"serve": server.start_serve, "pool": server.start_pool}
HERE = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--server", choices=["serve", "pool", "samba", "all"], default="all",
                     help="what is tested: `sofs serve`, `sofs up`, both, or smbd, to check the tests")
    parser.addoption("--torture-minutes", type=float, default=36,
                     help="how long the smbtorture suites may take in all; what is left over fails")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.interop)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "target" in metafunc.fixturenames:
        chosen = metafunc.config.getoption("--server")
        kinds = ["serve", "pool"] if chosen == "all" else [chosen]
        metafunc.parametrize("target", kinds, indirect=True, scope="session")


@pytest.fixture(scope="session")
def target(request: pytest.FixtureRequest) -> Iterator[Target]:
    """The running server under test, one for the whole run and each kind."""
    kind: str = request.param
    folder = peers.tmpfs_folder(f"sofs-interop-{kind}.")
    try:
        if kind == "samba":
            running = peers.start_samba(folder)
        else:
            running = STARTERS[kind](folder)
    except peers.Unavailable as reason:
        pytest.skip(str(reason))
    try:
        yield running
        status = running.process.stop()
        if running.is_ours:
            assert status == 0, f"the server ended with status {status}:\n{running.process.tail()}"
    finally:
        running.process.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder of the test's own, in memory where there is room: pools flush often, and disks differ."""
    folder = peers.tmpfs_folder("sofs-interop.")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def no_traceback(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test fails if our server logged a traceback during it, or answers no more after it."""
    if "target" not in request.fixturenames:
        yield
        return
    running: Target = request.getfixturevalue("target")
    start = running.process.log.stat().st_size
    yield
    if not running.is_ours:
        return
    logged = running.process.text(start)
    assert "Traceback (most recent call last)" not in logged, f"the server logged:\n{logged[-6000:]}"
    assert running.process.running(), f"status {running.process.status}:\n{logged[-4000:]}"
    assert answers_smb(running.port), "the server answers no more"


@pytest.fixture
def smbclient(target: Target, tmp_path: Path, request: pytest.FixtureRequest) -> SmbClient:
    """Debian's smbclient, in a new folder of the share that has the test's name."""
    tool = SmbClient(target, tmp_path)
    tool.enter_new_folder(request.node.name)
    return tool
