"""One module a peer: its handler, and what sends its backlog."""
