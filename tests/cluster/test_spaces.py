"""The operator's calls on pool, disks, volumes, jobs and files of a node with real files as disks, without a
network."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from cluster.admin.registry import perform
from cluster.errors import NotFound, OperatorError
from cluster.io.state import StateDirectory
from cluster.node import Node
from storage.fs.catalog import CatalogFileSystem
from storage.space.mirror import MirrorSpace
from tests.cluster.test_node import MIB, make_pool, new_state, on_node

SECURITY = b""
LOOKS, LOOK_EVERY_S = 1000, 0.02


def catalog(node: Node, volume: str = "v") -> CatalogFileSystem:
    found = node.volumes[volume].filesystem
    assert isinstance(found, CatalogFileSystem)
    return found


async def write(node: Node, name: str, data: bytes, volume: str = "v") -> None:
    fs = catalog(node, volume)
    file = fs.make(fs.root(), name, is_directory=False, attributes=0x20, now=1, security=SECURITY)
    assert file.data is not None
    await fs.write(file.data, 0, memoryview(data))
    await fs.sync()


async def read(node: Node, name: str, volume: str = "v") -> bytes:
    fs = catalog(node, volume)
    entry = fs.lookup(fs.root(), name)
    assert entry is not None and entry.node.data is not None
    into = bytearray(entry.node.data.size_bytes)
    await fs.read(entry.node.data, 0, memoryview(into))
    return bytes(into)


async def disks(node: Node) -> dict[str, dict[str, Any]]:
    """By the file's name."""
    return {Path(disk["name"]).name: disk for disk in await perform(node, "disk.list", {})}


async def until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    """Within the time that jobs may take."""
    for _ in range(LOOKS):
        if await condition():
            return
        await trio.sleep(LOOK_EVERY_S)
    raise AssertionError(f"not in {LOOKS * LOOK_EVERY_S} s: {what}")


async def jobs_done(node: Node) -> bool:
    return not any(job["state"] in ("New", "Running") for job in await perform(node, "job.list", {}))


async def healthy(node: Node) -> bool:
    return bool((await perform(node, "health", {}))["health"] == "Healthy") and await jobs_done(node)


@pytest.mark.parametrize(
    ("resiliency", "columns"),
    [("simple", 2), ("mirror", 2), ("three-way-mirror", 2), ("parity", 3), ("dual-parity", 4)],
)
def test_volumes_of_each_resiliency_are_made_grown_and_there_again(
    tmp_path: Path, resiliency: str, columns: int
) -> None:
    state = new_state(tmp_path)
    data = random.Random(1).randbytes(3 * MIB)

    async def first(node: Node) -> None:
        await make_pool(node, tmp_path, disks=6)
        await perform(
            node, "volume.create",
            {"name": "v", "size_bytes": 64 * MIB, "resiliency": resiliency, "columns": columns},
        )  # fmt: skip
        await write(node, "f", data)
        done = await perform(node, "volume.resize", {"name": "v", "size_bytes": 128 * MIB})
        assert done["size bytes"] == 128 * MIB
        (volume,) = await perform(node, "volume.list", {})
        assert (volume["resiliency"], volume["columns"], volume["health"]) == (resiliency, columns, "Healthy")
        await perform(node, "volume.resize", {"name": "v", "size_bytes": 8 << 30})
        assert node.require_pool().space("v/metadata").size_bytes == 512 * MIB
        await write(node, "g", data[::-1])
        with pytest.raises(OperatorError, match="does not become smaller"):
            await perform(node, "volume.resize", {"name": "v", "size_bytes": 64 * MIB})

    async def second(node: Node) -> None:
        assert await read(node, "f") == data
        assert await read(node, "g") == data[::-1]
        assert catalog(node).usage().total_bytes == 8 << 30
        await perform(node, "volume.remove", {"name": "v"})
        assert (await perform(node, "pool.status", {}))["allocated bytes"] == 0

    on_node(state, first)
    on_node(state, second)


