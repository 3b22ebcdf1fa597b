"""When a disk that is out is tried again."""

from __future__ import annotations

from cluster.physical import _Absent

HERE, OTHER = (1, 2, 3), (1, 9, 4)


def tries(absent: _Absent, until_s: float, step_s: float = 1.0) -> list[float]:
    """Looking every second, when is it tried?"""
    found = []
    now = 0.0
    while now <= until_s:
        if absent.is_due(now, HERE):
            found.append(now)
            absent.tried(now, HERE)
        now += step_s
    return found


def test_a_disk_that_failed_is_tried_after_5_30_and_120_seconds_and_thrice_in_six_minutes() -> None:
    """System.Storage.PhysicalDisk.Unresponsive.Reset: CountAllowed 3, CountResetIntervalSeconds 360."""
    absent = _Absent(0.0)
    absent.tried(0.0, HERE)
    found = tries(absent, 359.0)
    assert found == [5.0, 35.0, 155.0]
    assert tries(absent, 720.0)[0] == 361.0


def test_what_changed_at_its_path_is_tried_at_once() -> None:
    absent = _Absent(0.0)
    absent.tried(0.0, HERE)
    assert not absent.is_due(1.0, HERE)
    assert absent.is_due(1.0, OTHER)
    absent.tried(1.0, OTHER)
    assert not absent.is_due(2.0, OTHER) and absent.is_due(6.0, OTHER)
