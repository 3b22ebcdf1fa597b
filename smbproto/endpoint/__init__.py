"""Both ends of an SMB2 connection, sans I/O: framing, message ids and credits, compounds, signing and sealing
of whole frames."""
