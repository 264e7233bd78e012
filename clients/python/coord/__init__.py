"""Coord for Python: the client, the errors and the generated contract."""
