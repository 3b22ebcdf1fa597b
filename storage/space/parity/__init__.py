"""Single and dual parity: codec, map, and the machine behind `SpaceMachine` and `Backing`."""
