"""One attempt at one task: an agent is run in the attempt's worktree, watched, and judged."""

import asyncio
import contextlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum, auto
from pathlib import Path

from coord.environment import Environment
from coord.identity import Identity
from coord.room import full_disk
from coord.session import Report
from coord.texts import MESSAGE_BYTES_MAX, cut
from coord.times import SECOND, duration_ns, timestamp
from coord.v1 import common_pb2, coordinator_pb2, queue_pb2

from coord_worker import processes
from coord_worker.agent_files import open_to_append
from coord_worker.agents import Agent, missing
from coord_worker.answers import Answer, Ended
from coord_worker.config import WorkerConfig
from coord_worker.folders import AttemptFolder, ProcessRecord, encode, log_path, worker_folder
from coord_worker.money import expense_line
from coord_worker.orphans import Orphans
from coord_worker.output import OutputLog, Reader, Tail
from coord_worker.prompts import handoff_json, prompt_bytes
from coord_worker.reports import Expenses, ProgressNotes
from coord_worker.results import read_result
from coord_worker.variables import agent_environment, budget_usd
from coord_worker.watched import WatchedFile

_POLL_S = 0.15
_PIPE_WAIT_S = 2.0
# The worktree of a lost attempt may be wanted by the next one at once.
_LOST_GRACE_S = 1.0
_ANSWER_BYTES_MAX = 16 * 2**20
_ERRORS_BYTES_MAX = 64 * 2**10
_DETAIL_BYTES_MAX = 16 * 2**10
# Where a provider's limit was hit and nobody says until when.
_RATE_LIMIT_WAIT_NS = 60 * SECOND


class Stop(Enum):
    """Why an attempt is stopped before its agent ends."""

    LOST = auto()
    OUT_OF_BUDGET = auto()
    RELEASED = auto()
    TIMEOUT = auto()


@dataclass(frozen=True)
class Setting:
    """What all attempts of a worker share."""

    identity: Identity
    config: WorkerConfig
    agent: Agent
    environment: Environment
    send: Callable[[Report], object]
    orphans: Orphans


