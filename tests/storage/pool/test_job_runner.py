"""Jobs run, wait, pause, stop, get stuck and go on after a crash; what their progress says is true."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import SimpleNamespace

import pytest

from storage.errors import PoolUnavailable, StorageError
from storage.pool.jobs.job import Job, JobKind, JobState
from storage.pool.jobs.pace import QueueDepth, queue_depth
from storage.pool.jobs.port import Key, Task
from storage.pool.jobs.runner import HISTORY_MAX, JobRunner, SavedJob
from tests.sim.runtime import InlineRuntime

MB = 1 << 20
TASK = 4 * MB
STEP = MB


class FakeHost:
    """The part of the pool that the runner itself needs: durable records of jobs."""

    def __init__(self) -> None:
        self.records: dict[int, tuple[int, int | None, int, bytes]] = {}
        self.given = 0
        self.state = SimpleNamespace(jobs={})
        self.is_broken = False

    def take_job_id(self) -> int:
        self.given += 1
        return self.given

    async def save_job(self, job_id, kind, target, state, checkpoint) -> None:
        if self.is_broken:
            raise PoolUnavailable("the pool stopped")
        self.records[job_id] = (kind, target, state, checkpoint)

    async def drop_job(self, job_id) -> None:
        if self.is_broken:
            raise PoolUnavailable("the pool stopped")
        del self.records[job_id]


class FakeWork:
    """`count` slabs, each copied in four steps; `do` is called before the first of each."""

    def __init__(self, rig: Rig, job: Job) -> None:
        self.rig = rig
        self.left = list(range(rig.count))
        self.kind = job.kind

    async def survey(self, pace):
        await pace(0)
        return [Task(Key(1, number, 0), TASK, self.one(number)) for number in self.left]

    def one(self, number: int):
        async def run(pace) -> bool:
            rig = self.rig
            rig.now_active += 1
            rig.most_active = max(rig.most_active, rig.now_active)
            rig.began.append((self.kind, number))
            try:
                if rig.do is not None:
                    await rig.do(number)
                for _ in range(TASK // STEP):
                    await pace(STEP)
                    rig.watch()
                    await rig.runtime.sleep(rig.step_s)
            finally:
                rig.now_active -= 1
            self.left.remove(number)
            rig.done.append(number)
            return True

        return run

    def ended(self, task: Task) -> bytes | None:
        return bytes([task.key.row])

    async def conclude(self) -> None:
        self.rig.concluded += 1
        if self.rig.at_the_end is not None:
            await self.rig.at_the_end()


class Rig:
    def __init__(self, count: int = 8) -> None:
        self.runtime = InlineRuntime()
        self.host = FakeHost()
        self.count = count
        self.step_s = 0.01
        self.do: Callable[[int], Awaitable[None]] | None = None
        self.at_the_end: Callable[[], Awaitable[None]] | None = None
        self.now_active = self.most_active = self.concluded = 0
        self.began: list[tuple[JobKind, int]] = []
        self.done: list[int] = []
        self.seen: list[tuple[int, int, int]] = []
        self.jobs_made: list[Job] = []
        self.runner = self.new_runner()

    def new_runner(self) -> JobRunner:
        def work_of(job: Job) -> FakeWork:
            self.jobs_made.append(job)
            return FakeWork(self, job)

        return JobRunner(self.host, self.runtime, work_of)  # type: ignore[arg-type]

    def watch(self) -> None:
        for status in self.runner.jobs():
            self.seen.append((status.bytes_processed, status.bytes_total, status.percent))

    async def submit(self, kind: JobKind = JobKind.REPAIR) -> int:
        return await self.runner.submit(kind, None, "tank", is_background=False)


def run(rig: Rig, work) -> None:
    rig.runtime.run(work())


def test_progress_never_exceeds_the_total_never_goes_back_and_ends_at_100():
    rig = Rig()

    async def work() -> None:
        status = await rig.runner.wait(await rig.submit())
        assert (status.state, status.percent, status.error) == ("Completed", 100, "")
        assert status.bytes_processed == status.bytes_total == 8 * TASK
        assert rig.host.records == {}

    run(rig, work)
    processed = [one[0] for one in rig.seen]
    assert processed == sorted(processed)
    assert all(done <= total and percent < 100 for done, total, percent in rig.seen)
    assert rig.concluded == 1


@pytest.mark.parametrize("depth", list(QueueDepth))
def test_the_queue_depth_bounds_what_runs_at_once(depth):
    """VirtualDiskRepairQueueDepth: very low 1, low 2, medium 4, high 8, very high 16."""
    rig = Rig(count=40)
    rig.runner.set_speed(depth, None)

    async def work() -> None:
        await rig.runner.wait(await rig.submit())

    run(rig, work)
    assert rig.most_active == depth
    assert queue_depth(depth.name.lower().replace("_", " ")) is depth


def test_a_rate_limit_holds():
    rig = Rig(count=10)
    rig.runner.set_speed(QueueDepth.VERY_HIGH, 10 * MB)

    async def work() -> None:
        status = await rig.runner.wait(await rig.submit())
        assert 3.5 <= status.elapsed_s <= 6

    run(rig, work)


def test_a_failing_slab_does_not_end_the_job_and_is_told():
    rig = Rig()

    async def trouble(number: int) -> None:
        if number == 3:
            raise StorageError("disk 7: sector not found")

    rig.do = trouble

    async def work() -> None:
        status = await rig.runner.wait(await rig.submit())
        assert status.state == "Exception"
        assert "1 slabs failed: disk 7: sector not found" in status.error
        assert sorted(rig.done) == [0, 1, 2, 4, 5, 6, 7]
        assert status.percent < 100
        assert rig.concluded == 0

    run(rig, work)


def test_a_suspended_job_stands_still_and_is_not_stuck():
    rig = Rig()

    async def work() -> None:
        job = await rig.submit()
        await rig.runtime.sleep(0.03)
        await rig.runner.suspend(job)
        assert rig.host.records[job][2] == JobState.SUSPENDED
        await rig.runtime.sleep(0.1)
        before = list(rig.seen)
        await rig.runtime.sleep(300)
        assert rig.seen == before
        assert rig.runner.status(job).state == "Suspended"
        await rig.runner.resume(job)
        status = await rig.runner.wait(job)
        assert status.state == "Completed"
        assert status.elapsed_s < 10

    run(rig, work)


def test_a_cancelled_job_stops_at_its_next_step():
    rig = Rig()

    async def work() -> None:
        job = await rig.submit()
        await rig.runtime.sleep(0.02)
        await rig.runner.cancel(job)
        assert rig.runner.status(job).state == "Killed"
        assert rig.host.records == {}
        assert rig.now_active == 0
        assert len(rig.done) < 8
        with pytest.raises(KeyError):
            await rig.runner.cancel(job)

    run(rig, work)


def test_a_job_without_progress_for_a_minute_ends_and_says_so():
    """Every job has a progress watchdog and a terminal state."""
    rig = Rig(count=3)
    never = rig.runtime.event()

    async def hang(number: int) -> None:
        if number == 1:
            await never.wait()

    rig.do = hang

    async def work() -> None:
        status = await rig.runner.wait(await rig.submit())
        assert status.state == "Exception"
        assert status.error.startswith("no progress for 6")
        assert sorted(rig.done) == [0, 2]
        rig.do = None
        again = await rig.runner.wait(await rig.submit())
        assert "got stuck still works" in again.error
        assert sorted(rig.done) == [0, 0, 2, 2]
        never.set()
        await rig.runtime.sleep(1)
        assert (await rig.runner.wait(await rig.submit())).state == "Completed"

    run(rig, work)


def test_a_slow_limit_is_not_a_stuck_job():
    rig = Rig(count=1)
    rig.runner.set_speed(QueueDepth.VERY_LOW, MB // 120)

    async def work() -> None:
        status = await rig.runner.wait(await rig.submit())
        assert status.state == "Completed"
        assert status.elapsed_s > 300

    run(rig, work)


def test_the_same_job_is_not_started_twice():
    rig = Rig()

    async def work() -> None:
        first = await rig.submit()
        assert await rig.submit() == first
        await rig.runner.wait(first)
        assert await rig.submit() != first

    run(rig, work)


def test_two_jobs_never_work_on_one_slab_at_once():
    rig = Rig()
    working: set[int] = set()

    async def alone(number: int) -> None:
        assert number not in working
        working.add(number)
        await rig.runtime.sleep(0.05)
        working.remove(number)

    rig.do = alone

    async def work() -> None:
        repair, scrub = await rig.submit(), await rig.submit(JobKind.SCRUB)
        assert (await rig.runner.wait(repair)).state == (await rig.runner.wait(scrub)).state == "Completed"

    run(rig, work)
    assert len(rig.done) == 16


def test_optimize_waits_for_repair():
    """gluster #1303: a rebalance during a pending heal fails; it waits for the heal."""
    rig = Rig()

    async def work() -> None:
        repair = await rig.submit()
        optimize = await rig.submit(JobKind.OPTIMIZE)
        await rig.runner.wait(repair)
        assert {kind for kind, _ in rig.began} == {JobKind.REPAIR}
        assert (await rig.runner.wait(optimize)).state == "Completed"

    run(rig, work)


