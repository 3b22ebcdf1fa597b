"""Pools: disks with labels, pool metadata by epoch, slab allocation."""
