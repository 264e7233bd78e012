"""Texts of a length that the contract allows."""

MESSAGE_BYTES_MAX = 4_096
DETAIL_BYTES_MAX = 64 * 2**10


def cut(text: str, bytes_max: int) -> str:
    """Return the beginning of a text, valid as a protobuf string."""
    encoded = text.encode(errors="replace")
    return encoded[:bytes_max].decode(errors="ignore").replace("\0", "")
