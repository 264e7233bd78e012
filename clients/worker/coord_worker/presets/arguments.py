"""What the operator's arguments of a preset say."""

import re
from collections.abc import Sequence

_PROVIDERS = (
    (re.compile(r"anthropic|claude|sonnet|opus|haiku"), "anthropic"),
    (re.compile(r"openai|gpt-|o\d"), "openai"),
    (re.compile(r"google|gemini|vertex"), "google"),
)


def has_flag(args: Sequence[str], *flags: str) -> bool:
    """Tell whether one of the flags is among the arguments, also as `--flag=value`."""
    return any(arg.split("=", 1)[0] in flags for arg in args)


def value_of(args: Sequence[str], *flags: str) -> str:
    """Return the value of the last of the flags; empty where there is none."""
    value = ""
    for arg, following in zip(args, [*args[1:], ""], strict=False):
        name, _, inline = arg.partition("=")
        if name in flags:
            value = inline or following
    return value


def provider_of(model: str) -> str:
    """Return whose limits a model is under: of the name before its `/`, else of what it is called.

    Empty where that cannot be told.
    """
    provider, slash, _ = model.partition("/")
    for pattern, name in _PROVIDERS:
        if pattern.match(provider.lower()):
            return name
    return provider if slash else ""
