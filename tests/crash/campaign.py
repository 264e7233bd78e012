"""Damages a run of the demo at random, then checks that nothing is lost.

Services, workers and agents are killed, at any moment or right before they touch the disk, and
stand still for up to two and a half minutes; the clock jumps, the disk of the state fills up, and
a second instance is started on the same state. `make crash RUNS=20` runs seeds 0 to 19, embedded
and split; each history prints a line.
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
import tomllib
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import IO

import psutil
from coord.v1 import queue_pb2 as pb
from coord_host.endpoint import find
from coord_host.places import locate
from coord_runtime.event_log import events_of

from demo import verify
from demo.run import DONE, ENDS, PLAN, make_repository
from tests.crash import books
from tests.crash.faults import Faults, put_on_own_disk
from tests.integration.test_odd_repositories import NAMESPACE
from tests.simulation.checkers import HistoryChecker, spec_in

_ROOT = Path(__file__).parents[2]
_COORD = str(Path(sys.executable).with_name("coord"))
_SERVICES = ("queue", "limiter", "ledger", "integrator", "coordinator")
_FAULTS_MAX, _FAULTS_QUICK = 6, 3
# A program that stands still for minutes is waited for.
_FINISH_S = 450.0
_START_S = 60.0
_LEAVE_S = 20.0
_RESTARTS_MAX = 3
_SECOND_S = 15.0
# How a run ends whose tasks have ended, some of them badly, and one that has to be started again.
_DONE, _AGAIN = 1, 3
# Why second services do not start; the disk may be full at that moment.
_REFUSALS = ("FOLDER_LOCKED", "DISK_FULL")
_KILLS = (*("kill",) * 6, *("armed",) * 3)
_OTHERS = ("stop", "stop", "clock", "second")
_TASKS = [task["id"] for task in tomllib.loads(PLAN.read_text())["tasks"]]


@dataclass
class Crashes:
    """One seeded history of the demo.

    Attributes:
        folder: Where the project and the state are; nothing else is there.
        seed: Decides what happens when.
        split: Whether each service is a process of its own.
        own_disk: Whether the state gets a small disk of its own, which fills up at times.
        quick: Whether there are only kills, and few of them.
        faults: How often each kind of thing has happened. Those that are `armed` may find nobody;
            `died` is how many programs have died of them.
    """

    folder: Path
    seed: int
    split: bool
    own_disk: bool = False
    quick: bool = False
    faults: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._chance = Random(self.seed)
        self._repo = make_repository(self.folder / "textkit")
        self._journal = self.folder / "journal"
        self._journal.touch()
        self._spent = self.folder / "spent"
        self._spent.touch()
        self._damage = Faults(self.folder / "faults", self._chance)
        state = self.folder / "state"
        self._environment = os.environ | self._damage.environment
        self._environment |= {"DEMO_JOURNAL": str(self._journal), "DEMO_SPENT": str(self._spent)}
        self._environment |= {"XDG_STATE_HOME": str(state)}
        self._log = (self.folder / "log").open("a")
        os.environ["XDG_STATE_HOME"] = str(state)
        self._place = locate(self._repo)
        if self.own_disk:
            put_on_own_disk(state)
        others = [*_OTHERS, *(["disk"] if self.own_disk else [])]
        self._wrong: list[str] = []
        self._kinds = [*_KILLS, *(others if not self.quick else [])]
        self._up: subprocess.Popen[bytes] | None = None
        self._job: subprocess.Popen[bytes] | None = None

    def run(self) -> list[str]:
        """Run the history; return what is wrong with it."""
        try:
            problems = self._run_job()
        finally:
            self._damage.end()
            for process in (self._job, self._up):
                if process is not None:
                    _end(process)
            self._log.close()
        if died := self._damage.died:
            self.faults["died"] = len(died)
        return problems + self._wrong + self._broken() + self._leftovers()

    def _run_job(self) -> list[str]:
        self._keep_running()
        while sum(self.faults.values()) < (_FAULTS_QUICK if self.quick else _FAULTS_MAX):
            if self._wait(self._chance.uniform(0.3, 5.0)) == _DONE:
                break
            self._do_something()
            self._keep_running()
        for _ in range(_RESTARTS_MAX):
            status = self._wait(_FINISH_S)
            if status is None:
                return ["the run did not finish"]
            if status == _DONE:
                return []
            # On a disk that is full a run says so and ends; the next may not.
            self._damage.outlast()
            self._keep_running()
        return [f"the run ended with status {status}"]

    def _keep_running(self) -> None:
        """Start what is not there any more."""
        if self.split and (self._up is None or self._up.poll() is not None):
            self._up = self._start_services()
        if self._job is None or self._job.poll() is not None:
            self._job = self._start_job()

    def _wait(self, seconds: float) -> int | None:
        """Wait for the run; return how it has ended, None where it goes on."""
        assert self._job is not None
        deadline = time.monotonic() + seconds
        while self._job.poll() is None and time.monotonic() < deadline:
            self._damage.pass_by()
            time.sleep(0.05)
        status = self._job.poll()
        # Some tasks are not meant to land; but it is the same where the services have gone.
        return status if status != _DONE or not self._unfinished() else _AGAIN

    def _do_something(self) -> None:
        kind = self._chance.choice(self._kinds)
        match kind:
            case "kill" | "stop":
                told = self._hit(kind)
            case "armed":
                told = self._damage.arm()
            case "clock":
                told = self._damage.move_clock()
            case "disk":
                told = self._damage.fill(self.folder / "state")
            case _:
                told = self._start_second()
        if told:
            self.faults[kind] += 1
            self._log.write(f"{told}\n")
            self._log.flush()

    def _hit(self, kind: str) -> str:
        part = self._chance.choice(("service", "worker", "agent"))
        victims = self._victims(part)
        if not victims:
            return ""
        victim = self._chance.choice(victims)
        told = self._damage.kill(victim) if kind == "kill" else self._damage.stop(victim)
        if not told:
            return ""
        if kind == "kill" and part == "service" and not self.split and self._job is not None:
            self._job.wait()
        return f"{told}: {part}"

    def _start_second(self) -> str:
        """Start services beside those that run: they say so, and end.

        Nothing is told where the first ones have ended meanwhile, or the second ones were killed.
        """
        first = self._up if self.split else self._job
        assert first is not None
        if find(self._place) is None:
            return ""
        output = self.folder / "second"
        with output.open("w") as file:
            second = self._start("up", "--repo", str(self._repo), *self._check(), output=file)
            with suppress(subprocess.TimeoutExpired):
                second.wait(_SECOND_S)
        status = second.poll()
        _end(second)
        said = output.read_text()
        self._log.write(said)
        if first.poll() is not None or status == -signal.SIGKILL:
            return ""
        if not status or not any(reason in said for reason in _REFUSALS):
            self._wrong.append(f"a second instance ended with status {status}: {said}")
        return "second instance"

    def _start_job(self) -> "subprocess.Popen[bytes]":
        agent = shlex.join([sys.executable, str(_ROOT / "demo" / "agent.py")])
        options = ["--repo", str(self._repo), "--workers", "4", "--agent", agent]
        return self._start("run", str(PLAN), *options, *self._check())

    def _check(self) -> list[str]:
        return ["--check", shlex.join([sys.executable, *verify.CHECK])]

    def _start(self, *arguments: str, output: IO[str] | None = None) -> "subprocess.Popen[bytes]":
        self._log.write(f"$ coord {shlex.join(arguments)}\n")
        self._log.flush()
        output = output or self._log
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
        deadline = time.monotonic() + _START_S
        while find(self._place) is None:
            self._damage.pass_by()
            if up.poll() is not None:
                up = self._start("up", "--split", "--repo", str(self._repo), *self._check())
            assert time.monotonic() < deadline, "the services did not start"
            time.sleep(0.05)
        return up

    def _victims(self, part: str) -> list[psutil.Process]:
        assert self._job is not None
        if part == "service" and not self.split:
            return [psutil.Process(self._job.pid)] if self._job.poll() is None else []
        root = self._up if part == "service" and self._up is not None else self._job
        wanted = {
            "service": [f"coord_{name}" for name in _SERVICES],
            "worker": ["coord_worker"],
            "agent": [str(_ROOT / "demo" / "agent.py")],
        }[part]
        try:
            children = psutil.Process(root.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        found = [one for one in children if any(word in _command(one) for word in wanted)]
        return sorted(found, key=lambda one: one.pid)

    def _broken(self) -> list[str]:
        """Replay the queue's events; compare what they say with plan, money and git."""
        state, problems = self._place.state, self._unfinished()
        with self._queue() as sql:
            checker = HistoryChecker(partial(spec_in, sql))
            try:
                for event in self._events():
                    checker.take(event)
            except AssertionError as error:
                problems.append(f"history: {error}")
        problems += books.wrong(state, self._spent, checker.completed)
        try:
            return problems + verify.problems(self._repo, state, self._journal, checker.completed)
        except RuntimeError as error:  # A repository that git cannot read.
            return [*problems, str(error)]

    def _unfinished(self) -> list[str]:
        """Return the tasks that have not ended as they are meant to."""
        ends: dict[str, tuple[str, str]] = {}
        for event in self._events():
            state = pb.TaskState.Name(event.to_state).removeprefix("TASK_STATE_")
            reason = pb.FailureReason.Name(event.reason).removeprefix("FAILURE_REASON_")
            if event.to_state != event.from_state:
                ends[event.task_id] = state, reason
        return [
            f"{task} ended {': '.join(ends.get(task, ['nowhere']))}"
            for task in _TASKS
            if ends.get(task) != ENDS.get(task, DONE)
        ]

    def _events(self) -> Iterator[pb.QueueEvent]:
        with self._queue() as sql:
            pages = sql.execute("SELECT last, body FROM event_pages ORDER BY last").fetchall()
        for last, page in pages:
            yield from events_of(last, page, pb.QueueEvent)

    def _queue(self) -> closing[sqlite3.Connection]:
        path = f"file:{self._place.state}/queue/queue.db?mode=ro"
        return closing(sqlite3.connect(path, uri=True))

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
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def main() -> int:
    """Run the campaign; exit 1 if a history is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.inside:
        # Where disks can be mounted that nobody else sees, and that go with this process.
        command = ["unshare", *NAMESPACE, sys.executable, "-m", "tests.crash.campaign", "--inside"]
        os.execvp(command[0], [*command, *sys.argv[1:]])
    wrong = 0
    for seed in range(options.first, options.first + options.runs):
        for split in (False, True):
            wrong += _report(seed, split=split)
    print(f"{2 * options.runs - wrong} passed, {wrong} failed")  # noqa: T201 - what the campaign found.
    return 1 if wrong else 0


def _report(seed: int, *, split: bool) -> bool:
    folder = Path(tempfile.mkdtemp(prefix="coord-crash-"))
    crashes = Crashes(folder, seed, split, own_disk=True)
    begin = time.monotonic()
    try:
        problems = crashes.run()
    except Exception:  # noqa: BLE001 - the other histories are to be seen, too.
        problems = [traceback.format_exc()]
    row = {
        "seed": seed,
        "form": "split" if split else "embedded",
        "faults": dict(crashes.faults),
        "seconds": round(time.monotonic() - begin, 1),
        "problems": problems,
    }
    if problems:
        row["folder"] = str(folder)
        shutil.copytree(folder / "state", folder / "state-kept", symlinks=True)
    # Lazily: where a history has broken off, programs of it may be left.
    subprocess.run(["umount", "--lazy", str(folder / "state")], check=True)
    if not problems:
        shutil.rmtree(folder)
    print(json.dumps(row), flush=True)  # noqa: T201 - likewise.
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
