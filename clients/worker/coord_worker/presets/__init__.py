"""Agents whose flags and answers are known, one module for each."""
