"""The command `shout`."""


def run(text: str) -> str:
    """Answer the command."""
    return text.upper()
