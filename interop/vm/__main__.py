"""Command line of the kernel client: fetch what it needs, or mount a running server and run the suite."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from interop.vm.initramfs import base_archive
from interop.vm.kernel import kernel
from interop.vm.suite import MountOptions, mount_and_test, test_names


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m interop.vm", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("fetch", help="get the kernel and the tools, compile the guest's programs")
    commands.add_parser("list-tests", help="the names that --tests takes")
    mount = commands.add_parser("mount-test", help="mount a share of a server on this host and run the suite")
    mount.add_argument("--share", required=True)
    mount.add_argument("--port", type=int, required=True)
    mount.add_argument("--user", required=True)
    mount.add_argument("--password-file", type=Path, required=True)
    mount.add_argument("--options", default="vers=3.1.1", help="of mount.cifs")
    mount.add_argument("--tests", default="", help="names, comma-separated; all by default")
    mount.add_argument("--operations", type=int, default=0, help="length of the random tests")
    mount.add_argument("--capture", type=Path, help="write the traffic there (pcap)")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    if options.command == "fetch":
        booted = kernel()
        base_archive(booted)
        print(f"kernel {booted.version} is ready")
        return 0
    if options.command == "list-tests":
        print("\n".join(test_names()))
        return 0
    password = options.password_file.read_text().splitlines()[0]
    mount = MountOptions(options.share, options.port, options.user, password, options.options)
    tests = [name for name in options.tests.split(",") if name]
    report = mount_and_test(mount, tests, operations=options.operations, capture=options.capture)
    print(report.output)
    return 1 if report.failed() or not report.results else 0


if __name__ == "__main__":
    sys.exit(main())