def test_a_stopped_runner_leaves_records_and_another_goes_on_from_the_checkpoint():
    rig = Rig(count=40)
    rig.runner.set_speed(QueueDepth.VERY_LOW, None)
    rig.step_s = 1.0

    async def work() -> None:
        job = await rig.submit()
        await rig.runtime.sleep(100)
        await rig.runner.stop()
        kind, target, state, checkpoint = rig.host.records[job]
        assert (kind, target, state) == (JobKind.REPAIR, None, JobState.RUNNING)
        assert checkpoint
        rig.runner = rig.new_runner()
        saved = SavedJob(job, JobKind(kind), target, "tank", JobState(state), checkpoint)
        rig.runner.resume_saved([saved])
        assert rig.jobs_made[-1].checkpoint == checkpoint
        assert (await rig.runner.wait(job)).state == "Completed"
        assert rig.host.records == {}

    run(rig, work)


def test_a_pool_that_stops_ends_the_job():
    rig = Rig()

    async def broken(number: int) -> None:
        if number == 2:
            rig.host.is_broken = True
            raise PoolUnavailable("too few disks")

    rig.do = broken

    async def work() -> None:
        status = await rig.runner.wait(await rig.submit())
        assert (status.state, status.error) == ("Exception", "too few disks")
        with pytest.raises(PoolUnavailable):
            await rig.submit()
        assert [one.id for one in rig.runner.jobs()] == [status.id]

    run(rig, work)


