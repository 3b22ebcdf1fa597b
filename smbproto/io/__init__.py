"""What touches the world, for both ends: transports, and the running of eager handlers."""
