"""Drivers: file-backed disks, and directories of the host."""