class Attempt:
    """Runs an agent for one assignment.

    Args:
        assigned: What is to be done, and where.
        setting: What all attempts of the worker share.

    Attributes:
        ref: Which attempt it is.
    """

    def __init__(self, assigned: coordinator_pb2.Assigned, setting: Setting) -> None:
        lease, config = assigned.lease, setting.config
        token = lease.attempt.fencing_token
        self.ref = common_pb2.AttemptRef(task_id=lease.spec.id, fencing_token=token)
        self._assigned, self._lease = assigned, lease
        self._setting, self._config = setting, config
        self._why: Stop | None = None
        self._ended_itself = False
        self._stopped = asyncio.Event()
        self._marker = setting.environment.new_id("attempt-")
        workers = worker_folder(config.folder, setting.identity.worker)
        self._files = AttemptFolder(workers / str(token))
        self._expenses = Expenses(self.ref, setting.send)
        self._notes = ProgressNotes(self.ref, setting.send, setting.environment)
        self._watched = (
            WatchedFile(self._files.progress, self._notes.add_line),
            WatchedFile(self._files.cost, self._expenses.add_line),
        )

    def stop(self, why: Stop) -> None:
        """End the agent. The first reason counts, except that a lost attempt stays lost."""
        if self._why is None or why is Stop.LOST:
            self._why = why
        self._stopped.set()

    async def run(self) -> Report | None:
        """Run the agent to its end.

        Returns:
            The report that ends the attempt; None where none is wanted. No process of the agent is
            left by then.
        """
        if self._why is not None:
            return self._report(Answer(queue_pb2.FAILURE_REASON_AGENT_ERROR), "")
        try:
            self._prepare()
            answer, output = self._unavailable(), ""
            if answer is None:
                with self._setting.orphans.attempt():
                    answer, output = await self._run_agent()
        except OSError as error:
            message = f"the agent could not be started: {error}"
            answer, output = Answer(queue_pb2.FAILURE_REASON_AGENT_ERROR, message), ""
        return self._report(answer, output)

    def clean_up(self) -> None:
        """Remove the files of the attempt; for when its report is acknowledged."""
        shutil.rmtree(self._files.path, ignore_errors=True)

    @property
    def _folder(self) -> Path:
        if self._assigned.HasField("worktree"):
            return Path(self._assigned.worktree.path)
        return self._config.folder / "scratch" / encode(self.ref.task_id)

    def _prepare(self) -> None:
        self.clean_up()
        self._files.path.mkdir(parents=True)
        self._files.prompt.write_bytes(prompt_bytes(self._lease))
        if self._lease.HasField("previous"):
            self._files.handoff.write_text(handoff_json(self._lease.previous))
        if not self._assigned.HasField("worktree"):
            self._folder.mkdir(parents=True, exist_ok=True)

    def _unavailable(self) -> Answer | None:
        command = missing(self._setting.agent, self._folder)
        if not command:
            return None
        message = (
            f"the agent's command {command!r} is not there: install it; a script is either"
            " committed, so that worktrees have it, or named by an absolute path"
        )
        return Answer(queue_pb2.FAILURE_REASON_AGENT_UNAVAILABLE, message)

    async def _run_agent(self) -> tuple[Answer, str]:
        path = log_path(self._config.folder, self.ref.task_id, self._lease.attempt.number)
        log = OutputLog(path, self._config.output_bytes_max)
        stdout, stderr = Tail(_ANSWER_BYTES_MAX), Tail(_ERRORS_BYTES_MAX)
        try:
            running = await processes.start(self._command(), self._keep_record)
            readers = (Reader(running.stdout, log, stdout), Reader(running.stderr, log, stderr))
            try:
                await self._watch(running.process)
            finally:
                orphans = self._setting.orphans
                await processes.end(running.record, self._grace_s, orphans=orphans)
            exit_status = await running.process.wait()
            for reader in readers:
                await reader.wait(_PIPE_WAIT_S)
            self._finish_files(log)
        finally:
            log.close()
        now_ns = self._setting.environment.now_ns()
        answer = self._read_answer(Ended(exit_status, stdout.bytes(), stderr.bytes(), now_ns))
        return answer, log.last_lines(_DETAIL_BYTES_MAX)

    def _command(self) -> processes.Command:
        identity, folder = self._setting.identity, self._folder
        argv = self._setting.agent.command(budget_usd(self._assigned))
        variables = agent_environment(
            identity,
            self._config,
            self._assigned,
            self._files,
            folder=folder,
            marker=self._marker,
        )
        return processes.Command(argv, folder, variables)

    def _keep_record(self, pid: int, created: float) -> ProcessRecord:
        task_id, token = self.ref.task_id, self.ref.fencing_token
        record = ProcessRecord(task_id, token, pid, created, self._marker)
        record.write(self._files.record)
        return record

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        loop = asyncio.get_running_loop()
        limit_ns = duration_ns(self._lease.spec.timeout)
        deadline = loop.time() + (limit_ns / SECOND if limit_ns else float("inf"))
        ended = asyncio.create_task(process.wait())
        stopped = asyncio.create_task(self._stopped.wait())
        try:
            while not (ended.done() or stopped.done()):
                pause = min(_POLL_S, max(deadline - loop.time(), 0))
                ends = (ended, stopped)
                await asyncio.wait(ends, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
                self._look()
                if loop.time() >= deadline:
                    self.stop(Stop.TIMEOUT)
            self._ended_itself = ended.done()
        finally:
            ended.cancel()
            stopped.cancel()

    def _look(self) -> None:
        for watched in self._watched:
            watched.poll()
        self._notes.report()
        budget = self._assigned.budget
        if self._assigned.HasField("budget") and self._expenses.nanos > budget.nanos:
            self.stop(Stop.OUT_OF_BUDGET)

    def _finish_files(self, log: OutputLog) -> None:
        for watched in self._watched:
            watched.finish()
        self._notes.report()
        for line in self._expenses.unread:
            # Where who wrote the agent looks.
            told = (
                f"\n[coord: a line of COORD_COST_FILE is no cost, and counts as none: {line!r}]\n"
            )
            log.feed(told.encode(errors="replace"))

    @property
    def _grace_s(self) -> float:
        grace_s = self._config.stop_grace_s
        return min(grace_s, _LOST_GRACE_S) if self._why is Stop.LOST else grace_s

    def _read_answer(self, ended: Ended) -> Answer:
        answer = self._setting.agent.read_answer(ended)
        self._book(answer)
        said = read_result(self._files.result, ended.exit_status, ended.now_ns)
        if answer.reason is None and not self._folder.is_dir():
            # Without this, it would count as done with nothing changed.
            message = "the agent has removed the folder that it worked in"
            return replace(answer, reason=queue_pb2.FAILURE_REASON_AGENT_ERROR, message=message)
        return answer if said is None else replace(said, expenses=answer.expenses)

    def _book(self, answer: Answer) -> None:
        """Report what the agent says that it spent, kept before for this worker's successor."""
        # An agent may have taken its files away; its costs are reported all the same.
        with contextlib.suppress(OSError), open_to_append(self._files.cost) as file:
            file.writelines(f"\n{expense_line(one)}".encode() for one in answer.expenses)
        for expense in answer.expenses:
            self._expenses.add(expense)

    def _report(self, answer: Answer, output: str) -> Report | None:
        # An agent that was done before it could be stopped is done.
        match None if self._ended_itself and self._why is not Stop.LOST else self._why:
            case Stop.LOST:
                return None
            case Stop.RELEASED:
                message = "the worker was told to go before the agent was done"
                return coordinator_pb2.Released(attempt=self.ref, message=message)
            case Stop.TIMEOUT:
                limit_s = duration_ns(self._lease.spec.timeout) / SECOND
                message = f"the agent was not done after {limit_s:g} s"
                return self._failed(Answer(queue_pb2.FAILURE_REASON_TIMEOUT, message), output)
            case Stop.OUT_OF_BUDGET:
                message = "the budget is spent"
                return self._failed(Answer(queue_pb2.FAILURE_REASON_OUT_OF_BUDGET, message), output)
        if answer.reason is not None:
            return self._failed(answer, output)
        message = cut(answer.message, MESSAGE_BYTES_MAX)
        return coordinator_pb2.Complete(attempt=self.ref, message=message)

    def _failed(self, answer: Answer, output: str) -> Report:
        full = full_disk(self._config.folder)
        if full and answer.reason == queue_pb2.FAILURE_REASON_AGENT_ERROR:
            # That may be why: it is not held against the task.
            return coordinator_pb2.Released(attempt=self.ref, message=full)
        failed = coordinator_pb2.Failed(
            attempt=self.ref,
            reason=answer.reason,
            message=cut(answer.message, MESSAGE_BYTES_MAX),
            detail=cut(output, _DETAIL_BYTES_MAX),
        )
        not_before_ns = answer.not_before_ns
        if answer.reason == queue_pb2.FAILURE_REASON_RATE_LIMITED and not_before_ns is None:
            not_before_ns = self._setting.environment.now_ns() + _RATE_LIMIT_WAIT_NS
        if not_before_ns is not None:
            failed.not_before.CopyFrom(timestamp(not_before_ns))
        return failed
