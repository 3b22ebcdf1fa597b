"""Which disk is slower than its peers, for long; which one does not answer."""

from storage.pool.latency import EXCESS_S, FLUSH, READ, SAMPLES_MIN, STRIKES, Detector, Meter, TimedDisk
from tests.sim.disk import SimDisk
from tests.sim.runtime import InlineRuntime

HDD, SSD = 3, 4


def window(detector: Detector, flush_s: dict[int, float | None], media: dict[int, int] | None = None) -> None:
    means = {number: [None, None, one] for number, one in flush_s.items()}
    detector.window(means, media or dict.fromkeys(flush_s, SSD))


def test_a_disk_slow_in_four_windows_is_an_outlier_and_in_three_is_not():
    detector = Detector()
    for _ in range(STRIKES - 1):
        window(detector, {0: 0.002, 1: 0.5, 2: 0.003, 3: 0.002})
    assert not detector.outliers
    window(detector, {0: 0.002, 1: 0.5, 2: 0.003, 3: 0.002})
    assert list(detector.outliers) == [1]
    assert "flushes take 500 ms" in str(detector.outliers[1])


def test_a_good_window_in_between_starts_anew():
    detector = Detector()
    for slow in (0.5, 0.5, 0.5, 0.002, 0.5, 0.5, 0.5):
        window(detector, {0: 0.002, 1: slow, 2: 0.003})
    assert not detector.outliers


def test_an_outlier_is_one_until_four_good_windows():
    detector = Detector()
    for _ in range(STRIKES):
        window(detector, {0: 0.002, 1: 0.5, 2: 0.003})
    for _ in range(STRIKES):
        assert detector.outliers
        window(detector, {0: 0.002, 1: 0.002, 2: 0.003})
    assert not detector.outliers


def test_silence_says_nothing():
    """A window without enough calls neither accuses nor clears."""
    detector = Detector()
    for mean in (0.5, None, 0.5, None, 0.5, None, 0.5):
        window(detector, {0: 0.002, 1: mean, 2: 0.003})
    assert list(detector.outliers) == [1]


def test_a_disk_is_compared_with_its_own_medium():
    detector = Detector()
    media = {0: SSD, 1: SSD, 2: SSD, 3: HDD, 4: HDD, 5: HDD}
    for _ in range(STRIKES):
        window(detector, {0: 0.001, 1: 0.001, 2: 0.001, 3: 0.05, 4: 0.05, 5: 0.06}, media)
    assert not detector.outliers


def test_two_disks_have_no_majority():
    detector = Detector()
    for _ in range(STRIKES):
        window(detector, {0: 0.001, 1: 0.9})
    assert not detector.outliers


def test_a_fast_disk_may_be_five_times_slower_than_very_fast_ones():
    detector = Detector()
    for _ in range(STRIKES):
        window(detector, {0: 0.0001, 1: EXCESS_S, 2: 0.0001})
    assert not detector.outliers


def test_a_disk_that_left_is_forgotten():
    detector = Detector()
    for _ in range(STRIKES):
        window(detector, {0: 0.002, 1: 0.5, 2: 0.003})
    window(detector, {0: 0.002, 2: 0.003})
    assert not detector.outliers


def test_calls_that_wait_are_timed_and_those_that_do_not_are_not():
    runtime = InlineRuntime()
    inner = SimDisk("d", 1 << 20, runtime)
    meter = Meter()
    disk = TimedDisk(inner, meter, runtime.now)

    async def work() -> None:
        for _ in range(SAMPLES_MIN):
            await disk.flush()
        assert disk.write_now(0, [bytes(4096)])
        buffer = bytearray(4096)
        await disk.read(0, [memoryview(buffer)])
        await disk.write(4096, [b"x" * 4096])

    runtime.run(work())
    assert meter.counts == [1, 1, SAMPLES_MIN]
    assert meter.take()[FLUSH] == 0.0
    assert meter.take()[READ] is None


def test_a_call_that_nobody_answers_is_seen():
    meter = Meter()
    first = meter.begin(100.0)
    meter.begin(120.0)
    assert meter.silent_s(131.0) == 31.0
    meter.end(first, READ, 132.0)
    assert meter.silent_s(132.0) == 12.0
