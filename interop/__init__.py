"""Black box: other people's clients and servers against ours, each a process of its own."""
