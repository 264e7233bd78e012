"""Live workers: streams, assignment and merged events."""
