"""The fake file system keeps the contract of the real ones."""

from tests.suites.filesystem import FileSystemContract
from tests.suites.memoryfs import MemoryFileSystem


class TestMemoryFileSystem(FileSystemContract):
    """In memory, at once."""

    def run(self, body):
        try:
            body(MemoryFileSystem()).send(None)
        except StopIteration:
            return
        raise AssertionError("it never waits")