def test_a_thin_volume_larger_than_its_pool_is_no_fault(tmp_path: Path) -> None:
    """Volume.Capacity tells how much of the volume its files take, not how little the pool has left: that is
    StoragePool.PoolCapacityThresholdExceeded."""

    async def body(node: Node) -> None:
        await make_pool(node, tmp_path, disks=4)
        await perform(node, "volume.create", {"name": "v", "size_bytes": 100_000 * MIB})
        await write(node, "f", bytes(MIB))
        usage = catalog(node).usage()
        assert usage.used_bytes == MIB and usage.free_bytes < usage.total_bytes // 10
        assert await perform(node, "health", {}) == {"health": "Healthy", "faults": []}

    on_node(new_state(tmp_path), body)


def test_a_volume_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    async def body(node: Node) -> None:
        await make_pool(node, tmp_path, disks=2)
        for wrong, told in (
            ({"resiliency": "raid5"}, "resiliency is one of"),
            ({"resiliency": "three-way-mirror"}, "three-way-mirror"),
            ({"columns": 9}, "columns"),
            ({"media": "ssd"}, "ssd|SSD|fault domains|disks"),
            ({"awareness": "rack"}, "fault domains"),
            ({"provisioning": "fixed", "size_bytes": 1 << 40}, "."),
            ({"tiers": {"ssd": MIB, "hdd": MIB}}, "the tiers say"),
        ):
            with pytest.raises(Exception, match=told) as caught:
                await perform(node, "volume.create", {"name": "v", "size_bytes": 64 * MIB, **wrong})
            assert type(caught.value).__name__ in ("OperatorError", "PoolFull"), (wrong, caught.value)
        assert node.volume_names() == [] and node.require_pool().space_names == []

    on_node(new_state(tmp_path), body)


def test_disks_are_described_added_and_taken_out(tmp_path: Path) -> None:
    state = new_state(tmp_path)
    data = random.Random(2).randbytes(2 * MIB)

    async def first(node: Node) -> None:
        await make_pool(node, tmp_path, disks=3)
        await perform(node, "volume.create", {"name": "v", "size_bytes": 64 * MIB})
        await write(node, "f", data)
        await perform(
            node, "pool.add_disk",
            {"disks": [str(tmp_path / "disk3")], "disk_bytes": 128 * MIB, "media": "ssd",
             "usage": "hot-spare", "fault_domain": "r1/c2"},
        )  # fmt: skip
        found = (await disks(node))["disk3"]
        assert (found["media"], found["usage"], found["fault domain"]) == ("SSD", "Hot Spare", "r1/c2")
        await perform(node, "disk.set", {"name": "3", "usage": "auto-select", "fault_domain": "-"})
        assert (await disks(node))["disk3"]["usage"] == "Auto-Select"
        for wrong in ({}, {"media": "tape"}, {"usage": "none"}, {"fault_domain": "a/b/c/d"}):
            with pytest.raises(OperatorError):
                await perform(node, "disk.set", {"name": "3", **wrong})
        number = (await disks(node))["disk0"]["number"]
        done = await perform(node, "disk.remove", {"name": str(number)})
        assert done["job"] is not None

        async def gone() -> bool:
            await node.physical.look()
            return "disk0" not in await disks(node)

        await until(gone, "disk0 is emptied and gone")
        assert str(tmp_path / "disk0") not in node.settings.disks
        assert await read(node, "f") == data

    async def second(node: Node) -> None:
        assert sorted(await disks(node)) == ["disk1", "disk2", "disk3"]
        assert await read(node, "f") == data

    on_node(state, first)
    on_node(state, second)


def test_a_disk_that_was_not_added_is_not_left_behind(tmp_path: Path) -> None:
    async def body(node: Node) -> None:
        await make_pool(node, tmp_path, disks=2)
        new = tmp_path / "new"
        with pytest.raises(OperatorError):
            await perform(node, "pool.add_disk", {"disks": [str(new)], "disk_bytes": 4096})
        assert not new.exists() and len(node.settings.disks) == 2
        with pytest.raises(OperatorError, match="cannot make the disk"):
            await perform(node, "pool.add_disk", {"disks": [str(tmp_path / "disk0" / "below")]})
        with pytest.raises(Exception, match="in use|belongs to pool"):
            await perform(node, "pool.add_disk", {"disks": [str(tmp_path / "disk0")]})

    on_node(new_state(tmp_path), body)


