"""The contract: generated from proto/coord/v1."""
