"""Every command of `sofs` about storage makes a call that is declared, with arguments it takes; results are
shown; mistakes are one line."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

import cluster.admin.calls  # noqa: F401
from cluster import config
from cluster.admin.registry import CALLS
from cluster.cli import context, watch
from cluster.cli.main import app
from cluster.errors import NotFound

GIB = 1 << 30


class Recorder:
    """In place of a node: checks each call's arguments against its declaration, and answers."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.answers: dict[str, list[Any]] = {}

    def __call__(self, state: object, name: str, args: dict[str, object]) -> Any:
        arguments = json.loads(json.dumps(args))  # it travels as JSON
        self.calls.append((name, config.build(CALLS[name].arguments(), arguments, name)))
        waiting = self.answers.get(name)
        return waiting.pop(0) if waiting else {"name": "x"}


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(context, "perform_call", recorder)
    monkeypatch.setattr(watch, "pause", lambda seconds: None)
    monkeypatch.setattr(watch, "running_at", lambda state: ("127.0.0.1", 4450))
    return recorder


def sofs(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    return done.exit_code, done.output


@pytest.mark.parametrize(
    ("line", "call", "expected"),
    [
        ("pool create /d/a /d/b --media ssd", "pool.create", {"disks": ["/d/a", "/d/b"], "media": "ssd"}),
        ("pool add-disk /d/c --usage hot-spare --fault-domain r1/c1", "pool.add_disk",
         {"disks": ["/d/c"], "usage": "hot-spare", "fault_domain": "r1/c1", "disk_bytes": 16 * GIB}),
        ("pool optimize", "pool.optimize", {}),
        ("pool set --repair-speed very-high --retire-missing always", "pool.set",
         {"repair_speed": "very-high", "retire_missing": "always", "thin_alert_percent": -1}),
        ("pool upgrade", "pool.upgrade", {}),
        ("pool status", "pool.status", {}),
        ("disk list", "disk.list", {}),
        ("disk set 3 --media hdd --usage journal", "disk.set",
         {"name": "3", "media": "hdd", "usage": "journal", "fault_domain": ""}),
        ("disk retire /d/a", "disk.retire", {"name": "/d/a"}),
        ("disk remove 2", "disk.remove", {"name": "2"}),
        ("disk replace 2 /d/n --size 5G", "disk.replace", {"name": "2", "by": "/d/n", "disk_bytes": 5 * GIB}),
        ("disk reset /d/a --yes", "disk.reset", {"name": "/d/a"}),
        ("disk identify 0 --seconds 2", "disk.identify", {"name": "0", "seconds": 2}),
        ("volume create v --size 2G --resiliency dual-parity --columns 6 --interleave 64K --fixed "
         "--write-cache 1G --media hdd --awareness rack", "volume.create",
         {"name": "v", "size_bytes": 2 * GIB, "resiliency": "dual-parity", "columns": 6,
          "interleave_bytes": 65536, "provisioning": "fixed", "write_cache_bytes": GIB, "media": "hdd",
          "awareness": "rack", "tiers": {}}),
        ("volume create v --tier ssd=1G --tier hdd=4G", "volume.create",
         {"size_bytes": 0, "tiers": {"ssd": GIB, "hdd": 4 * GIB}, "write_cache_bytes": -1,
          "provisioning": "thin"}),
        ("volume resize v 3G --tier fast", "volume.resize",
         {"name": "v", "size_bytes": 3 * GIB, "tier": "fast"}),
        ("volume remove v --yes", "volume.remove", {"name": "v"}),
        ("volume repair v", "volume.repair", {"name": "v"}),
        ("volume scrub v", "volume.scrub", {"name": "v"}),
        ("volume optimize v --retrim --slab-consolidate", "volume.optimize",
         {"name": "v", "retrim": True, "tier": False, "slab_consolidate": True}),
        ("volume tiering v --rate 8M --every 60", "volume.tiering",
         {"name": "v", "half_life_s": -1, "pass_s": 60, "rate_bytes_s": 8 << 20}),
        ("volume cache", "volume.cache", {}),
        ("job list", "job.list", {}),
        ("job stop 7", "job.stop", {"id": "7"}),
        ("job suspend 7", "job.suspend", {"id": "7"}),
        ("job resume 7", "job.resume", {"id": "7"}),
        ("file pin v docs/a.txt --tier slow", "file.pin",
         {"volume": "v", "path": "docs\\a.txt", "tier": "slow"}),
        ("file unpin v /a", "file.unpin", {"volume": "v", "path": "a"}),
        ("file tier-status v", "file.tier_status", {"volume": "v", "path": ""}),
        ("quota list v", "quota.list", {"name": "v"}),
        ("quota set v ana --limit 1G", "quota.set",
         {"name": "v", "user": "ana", "limit_bytes": GIB, "threshold_bytes": -1, "forget": False}),
        ("quota set v ana --default", "quota.set", {"forget": True}),
        ("quota default v enforce --limit none", "quota.default", {"mode": "enforce", "limit_bytes": -1}),
    ],
)  # fmt: skip
def test_a_command_makes_its_call(node: Recorder, line: str, call: str, expected: dict[str, object]) -> None:
    status, output = sofs("--json", *line.split())
    assert (status, json.loads(output)) == (0, {"name": "x"}), output
    ((name, arguments),) = node.calls
    assert name == call
    assert {key: getattr(arguments, key) for key in expected} == expected


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("volume create v --size much", "'much' is no size"),
        ("volume create v --tier ssd", "write ssd=100G"),
        ("disk replace 1 /d/n --size x", "'x' is no size"),
        ("quota set v ana --default --limit 1G", "--default goes without"),
    ],
)
def test_a_mistake_is_one_line_and_no_call(node: Recorder, line: str, told: str) -> None:
    status, output = sofs(*line.split())
    assert status == 1 and told in output and output.count("\n") == 1
    assert not node.calls