@pytest.mark.parametrize("resiliency", ["mirror", "three-way-mirror", "parity", "dual-parity"])
def test_a_disk_that_vanishes_is_noticed_and_taken_back_when_it_returns(
    tmp_path: Path, resiliency: str
) -> None:
    data = random.Random(3).randbytes(4 * MIB)

    async def body(node: Node) -> None:
        await make_pool(node, tmp_path, disks=5)
        await perform(node, "volume.create", {"name": "v", "size_bytes": 64 * MIB, "resiliency": resiliency})
        await write(node, "before", data)
        (tmp_path / "disk1").rename(tmp_path / "aside")
        await node.physical.look()
        assert (await disks(node))["disk1"]["operational"] == "Lost communication"
        health = await perform(node, "health", {})
        kinds = [fault["FaultType"].rpartition("FaultType.")[2] for fault in health["faults"]]
        assert "PhysicalDisk.LostCommunication" in kinds and health["health"] != "Healthy"
        await write(node, "meanwhile", data[::-1])
        (tmp_path / "aside").rename(tmp_path / "disk1")
        await node.physical.look()
        assert (await disks(node))["disk1"]["operational"] != "Lost communication"
        await until(lambda: healthy(node), "all is healthy again")
        (tmp_path / "disk2").rename(tmp_path / "aside2")  # so that the returned copies are what is read
        await node.physical.look()
        assert await read(node, "before") == data and await read(node, "meanwhile") == data[::-1]

    on_node(new_state(tmp_path), body)


@pytest.mark.parametrize("resiliency", ["mirror", "three-way-mirror"])
def test_a_disk_that_missed_writes_in_an_earlier_run_is_refilled_by_a_job(
    tmp_path: Path, resiliency: str
) -> None:
    """The node serves at once, however much there is to copy; Repair is a job like any other."""
    state, data = new_state(tmp_path), random.Random(4).randbytes(4 * MIB)

    async def first(node: Node) -> None:
        await make_pool(node, tmp_path, disks=5)
        await perform(node, "volume.create", {"name": "v", "size_bytes": 64 * MIB, "resiliency": resiliency})
        (tmp_path / "disk1").rename(tmp_path / "aside")
        await node.physical.look()
        await write(node, "meanwhile", data)

    async def second(node: Node) -> None:
        assert (await perform(node, "health", {}))["health"] != "Healthy"
        await until(lambda: healthy(node), "all is healthy again")
        assert any("Repair" in job["name"] for job in await perform(node, "job.list", {}))
        (tmp_path / "disk2").rename(tmp_path / "aside2")
        await node.physical.look()
        assert await read(node, "meanwhile") == data

    on_node(state, first)
    (tmp_path / "aside").rename(tmp_path / "disk1")
    on_node(state, second)


@pytest.mark.parametrize("resiliency", ["mirror", "parity", "dual-parity"])
def test_a_deleted_disk_is_replaced_at_the_same_path_and_rebuilt(tmp_path: Path, resiliency: str) -> None:
    state = new_state(tmp_path)
    data = random.Random(4).randbytes(4 * MIB)

    async def first(node: Node) -> None:
        await make_pool(node, tmp_path, disks=4)
        await perform(node, "volume.create", {"name": "v", "size_bytes": 64 * MIB, "resiliency": resiliency})
        await write(node, "f", data)
        path = tmp_path / "disk1"
        with pytest.raises(OperatorError, match="is there and works"):
            await perform(node, "disk.replace", {"name": "1", "by": str(path)})
        path.unlink()
        await node.physical.look()
        done = await perform(node, "disk.replace", {"name": str(path), "by": str(path)})
        assert done["number"] == 4

        async def whole() -> bool:
            return await healthy(node) and len(await perform(node, "disk.list", {})) == 4

        await until(whole, "the new disk is filled, the old one is out of the pool")
        assert await read(node, "f") == data
        assert (await disks(node))["disk1"]["number"] == 4

    async def second(node: Node) -> None:
        assert len(node.settings.disks) == 4
        assert await read(node, "f") == data

    on_node(state, first)
    on_node(state, second)


