"""The command `whisper`."""


def run(text: str) -> str:
    """Answer the command."""
    return text.lower()
