"""What a repository seems to be: how it is tested, and what its worktrees need."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_MAKE_TARGETS = re.compile(r"^(test|check)\s*:(?!=)", re.MULTILINE)
_UNIT_TEST = re.compile(r"^\s*(import|from) unittest\b", re.MULTILINE)
_PYTHON = ("pyproject.toml", "tox.ini", "setup.py", "setup.cfg", "pytest.ini")
_NODE_INSTALLS = {
    "package-lock.json": ("npm ci", "npm test"),
    "pnpm-lock.yaml": ("pnpm install --frozen-lockfile", "pnpm test"),
    "yarn.lock": ("yarn install --frozen-lockfile", "yarn test"),
    "bun.lock": ("bun install --frozen-lockfile", "bun run test"),
}
_NO_TEST = 'echo "Error: no test specified"'
# Files that tell a build tool without any question left.
_PLAIN = (
    ("Cargo.toml", "cargo test --quiet"),
    ("go.mod", "go test ./..."),
    ("mvnw", "./mvnw -q test"),
    ("pom.xml", "mvn -q test"),
    ("gradlew", "./gradlew test"),
    ("build.gradle", "gradle test"),
    ("build.gradle.kts", "gradle test"),
    ("mix.exs", "mix test"),
    ("deno.json", "deno test"),
    ("composer.json", "composer test"),
    ("Gemfile", "bundle exec rake test"),
    ("CMakeLists.txt", "cmake -S . -B build && cmake --build build && ctest --test-dir build"),
)


@dataclass(frozen=True)
class Proposal:
    """How to test a repository.

    Attributes:
        found: The file that says so.
        check: The command that a merged tree must pass; it runs in a fresh folder.
        setup: The command that a new worktree needs first; empty for none.
    """

    found: str
    check: str
    setup: str = ""


def propose(top: Path) -> Proposal | None:
    """Return how the project in a folder is tested; None where nothing tells.

    A target of its Makefile comes first: that is what its people run.
    """
    finders: tuple[Callable[[Path], Proposal | None], ...] = (_make, _node, _python, _plain)
    return next((found for find in finders if (found := find(top)) is not None), None)


def _make(top: Path) -> Proposal | None:
    targets = set(_MAKE_TARGETS.findall(_text(top / "Makefile")))
    target = next((name for name in ("test", "check") if name in targets), None)
    return Proposal("Makefile", f"make {target}") if target else None


def _node(top: Path) -> Proposal | None:
    try:
        script = json.loads(_text(top / "package.json") or "{}").get("scripts", {}).get("test")
    except (ValueError, AttributeError, RecursionError):
        return None
    if not script or _NO_TEST in str(script):
        return None
    for lock, (install, test) in _NODE_INSTALLS.items():
        if (top / lock).is_file():
            return Proposal("package.json", f"{install} && {test}", install)
    return Proposal("package.json", "npm install && npm test", "npm install")


def _python(top: Path) -> Proposal | None:
    found = next((name for name in _PYTHON if (top / name).is_file()), None)
    if (top / "uv.lock").is_file() and found:
        return Proposal("uv.lock", "uv run pytest -q", "uv sync")
    if (top / "tox.ini").is_file():
        return Proposal("tox.ini", "tox -q")
    # An editable install would test the user's checkout rather than the merged tree.
    path = "PYTHONPATH=src " if (top / "src").is_dir() else ""
    if unit_test := _unit_test(top):
        is_package = unit_test.with_name("__init__.py").is_file() or unit_test.parent == top
        start = "" if is_package else f" -s {unit_test.parent.name}"
        check = f"{path}python -m unittest discover{start}"
        return Proposal(str(unit_test.relative_to(top)), check)
    return Proposal(found, f"{path}python -m pytest -q") if found else None


def _unit_test(top: Path) -> Path | None:
    """Return a test for the standard library's runner; None where there is none, or pytest is."""
    folders = (top, top / "test", top / "tests")
    texts = {path: _text(path) for folder in folders for path in sorted(folder.glob("test*.py"))}
    settings = (_text(top / name) for name in _PYTHON)
    if any("pytest" in text for text in (*texts.values(), *settings)):
        return None
    return next((path for path, text in texts.items() if _UNIT_TEST.search(text)), None)


def _plain(top: Path) -> Proposal | None:
    for name, check in _PLAIN:
        if (top / name).is_file():
            return Proposal(name, check)
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
