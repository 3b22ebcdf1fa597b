"""What of smbproto touches the world: streams over TCP and memory, and the running of eager coroutines."""
