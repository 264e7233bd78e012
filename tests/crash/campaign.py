"""Kills services, workers and agents of the demo at random, then checks that nothing is lost.

`make crash RUNS=20` runs seeds 0 to 19, embedded and split; each history prints a line.
"""

import argparse
import json
import os
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import IO, Any

import psutil
from coord.v1 import queue_pb2 as pb
from coord_host.places import locate
from coord_runtime.event_log import events_of

from demo import verify
from demo.run import make_repository
from tests.simulation.checkers import HistoryChecker

_ROOT = Path(__file__).parents[2]
_COORD = str(Path(sys.executable).with_name("coord"))
_SERVICES = ("queue", "limiter", "ledger", "integrator", "coordinator")
_KILLS_MAX = 6
_FINISH_S = 150.0
_LEAVE_S = 20.0
# Not all tasks of the demo are meant to land.
_ENDS = {"rewrite": "FAILED", "rewrite-notes": "ABORTED"}


@dataclass
class Crashes:
    """One seeded history of the demo.

    Attributes:
        folder: Where the project and the state are; nothing else is there.
        seed: Decides what is killed when.
        split: Whether each service is a process of its own.
        kills: How many of each kind were killed.
    """

    folder: Path
    seed: int
    split: bool
    kills: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._chance = Random(self.seed)
        self._repo = make_repository(self.folder / "textkit")
        self._journal = self.folder / "journal"
        self._journal.touch()
        self._environment = os.environ | {
            "DEMO_JOURNAL": str(self._journal),
            "XDG_STATE_HOME": str(self.folder / "state"),
        }
        self._log = (self.folder / "log").open("a")
        os.environ["XDG_STATE_HOME"] = str(self.folder / "state")
        self._place = locate(self._repo)

    def run(self) -> list[str]:
        """Run the history; return what is wrong with it."""
        up = self._start_services() if self.split else None
        try:
            problems = self._run_job(up)
        finally:
            if up is not None:
                _end(up)
            self._log.close()
        return problems + self._broken() + self._leftovers()

    def _run_job(self, up: "subprocess.Popen[bytes] | None") -> list[str]:
        job = self._start_job()
        while sum(self.kills.values()) < _KILLS_MAX:
            with suppress(subprocess.TimeoutExpired):
                job.wait(self._chance.uniform(0.3, 5.0))
                break
            self._kill_something(job, up)
            if job.poll() is not None:
                job = self._start_job()
        try:
            status = job.wait(_FINISH_S)
        except subprocess.TimeoutExpired:
            job.kill()
            job.wait()
            return ["the run did not finish"]
        # 1: some tasks are not meant to land.
        return [] if status == 1 else [f"the run ended with status {status}"]

    def _start_job(self) -> "subprocess.Popen[bytes]":
        agent = shlex.join([sys.executable, str(_ROOT / "demo" / "agent.py")])
        plan = str(_ROOT / "demo" / "plan.toml")
        options = ["--repo", str(self._repo), "--workers", "4", "--agent", agent]
        return self._start("run", plan, *options, *self._check())

    def _check(self) -> list[str]:
        return ["--check", shlex.join([sys.executable, *verify.CHECK])]

    def _start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        output: IO[Any] = self._log
        output.write(f"$ coord {shlex.join(arguments)}\n")
        output.flush()
        return subprocess.Popen(
            [_COORD, *arguments],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )

    def _start_services(self) -> "subprocess.Popen[bytes]":
        up = self._start("up", "--split", "--repo", str(self._repo), *self._check())
        path = self._place.state / "host" / "endpoint.json"
        deadline = time.monotonic() + 60
        while not path.exists():
            assert time.monotonic() < deadline, "the services did not start"
            time.sleep(0.05)
        return up

    def _kill_something(
        self, job: "subprocess.Popen[bytes]", up: "subprocess.Popen[bytes] | None"
    ) -> None:
        kind = self._chance.choice(("service", "worker", "agent"))
        victims = self._victims(kind, job, up)
        if victims:
            victim = self._chance.choice(victims)
            self._log.write(f"kill -9 {kind} {victim.pid}\n")
            self._log.flush()
            with suppress(psutil.NoSuchProcess):
                victim.kill()
                self.kills[kind] += 1
        if kind == "service" and not self.split:
            job.wait()

    def _victims(
        self, kind: str, job: "subprocess.Popen[bytes]", up: "subprocess.Popen[bytes] | None"
    ) -> list[psutil.Process]:
        if kind == "service" and not self.split:
            return [psutil.Process(job.pid)]
        root = up if kind == "service" and up is not None else job
        wanted = {
            "service": [f"coord_{name}" for name in _SERVICES],
            "worker": ["coord_worker"],
            "agent": [str(_ROOT / "demo" / "agent.py")],
        }[kind]
        try:
            children = psutil.Process(root.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        found = [one for one in children if any(word in _command(one) for word in wanted)]
        return sorted(found, key=lambda one: one.pid)

    def _broken(self) -> list[str]:
        problems = [
            f"{task} has landed {count} times"
            for task, count in verify.landed(self._repo).items()
            if count > 1
        ]
        problems += [
            f"lost: {line.task}: {line.path}: {line.text}"
            for line in verify.lines_lost(self._repo, self._place.state, self._journal)
        ]
        if red := verify.red(self._repo):
            problems.append(f"main is red:\n{red}")
        return problems + self._history()

    def _history(self) -> list[str]:
        """Replay the queue's events; compare the end with what is meant to be."""
        checker = HistoryChecker()
        with closing(sqlite3.connect(self._place.state / "queue" / "queue.db")) as sql:
            pages = sql.execute("SELECT last, body FROM event_pages ORDER BY last").fetchall()
        try:
            for last, page in pages:
                for event in events_of(last, page, pb.QueueEvent):
                    checker.take(event)
        except AssertionError as error:
            return [f"history: {error}"]
        ends = {
            task: pb.TaskState.Name(state).removeprefix("TASK_STATE_")
            for task, state in checker.states.items()
        }
        return [
            f"{task} ended {end}"
            for task, end in ends.items()
            if end != _ENDS.get(task, "COMPLETE")
        ]

    def _leftovers(self) -> list[str]:
        """Tell of processes that go on running."""
        deadline = time.monotonic() + _LEAVE_S
        while left := _processes_of(self.folder):
            if time.monotonic() > deadline:
                return [f"still runs: {_command(one)}" for one in left]
            time.sleep(0.1)
        return []


def _processes_of(folder: Path) -> list[psutil.Process]:
    found = []
    for one in psutil.process_iter():
        with suppress(psutil.Error):
            if str(folder) in f"{_command(one)} {one.environ().get('XDG_STATE_HOME')}":
                found.append(one)
    return [one for one in found if one.pid != os.getpid()]


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def main() -> int:
    """Run the campaign; exit 1 if a history is wrong."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    wrong = 0
    for seed in range(options.first, options.first + options.runs):
        for split in (False, True):
            wrong += _report(seed, split=split)
    print(f"{2 * options.runs - wrong} passed, {wrong} failed")  # noqa: T201 - what the campaign found.
    return 1 if wrong else 0


def _report(seed: int, *, split: bool) -> bool:
    folder = Path(tempfile.mkdtemp(prefix="coord-crash-"))
    crashes = Crashes(folder, seed, split)
    begin = time.monotonic()
    problems = crashes.run()
    row = {
        "seed": seed,
        "form": "split" if split else "embedded",
        "kills": dict(crashes.kills),
        "seconds": round(time.monotonic() - begin, 1),
        "problems": problems,
    }
    if problems:
        row["folder"] = str(folder)
    else:
        shutil.rmtree(folder)
    print(json.dumps(row), flush=True)  # noqa: T201 - likewise.
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