def test_another_pools_disk_at_the_path_is_left_alone(tmp_path: Path) -> None:
    async def body(node: Node) -> None:
        await make_pool(node, tmp_path, disks=3)
        path = tmp_path / "disk1"
        path.unlink()
        await node.physical.look()
        path.write_bytes(b"not ours" * 100_000)
        kept = path.read_bytes()
        await node.physical.look()
        assert path.read_bytes() == kept
        assert (await disks(node))["disk1"]["operational"] == "Lost communication"
        with pytest.raises(OperatorError, match="works in the pool"):
            await perform(node, "disk.reset", {"name": str(tmp_path / "disk0")})
        with pytest.raises(OperatorError, match="there is no disk"):
            await perform(node, "disk.reset", {"name": str(tmp_path / "nowhere")})

    on_node(new_state(tmp_path), body)


def test_jobs_run_end_and_are_told(tmp_path: Path) -> None:
    async def body(node: Node) -> None:
        await make_pool(node, tmp_path, disks=3)
        await perform(node, "volume.create", {"name": "v", "size_bytes": 64 * MIB})
        await write(node, "f", bytes(MIB))
        await perform(node, "volume.scrub", {"name": "v"})
        await perform(node, "volume.repair", {"name": "v"})
        await perform(node, "pool.optimize", {})
        await perform(node, "volume.optimize", {"name": "v"})
        await until(lambda: jobs_done(node), "jobs end")
        told = await perform(node, "job.list", {})
        assert {job["state"] for job in told} == {"Completed"}, told
        assert {job["percent"] for job in told} == {100}
        names = {job["name"] for job in told}
        assert {"v - Retrim", "v - SlabConsolidate"} <= names
        assert any(name.endswith("Scrub") for name in names) and any("Repair" in name for name in names)
        for wrong in ("77", "v77", "x"):
            with pytest.raises(NotFound, match="sofs job list"):
                await perform(node, "job.stop", {"id": wrong})
        with pytest.raises(OperatorError, match="no tiers"):
            await perform(node, "volume.optimize", {"name": "v", "tier": True})

    on_node(new_state(tmp_path), body)


def test_files_of_a_tiered_volume_are_pinned_and_told(tmp_path: Path) -> None:
    state = new_state(tmp_path)
    data = random.Random(5).randbytes(2 * MIB)

    async def first(node: Node) -> None:
        await make_pool(node, tmp_path, disks=4)
        for number in range(4):
            await perform(node, "disk.set", {"name": str(number), "media": "ssd" if number < 2 else "hdd"})
        tiers = {"ssd": 32 * MIB, "hdd": 64 * MIB}
        await perform(node, "volume.create", {"name": "v", "tiers": tiers, "write_cache_bytes": 0})
        await write(node, "f", data)
        await perform(node, "file.pin", {"volume": "v", "path": "f", "tier": "slow"})
        told = await perform(node, "file.tier_status", {"volume": "v", "path": "f"})
        assert told == {"path": "f", "pinned": "slow", "fast bytes": 0, "slow bytes": 2 * MIB}
        whole = await perform(node, "file.tier_status", {"volume": "v"})
        assert [tier["size bytes"] for tier in whole["tiers"]] == [32 * MIB, 64 * MIB]
        assert [file["path"] for file in whole["pinned files"]] == ["\\f"]
        (volume,) = await perform(node, "volume.list", {})
        assert (volume["tiered"], volume["size bytes"]) == (True, 96 * MIB)
        told = await perform(node, "volume.tiering", {"name": "v", "pass_s": 60, "rate_bytes_s": MIB})
        assert (told["seconds between passes"], told["bytes a second"]) == (60, MIB)
        with pytest.raises(OperatorError, match="positive"):
            await perform(node, "volume.tiering", {"name": "v", "half_life_s": 0})

    async def second(node: Node) -> None:
        assert await read(node, "f") == data
        assert (await perform(node, "volume.tiering", {"name": "v"}))["seconds between passes"] == 60
        await perform(node, "file.pin", {"volume": "v", "path": "F"})
        told = await perform(node, "file.tier_status", {"volume": "v", "path": "f"})
        assert (told["pinned"], told["fast bytes"]) == ("fast", 2 * MIB)
        await perform(node, "file.unpin", {"volume": "v", "path": "f"})
        await perform(node, "volume.resize", {"name": "v", "size_bytes": 64 * MIB, "tier": "fast"})
        assert catalog(node).usage().total_bytes == 128 * MIB
        for path in ("none", "f\\below"):
            with pytest.raises(NotFound):
                await perform(node, "file.pin", {"volume": "v", "path": path})

    on_node(state, first)
    on_node(state, second)


