"""Configuration files: what was written is read back; what cannot be believed is refused with the file's
name."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from cluster import config
from cluster.config import NodeConfig, ShareConfig
from cluster.errors import ConfigError
from cluster.io.state import StateDirectory
from cluster.serving import guesses_of


def test_a_configuration_reads_back_as_it_was_written(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    settings = NodeConfig(name="A", bind=["127.0.0.1", "::1"], port=4450, disks=["/x"])
    state.write("node.json", config.dump(settings))
    assert state.load_one(NodeConfig, "node.json") == settings
    shares = [ShareConfig("one", volume="v"), ShareConfig("two", directory="/srv", access={"ana": "read"})]
    state.write("shares.json", config.dump(shares))
    assert state.load_many(ShareConfig, "shares.json") == shares


@pytest.mark.parametrize("text", ["0", "2", "0.5"])
def test_seconds_may_be_whole(tmp_path: Path, text: str) -> None:
    (tmp_path / "node.json").write_text(f'{{"format": 1, "body": {{"failed_logon_delay_s": {text}}}}}')
    assert StateDirectory(tmp_path).load_one(NodeConfig, "node.json").failed_logon_delay_s == float(text)


@pytest.mark.parametrize("delay_s", [-1.0, 11.0, float("nan")])
def test_a_delay_that_is_none_is_refused(delay_s: float) -> None:
    with pytest.raises(ConfigError, match="failed logons"):
        guesses_of(NodeConfig(failed_logon_delay_s=delay_s))
    assert guesses_of(NodeConfig(failed_logon_delay_s=0.5)).period_s == 0.5


def test_a_secret_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    state.write("users.json", "{}", secret=True)
    assert stat.S_IMODE((tmp_path / "users.json").stat().st_mode) == 0o600
    state.write("users.json", "{}", secret=True)
    assert stat.S_IMODE((tmp_path / "users.json").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is no JSON"),
        ("[]", "expected format 1"),
        ('{"format": 2, "body": {}}', "expected format 1"),
        ('{"format": 1, "body": []}', "expected an object"),
        ('{"format": 1, "body": {"ports": 1}}', "unknown field 'ports'"),
        ('{"format": 1, "body": {"port": "x"}}', "field 'port' is no int"),
        ('{"format": 1, "body": {"port": true}}', "field 'port' is no int"),
        ('{"format": 1, "body": {"failed_logon_delay_s": "2"}}', "field 'failed_logon_delay_s' is no float"),
    ],
)
def test_a_damaged_file_is_named_and_its_fault_told(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "node.json").write_text(text)
    with pytest.raises(ConfigError, match="node.json") as caught:
        StateDirectory(tmp_path).load_one(NodeConfig, "node.json")
    assert says in str(caught.value)


def test_a_missing_field_without_default_is_told() -> None:
    with pytest.raises(ConfigError, match="field 'name' is missing"):
        config.load_many(ShareConfig, json.dumps({"format": 1, "body": [{}]}), "shares.json")


@pytest.mark.parametrize(
    "share",
    [
        ShareConfig("", volume="v"),
        ShareConfig("a/b", volume="v"),
        ShareConfig("IPC$", volume="v"),
        ShareConfig("x" * 81, volume="v"),
        ShareConfig("both", volume="v", directory="/d"),
        ShareConfig("neither"),
        ShareConfig("right", volume="v", access={"ana": "all"}),
    ],
)
def test_a_share_that_cannot_be_is_refused(share: ShareConfig) -> None:
    with pytest.raises(ConfigError):
        config.check_share(share)


def test_a_directory_without_a_node_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is .* the state directory of a node"):
        StateDirectory(tmp_path).load_one(NodeConfig, "node.json")
