"""Faults put in on purpose: each can still be put in, and a few of them are caught here."""

import ast

import pytest

from tests.simulation.fault_table import caught_after
from tests.simulation.faults import FAULTS, Fault

_QUICK = ("token-again", "silent-abort", "balance-off")


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_what_a_fault_replaces_is_there_once(fault: Fault) -> None:
    ast.parse(fault.source())


@pytest.mark.parametrize("name", _QUICK)
def test_a_fault_is_caught(name: str) -> None:
    fault = next(fault for fault in FAULTS if fault.name == name)
    found = caught_after(fault, hours_max=0.5)
    assert found["broken"]