def test_a_volume_without_tiers_pins_nothing(tmp_path: Path) -> None:
    async def body(node: Node) -> None:
        await make_pool(node, tmp_path, disks=2)
        await perform(node, "volume.create", {"name": "v", "size_bytes": 64 * MIB})
        for call in ("file.pin", "file.unpin", "file.tier_status"):
            with pytest.raises(OperatorError, match="no tiers"):
                await perform(node, call, {"volume": "v", "path": "f"})

    on_node(new_state(tmp_path), body)


def test_the_pools_own_settings(tmp_path: Path) -> None:
    async def body(node: Node) -> None:
        await make_pool(node, tmp_path, disks=2)
        await perform(
            node, "pool.set",
            {"thin_alert_percent": 50, "retire_missing": "always", "retire_delay_s": 7,
             "repair_speed": "high"},
        )  # fmt: skip
        told = await perform(node, "pool.status", {})
        assert (told["thin alert at"], told["retire missing disks"]) == ("50 %", "Always")
        assert (told["retire delay seconds"], told["repair queue depth"]) == (7, 8)
        for wrong in ({}, {"thin_alert_percent": 101}, {"retire_missing": "x"}, {"repair_speed": "x"}):
            with pytest.raises(OperatorError):
                await perform(node, "pool.set", wrong)
        assert (await perform(node, "pool.upgrade", {}))["version"] == told["version"]

    on_node(new_state(tmp_path), body)


def test_a_disks_light_blinks(tmp_path: Path) -> None:
    async def body(node: Node) -> None:
        await make_pool(node, tmp_path, disks=2)
        done = await perform(node, "disk.identify", {"name": "0", "seconds": 1})
        assert done["number"] == 0 and "activity light" in done["how"]
        with pytest.raises(OperatorError):
            await perform(node, "disk.identify", {"name": "0", "seconds": 0})
        with pytest.raises(NotFound):
            await perform(node, "disk.identify", {"name": "9"})

    on_node(new_state(tmp_path), body)


def test_a_state_of_a_node_names_the_disks_that_are_away(tmp_path: Path) -> None:
    state: StateDirectory = new_state(tmp_path)

    async def first(node: Node) -> None:
        await make_pool(node, tmp_path, disks=3)

    async def second(node: Node) -> None:
        assert len(node.settings.disks) == 3
        assert (await disks(node))["disk2"]["operational"] == "Lost communication"
        (tmp_path / "aside").rename(tmp_path / "disk2")
        await node.physical.look()
        assert (await disks(node))["disk2"]["operational"] == "OK"

    on_node(state, first)
    (tmp_path / "disk2").rename(tmp_path / "aside")
    on_node(state, second)


def test_a_hot_spare_takes_the_place_of_a_disk_that_stays_away(tmp_path: Path) -> None:
    """[Set-StoragePool] RetireMissingPhysicalDisks Auto: rebuilt only if there is a hot spare."""
    data = random.Random(6).randbytes(3 * MIB)

    async def body(node: Node) -> None:
        await make_pool(node, tmp_path, disks=3)
        await perform(node, "pool.set", {"retire_delay_s": 0})
        spare: dict[str, object] = {"disks": [str(tmp_path / "spare")], "disk_bytes": 128 * MIB}
        await perform(node, "pool.add_disk", {**spare, "usage": "hot-spare"})
        await perform(node, "volume.create", {"name": "v", "size_bytes": 64 * MIB, "resiliency": "parity"})
        await write(node, "f", data)
        assert (await disks(node))["spare"]["allocated bytes"] == 0
        (tmp_path / "disk0").unlink()
        await node.physical.look()

        async def whole() -> bool:
            lost = (await disks(node))["disk0"]
            return lost["usage"] == "Retired" and lost["allocated bytes"] == 0

        await until(whole, "what was on it lies on the spare")
        assert (await disks(node))["spare"]["allocated bytes"] > 0
        (volume,) = await perform(node, "volume.list", {})
        assert volume["health"] == "Healthy"
        assert await read(node, "f") == data
        done = await perform(node, "disk.remove", {"name": str(tmp_path / "disk0")})
        assert done["job"] is None and "disk0" not in await disks(node)

    on_node(new_state(tmp_path), body)


