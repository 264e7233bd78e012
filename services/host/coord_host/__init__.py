"""Composes the services: all in one process, or one process each."""

from coord_host.endpoint import Endpoint, find, last_overrides
from coord_host.host import (
    Host,
    Overrides,
    attach_or_look,
    attach_or_start,
    check_same,
    differences,
    merged,
    start,
)
from coord_host.places import Place, locate, locate_account
from coord_host.serving import serve
from coord_host.split import start_split

__all__ = [
    "Endpoint",
    "Host",
    "Overrides",
    "Place",
    "attach_or_look",
    "attach_or_start",
    "check_same",
    "differences",
    "find",
    "last_overrides",
    "locate",
    "locate_account",
    "merged",
    "serve",
    "start",
    "start_split",
]
