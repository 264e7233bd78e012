"""The coord command."""
