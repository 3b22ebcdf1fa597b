"""Drivers: the real runtime, configuration files, the node's process."""
