"""Linux's own SMB client, in a guest, on a share of ours: what a mounted file system must do, in several
ways of mounting.

The suite runs in full for 3.1.1; other dialects and encryption run the tests that differ by what is on the
wire.
"""

from __future__ import annotations

import pytest

from interop.target import Target
from interop.vm.suite import MountOptions, mount_and_test

# The guest's tests that say "not supported" here, and why that is right.
MAY_SKIP = {
    "symlink": "Linux 6.1 makes symlinks by the SMB1 extensions or `mfsymlinks` only",
    "special": "as above, for named pipes",
}
MAY_SKIP_ON = {
    "pool": set(),
    "serve": {"clone"},      # as the host's own file system can or cannot share blocks
    "samba": {"hardlink", "seekhole", "clone"},
}
NOT_ON_2_1 = {"sparse", "seekhole"}      # the client has fallocate from 3.0 on
SHORT = (
    "basic",
    "names",
    "times",
    "append",
    "trunc",
    "openunlink",
    "openrename",
    "hardlink",
    "xattr",
    "sparse",
    "seekhole",
    "copyrange",
    "fcntl",
    "mmap",
    "bigio",
    "many",
    "copytree",
    "fsx",
    "nsstress",
)


def check(target: Target, options: str, tests: tuple[str, ...] = (), operations: int = 0) -> None:
    mount = MountOptions(target.share, target.port, target.user, target.password, options)
    report = mount_and_test(mount, tests, operations=operations)
    assert report.results, f"nothing ran:\n{report.output}"
    assert report.failed() == [], report.output
    assert set(report.skipped()) <= set(MAY_SKIP) | MAY_SKIP_ON[target.kind], report.output
    assert not tests or set(report.results) >= set(tests), report.output


@pytest.mark.vm
@pytest.mark.timeout(600)
def test_the_whole_suite_on_smb_3_1_1(target: Target) -> None:
    """Files, names, times, locks, sparse files, server-side copy, attributes, links, notification, random
    operations."""
    check(target, "vers=3.1.1")


@pytest.mark.vm
@pytest.mark.timeout(600)
@pytest.mark.parametrize("options", ["vers=2.1", "vers=3.0", "vers=3.1.1,seal"])
def test_what_differs_by_dialect_and_encryption(target: Target, options: str) -> None:
    """2.1 has no encryption and HMAC signing, 3.0 AES-CMAC and VALIDATE_NEGOTIATE_INFO, `seal` encrypts it
    all."""
    check(target, options, tuple(name for name in SHORT if options != "vers=2.1" or name not in NOT_ON_2_1))


@pytest.mark.vm
@pytest.mark.timeout(600)
def test_thousands_of_random_operations_match_a_copy_in_memory(target: Target) -> None:
    """Reads, writes, truncation, maps, holes, copies and reopening, each compared with what the file must
    hold."""
    check(target, "vers=3.1.1", ("fsx", "fsxdirect", "fsxpar"), operations=4000)