def test_the_last_32_finished_jobs_are_remembered():
    rig = Rig(count=0)

    async def work() -> None:
        for _ in range(HISTORY_MAX + 3):
            last = await rig.submit()
            await rig.runner.wait(last)
        assert [one.id for one in rig.runner.jobs()] == list(range(last, last - HISTORY_MAX, -1))
        with pytest.raises(KeyError):
            rig.runner.status(1)

    run(rig, work)


def test_a_cancelled_caller_leaves_no_job_half_begun():
    """Seed 67 of the pool simulation: the caller was cancelled while the record was written; the job was
    never run, and whoever closed the pool waited for it for ever."""
    rig = Rig(count=1)

    async def work() -> None:
        submitting = rig.submit()
        submitting.send(None)  # waits for its record
        submitting.close()  # cancelled there
        await rig.runtime.sleep(1)
        assert [one.state for one in rig.runner.jobs()] == ["Completed"]
        await rig.runner.stop()

    run(rig, work)


def test_a_job_suspended_at_its_very_end_ends_when_it_is_resumed():
    """Seed 93 of the pool simulation: suspended when all was done, it ended as if it were running."""
    rig = Rig(count=1)

    async def work() -> None:
        async def suspend() -> None:
            await rig.runner.suspend(1)

        rig.at_the_end = suspend
        job = await rig.submit()
        await rig.runtime.sleep(100)
        assert rig.runner.status(job).state == "Suspended"
        await rig.runner.resume(job)
        assert (await rig.runner.wait(job)).state == "Completed"

    run(rig, work)
