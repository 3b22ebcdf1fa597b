"""Administration: declared calls on a node, the same for the command line, scripts and the pipe `sofs` of
IPC$."""
