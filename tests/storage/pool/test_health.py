"""Faults appear and vanish by observation, folded by root cause, by the Health Service's names."""

from dataclasses import replace

import pytest

from storage.pool.health import (
    Change,
    DiskSeen,
    Fault,
    PoolSeen,
    Severity,
    SpaceSeen,
    VolumeSeen,
    changes,
    faults,
)

GB = 1 << 30
DISKS = tuple(
    DiskSeen(n, f"id{n}", f"/d{n}", "SSD", "", True, slabs=10, size_bytes=100 * GB) for n in range(4)
)
SPACE = SpaceSeen(1, "v/data", "mirror", tolerance=1, margin=1)
POOL = PoolSeen("tank", "ab12", 400 * GB, 40 * GB, 70, True, DISKS, (SPACE,))


def disk(pool: PoolSeen, number: int, **now) -> PoolSeen:
    disks = [replace(one, **now) if one.number == number else one for one in pool.disks]
    return replace(pool, disks=disks)


def space(pool: PoolSeen, **now) -> PoolSeen:
    return replace(pool, spaces=[replace(pool.spaces[0], **now)])


def types(pool: PoolSeen) -> list[str]:
    return [fault.fault_type for fault in faults(pool)]


def test_a_healthy_pool_has_no_faults():
    assert faults(POOL) == []


@pytest.mark.parametrize(
    ("now", "kind", "severity"),
    [
        ({"is_there": False}, "LostCommunication", Severity.WARNING),
        ({"is_failed": True, "is_there": False}, "FailedMedia", Severity.ERROR),
        ({"silent_s": 31.0}, "Unresponsive", Severity.ERROR),
        ({"slow": "flushes take 900 ms"}, "HighLatency.Outlier", Severity.WARNING),
        ({"failing": "it is slow"}, "PredictiveFailure", Severity.WARNING),
        ({"repaired_blocks": 16}, "HighErrorCount", Severity.WARNING),
        ({"is_recognized": False}, "UnrecognizedMetadata", Severity.WARNING),
    ],
)
def test_what_is_wrong_with_a_disk_has_its_name(now, kind, severity):
    """Health Service faults: PhysicalDisk.*, PerceivedSeverity 4/5/6."""
    [fault] = faults(disk(POOL, 2, **now))
    assert (fault.fault_type, fault.severity) == ("PhysicalDisk." + kind, severity)
    assert "/d2" in fault.object_description
    assert fault.recommended_actions


def test_few_repaired_blocks_are_no_fault():
    assert faults(disk(POOL, 0, repaired_blocks=15)) == []


def test_the_id_of_a_fault_is_the_same_at_every_look_and_another_for_each_object():
    first = faults(disk(POOL, 2, is_there=False))[0]
    again = faults(disk(POOL, 2, is_there=False, trouble="it says more now"))[0]
    other = faults(disk(POOL, 3, is_there=False))[0]
    assert first.fault_id == again.fault_id != other.fault_id
    assert [len(part) for part in first.fault_id.split("-")] == [8, 4, 4, 4, 12]


def test_fields_have_the_names_of_the_health_service():
    fields = faults(disk(POOL, 1, is_there=False))[0].fields()
    assert list(fields) == [
        "FaultId", "FaultType", "PerceivedSeverity", "Reason", "FaultingObjectDescription",
        "FaultingObjectLocation", "RecommendedActions",
    ]  # fmt: skip
    assert fields["FaultType"] == "Microsoft.Health.FaultType.PhysicalDisk.LostCommunication"


def test_an_enclosure_that_is_gone_hides_its_disks():
    """Root-cause folding: what holds the disks is down, so they are not told one by one."""
    pool = disk(disk(POOL, 0, location="r1/c1", is_there=False), 1, location="r1/c1", is_there=False)
    assert types(pool) == ["StorageEnclosure.LostCommunication"]
    back = disk(pool, 1, is_there=True)
    assert types(back) == ["PhysicalDisk.LostCommunication"]


def test_a_space_that_lacks_only_a_missing_disk_is_told_as_that_disk():
    pool = space(disk(POOL, 2, is_there=False), lacking=(2,), degraded_bytes=GB)
    assert types(replace(pool, spaces=[replace(pool.spaces[0], tolerance=2)])) == [
        "PhysicalDisk.LostCommunication"
    ]


def test_a_space_that_lacks_something_with_all_disks_there_needs_repair():
    assert types(space(POOL, degraded_bytes=GB, is_other=True)) == ["VirtualDisks.NeedsRepair"]
    assert types(space(POOL, degraded_bytes=GB)) == ["VirtualDisks.NeedsRepair"]


def test_repair_that_was_in_vain_is_told_with_its_reason_whatever_is_away():
    pool = space(disk(POOL, 2, is_there=False), tolerance=2, lacking=(2,), degraded_bytes=GB)
    found = faults(replace(pool, repair_trouble="no free slab"))
    [fault] = [one for one in found if one.fault_type == "VirtualDisks.NeedsRepair"]
    assert "no free slab" in fault.reason


def test_the_last_copy_is_never_hidden():
    pool = space(disk(POOL, 2, is_there=False), margin=0, lacking=(2,), degraded_bytes=GB)
    assert types(pool) == ["VirtualDisks.LastCopy", "PhysicalDisk.LostCommunication"]


def test_a_simple_space_has_no_last_copy_to_tell_of():
    assert types(space(POOL, tolerance=0, margin=0)) == []


def test_lost_data_is_no_redundancy_and_a_stopped_pool_detaches_its_spaces():
    assert types(space(POOL, margin=-1)) == ["VirtualDisks.NoRedundancy"]
    assert types(replace(POOL, stopped="only 1 of 4 disks")) == ["VirtualDisks.Detached"]


def test_a_pool_that_fills_up_is_told_at_its_threshold():
    """[Set-StoragePool] ThinProvisioningAlertThresholds: 70 % by default."""
    assert types(replace(POOL, allocated_bytes=279 * GB)) == []
    assert types(replace(POOL, allocated_bytes=280 * GB)) == ["StoragePool.PoolCapacityThresholdExceeded"]
    assert types(replace(POOL, allocated_bytes=280 * GB, has_thin=False)) == []


def test_less_free_than_the_largest_disk_is_too_little_reserve():
    pool = replace(POOL, allocated_bytes=301 * GB, has_thin=False)
    assert types(pool) == ["StoragePool.InsufficientReserveCapacity"]


@pytest.mark.parametrize(("used", "severity"), [(79, None), (80, Severity.WARNING), (90, Severity.ERROR)])
def test_a_volume_warns_at_80_percent_and_is_in_error_at_90(used, severity):
    """Volume.Capacity (80 % warning, 90 % critical)."""
    found = faults(replace(POOL, volumes=[VolumeSeen("v", 100 * GB, used * GB)]))
    assert [fault.severity for fault in found] == ([severity] if severity else [])


def test_changes_between_two_looks():
    before = faults(disk(POOL, 2, is_there=False))
    after = faults(disk(disk(POOL, 2, is_there=False, trouble="EIO"), 3, is_there=False))
    kinds = [(change, fault.object_id) for change, fault in changes(before, after)]
    assert kinds == [(Change.UPDATE, "id2"), (Change.CREATE, "id3")]
    assert [change for change, _ in changes(after, [])] == [Change.REMOVE] * 2
    assert changes(after, after) == []
    assert all(isinstance(fault, Fault) for fault in after)
