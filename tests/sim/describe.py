"""Where the tasks of a simulation wait, for the message of one that is stuck."""

from __future__ import annotations

from collections.abc import Iterator

import trio


def describe(task: trio.lowlevel.Task, depth: int = 0) -> Iterator[str]:
    """Where a task and those below it wait, in our own code."""
    places = [
        f"{frame.f_code.co_filename.rpartition('/')[2]}:{line} {frame.f_code.co_name}"
        for frame, line in task.iter_await_frames()
        if "/trio/" not in frame.f_code.co_filename
    ]
    yield "  " * depth + task.name.rpartition(".")[2] + ": " + " > ".join(places[-6:])
    for nursery in task.child_nurseries:
        for child in sorted(nursery.child_tasks, key=lambda child: child.name):
            yield from describe(child, depth + 1)
