"""The task graph: leases, retries and the order of work."""
