"""Composes the services: all in one process, or one process each."""
