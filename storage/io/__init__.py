"""Disks that are files or block devices; the only part of storage that calls the operating system."""
