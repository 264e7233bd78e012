"""What the services share: server, clock, stores, events, metrics and errors."""
