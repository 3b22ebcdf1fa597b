"""Spaces: virtual disks made of slabs, with their resiliency."""
