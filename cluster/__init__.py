"""The top of the stack: nodes, their configuration and administration, and what joins several nodes into one
file server."""
