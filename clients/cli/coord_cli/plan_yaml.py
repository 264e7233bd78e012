"""Plans in YAML, with the line on which each value is set.

Plain values are read as YAML 1.2 says, so that `no`, `12:30` and `2026-01-31` are text. Tags are
refused, and so are anchors and aliases: a few lines of them can stand for gigabytes.
"""

import re
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from coord_cli.plan_text import FormError, Parsed, Place

_PLAIN = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?",
        list("-+.0123456789"),
    ),
)


class _Loader(yaml.SafeLoader):
    """Builds plain data only. The library's faster loader in C dies of deep nesting."""

    yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012 - as the library has it.


for _tag, _pattern, _first in _PLAIN:
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), _first
    )


def parse(text: str) -> Parsed:
    """Read a YAML text.

    Raises:
        FormError: It is not YAML, has a key twice, or is no mapping of plain data.
        RecursionError: It is nested too deeply.
        ValueError: A number in it has too many digits.
    """
    try:
        return _parse(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise FormError(line, f"this is not YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise FormError(1, f"this is not YAML: {error}") from error


def _parse(text: str) -> Parsed:
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return Parsed({}, {})
        if not isinstance(node, MappingNode):
            raise FormError(_line(node), "write fields here, as `name: value`")
        walk = _Walk(loader)
        return Parsed(walk.value(node, ()), walk.lines)
    finally:
        loader.dispose()


class _Walk:
    """Turns nodes into plain data, and keeps their lines."""

    def __init__(self, loader: _Loader) -> None:
        self.lines: dict[Place, int] = {}
        self._loader = loader
        self._seen: set[int] = set()

    def value(self, node: Node, place: Place) -> Any:
        """Return what a node says."""
        if id(node) in self._seen:
            raise FormError(_line(node), "anchors and aliases are not for plans; use `defaults`")
        self._seen.add(id(node))
        self._refuse_tag(node)
        self.lines.setdefault(place, _line(node))
        if isinstance(node, MappingNode):
            return self._mapping(node, place)
        if isinstance(node, SequenceNode):
            return [self.value(item, (*place, n)) for n, item in enumerate(node.value)]
        return self._loader.construct_object(node)

    def _mapping(self, node: MappingNode, place: Place) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node)
            if key in found:
                first = self.lines[*place, key]
                raise FormError(_line(key_node), f"{key!r} is already set on line {first}")
            self.lines[*place, key] = _line(key_node)
            found[key] = self.value(value_node, (*place, key))
        return found

    def _refuse_tag(self, node: Node) -> None:
        plain = isinstance(node, ScalarNode) and node.style is None
        usual = self._loader.resolve(type(node), node.value, (plain, True))  # type: ignore[no-untyped-call]  # no stubs
        if node.tag != usual:
            tag = node.tag.replace("tag:yaml.org,2002:", "!!")
            raise FormError(_line(node), f"tags such as {tag} are not for plans")

    def _key(self, node: Node) -> str:
        self._refuse_tag(node)
        key = self._loader.construct_object(node) if isinstance(node, ScalarNode) else None
        if not isinstance(key, str):
            raise FormError(_line(node), "a field's name must be text; put it in quotes")
        return key


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1
