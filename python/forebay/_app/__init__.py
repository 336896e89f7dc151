"""What composes an app: its declarations, one run of it, and the handlers and destinations of that run."""
