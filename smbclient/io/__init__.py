"""What of the client touches the world: connections, the blocking facade, local files, the terminal."""