@pytest.mark.parametrize("line", ["volume remove v", "disk reset /d/a"])
def test_what_loses_data_is_asked_first(node: Recorder, line: str) -> None:
    done = CliRunner().invoke(app, line.split(), input="n\n")
    assert done.exit_code == 1 and "will be lost" in done.output and not node.calls


def test_an_error_of_the_node_is_one_line(node: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(state: object, name: str, args: dict[str, object]) -> None:
        raise NotFound("the pool has no disk '9'")

    monkeypatch.setattr(context, "perform_call", refuse)
    assert sofs("disk", "retire", "9") == (1, "sofs: the pool has no disk '9'\n")


FAULT = {
    "FaultId": "1", "FaultType": "Microsoft.Health.FaultType.PhysicalDisk.LostCommunication",
    "PerceivedSeverity": 5, "Reason": "Communication with the disk was lost.",
    "FaultingObjectDescription": "Disk 2 /d/c", "FaultingObjectLocation": "p",
    "RecommendedActions": ["Check its power and its connection."],
}  # fmt: skip


def test_health_is_told_for_people_and_for_programs(node: Recorder) -> None:
    answer = {"health": "Warning", "faults": [FAULT]}
    node.answers["health"] = [answer, answer]
    status, output = sofs("health")
    assert status == 0
    assert output.splitlines() == [
        "Warning", "", "warning: Disk 2 /d/c: PhysicalDisk.LostCommunication",
        "  Communication with the disk was lost.", "  - Check its power and its connection.",
    ]  # fmt: skip
    assert json.loads(sofs("--json", "health")[1]) == answer


def job(number: str, state: str, done: int) -> dict[str, Any]:
    return {"id": number, "name": f"job {number}", "state": state, "percent": done, "processed bytes": done,
            "total bytes": 100, "seconds": 1, "background": True, "error": "bad luck"}  # fmt: skip


def test_watching_ends_when_no_job_runs(node: Recorder) -> None:
    old = job("1", "Exception", 3)
    looks = [[job("2", "Running", 10), old], [job("2", "Running", 60), job("v1", "New", 0), old],
             [job("2", "Completed", 100), job("v1", "Completed", 100), old]]  # fmt: skip
    node.answers["job.list"] = list(looks)
    status, output = sofs("job", "watch")
    assert status == 0 and "job 2" in output and "job v1" in output and "job 1" not in output
    node.answers["job.list"] = list(looks)
    status, output = sofs("--json", "job", "watch")
    lines = [json.loads(line) for line in output.splitlines()]
    assert status == 0
    assert [[one["percent"] for one in line] for line in lines] == [[10], [60, 0], [100, 100]]


def test_watching_a_job_that_fails_says_so(node: Recorder) -> None:
    node.answers["job.list"] = [[job("2", "Running", 10)], [job("2", "Exception", 50)]]
    status, output = sofs("--json", "job", "watch")
    assert status == 1 and "job 2 ended as Exception: bad luck" in output


def test_watching_nothing_ends_at_once(node: Recorder) -> None:
    node.answers["job.list"] = [[]]
    assert sofs("job", "watch") == (0, "no job is running\n")


def test_without_a_running_node_nothing_is_watched(node: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "running_at", lambda state: None)
    status, output = sofs("job", "watch")
    assert status == 1 and "no node is running" in output and not node.calls


def test_tables_leave_out_what_is_nowhere_and_are_not_cut_in_a_pipe(node: Recorder) -> None:
    path = "/a/long/path/" + "x" * 120
    rows = [{"number": 0, "name": path, "detail": "", "size bytes": 5 << 30, "kept": False},
            {"number": 1, "name": "short", "detail": None, "size bytes": 0, "kept": True}]  # fmt: skip
    node.answers["disk.list"] = [rows]
    lines = sofs("disk", "list")[1].splitlines()
    assert lines[0].split() == ["number", "name", "size", "kept"]
    assert lines[1].split() == ["0", path, "5", "GiB", "no"]
    assert lines[2].split() == ["1", "short", "0", "B", "yes"]
