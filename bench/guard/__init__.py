"""Suite `guard`: what a look before an edit takes, from the start of its process to its end."""

import asyncio
import json
import subprocess
import time
from pathlib import Path

from coord.v1 import claims_pb2
from coord_cli.guard_hooks import guard_command, make_hooks
from coord_coordinator.guard_file import claim_text, guard_text
from coord_host.places import Place

from bench.report import Row, row
from bench.rounds import Side, in_turns

_LOOKS = 5
_MS_MAX = 30.0
_CLAIMS = (1, 100, 1_000, 10_000)
_EDITED = "src/pkg0/a.py"
_EDIT = {"file_path": str(Path(_EDITED).absolute()), "new_string": "y" * 4_096}


async def run(state: Path) -> list[Row]:
    sides: dict[str, Side] = {}
    for claims in _CLAIMS:
        place = _place(state / str(claims), claims)
        command = [*guard_command(place), _EDITED]
        sides[f"{claims} claims"] = _side(command, "")
        sides[f"{claims} claims, hook"] = _side(
            [*guard_command(place), "--claude"], json.dumps({"tool_input": _EDIT})
        )
    bare = guard_command(place)[:3]
    sides["interpreter alone"] = _side([*bare, "-c", ""], "")
    sides["coord guard"] = _side([str(Path(bare[0]).with_name("coord")), "guard", "a"], "")
    figures = await in_turns(sides)
    return [
        row(
            name,
            "ms",
            rounds,
            goal=_MS_MAX if "claims" in name else None,
            less_is_better=True,
            against={"interpreter alone": figures["interpreter alone"]},
        )
        for name, rounds in figures.items()
    ]


def _place(state: Path, claims: int) -> Place:
    state.mkdir(parents=True)
    place = Place("p", None, state)
    make_hooks(place)
    held = [
        claims_pb2.Claim(
            claim_id=f"c{number}",
            holder=f"w{number}",
            resources=[claims_pb2.Resource(path=f"src/pkg{number}/**/*.md")],
        )
        for number in range(claims)
    ]
    standing = {"stopped": "", "newest": 9, "live": list(range(9))}
    (state / "guard.json").write_text(guard_text(standing, map(claim_text, held)))
    return place


def _side(command: list[str], said: str) -> Side:
    async def look() -> float:
        return await asyncio.to_thread(_milliseconds, command, said)

    return look


def _milliseconds(command: list[str], said: str) -> float:
    begin = time.perf_counter()
    for _ in range(_LOOKS):
        subprocess.run(command, input=said, text=True, check=False, capture_output=True)
    return (time.perf_counter() - begin) / _LOOKS * 1_000