def test_two_who_make_the_same_volume_do_not_undo_each_other(tmp_path: Path) -> None:
    async def body(node: Node) -> None:
        await make_pool(node, tmp_path, disks=2)
        outcomes: list[str] = []

        async def make() -> None:
            try:
                await perform(node, "volume.create", {"name": "v", "size_bytes": 64 * MIB})
                outcomes.append("made")
            except OperatorError as error:
                outcomes.append(str(error))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(make)
            nursery.start_soon(make)
        assert outcomes.count("made") == 1 and len(outcomes) == 2, outcomes
        await write(node, "f", b"there")
        assert await read(node, "f") == b"there"

    on_node(new_state(tmp_path), body)


def test_a_volume_that_cannot_be_mounted_does_not_keep_the_others_from_being_served(tmp_path: Path) -> None:
    """Too many of its disks are away: it is Detached, and mounted when they are back."""
    state = new_state(tmp_path)
    away: list[int] = []

    async def first(node: Node) -> None:
        await make_pool(node, tmp_path, disks=5)
        await perform(node, "volume.create", {"name": "three", "size_bytes": 64 * MIB,
                                              "resiliency": "three-way-mirror"})  # fmt: skip
        await perform(node, "volume.create", {"name": "one", "size_bytes": 64 * MIB, "resiliency": "simple",
                                              "columns": 4})  # fmt: skip
        for name in ("one", "three"):
            await write(node, "f", name.encode() * MIB, name)
            await perform(node, "share.add", {"name": name, "volume": name})
        catalog_space = node.volumes["one"].metadata
        assert isinstance(catalog_space, MirrorSpace)
        (column,) = catalog_space.state.columns(0) or ()
        away.extend(copy.disk for copy in column)

    async def second(node: Node) -> None:
        assert await read(node, "f", "three") == b"three" * MIB
        told = {volume["name"]: volume for volume in await perform(node, "volume.list", {})}
        assert (told["one"]["health"], told["one"]["operational"]) == ("Unknown", "Detached")
        assert told["one"]["detail"] and node.serving.server.find_share("one") is None
        assert node.serving.server.find_share("three") is not None
        for number in away:
            (tmp_path / f"aside{number}").rename(tmp_path / f"disk{number}")
        await node.physical.look()
        assert not node.detached and node.serving.server.find_share("one") is not None
        assert await read(node, "f", "one") == b"one" * MIB

    on_node(state, first)
    for number in away:
        (tmp_path / f"disk{number}").rename(tmp_path / f"aside{number}")
    on_node(state, second)


def test_what_a_crash_left_of_a_volume_that_was_being_made_can_be_removed(tmp_path: Path) -> None:
    state = new_state(tmp_path)

    async def first(node: Node) -> None:
        await make_pool(node, tmp_path, disks=2)
        await perform(node, "volume.create", {"name": "whole", "size_bytes": 64 * MIB})
        pool = node.require_pool()
        for part in ("metadata", "data"):  # as far as it came
            await pool.create_space(f"half/{part}", "mirror", 256 * MIB, columns=1)

    async def second(node: Node) -> None:
        assert list(node.detached) == ["half"] and list(node.volumes) == ["whole"]
        faults = (await perform(node, "health", {}))["faults"]
        assert [fault["FaultingObjectDescription"] for fault in faults] == ["Volume half"]
        await perform(node, "volume.remove", {"name": "half"})
        assert (await perform(node, "health", {}))["faults"] == []
        await perform(node, "volume.create", {"name": "half", "size_bytes": 64 * MIB})

    on_node(state, first)
    on_node(state, second)
