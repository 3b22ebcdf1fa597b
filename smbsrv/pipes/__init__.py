"""Named pipes of IPC$: the port that a pipe serves (`port`), and the pipes there are (`registry`)."""
