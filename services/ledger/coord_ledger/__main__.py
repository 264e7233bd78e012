"""Serve the ledger alone."""

from coord_runtime.process import serve

from coord_ledger.service import LedgerService

serve(LedgerService)
