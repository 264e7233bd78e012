"""A worker with the real session that works, writes to others and asks for claims all at once."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import grpc.aio
from coord.environment import Environment
from coord.session import SessionSettings, WorkerSession
from coord.v1 import claims_pb2, common_pb2
from coord.v1 import coordinator_pb2 as pb

_PATHS = ("src/**", "src/a.py", "docs/*", "docs/b.md")


@dataclass
class Talk:
    """What the workers of one history have said and heard.

    Attributes:
        sent: Recipients of the messages that were acknowledged to their sender, by id.
        refused: Ids of messages that the sender was told are not possible.
        heard: How often a worker's handler got each message.
    """

    sent: dict[str, str] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    heard: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def missing(self) -> list[str]:
        """Messages that were acknowledged to their sender and have not reached their recipient."""
        return [
            message_id
            for message_id, recipient in self.sent.items()
            if message_id not in self.refused and not self.heard[recipient, message_id]
        ]

    @property
    def repeated(self) -> list[tuple[str, str]]:
        """Messages that one process has handled more than once."""
        return [key for key, count in self.heard.items() if count > 1]


class Talker:
    """One worker process.

    Args:
        name: Its name.
        channel: Where the coordinator is.
        environment: Chance, for its session.
        chance: Decides what it does.
        talk: What all workers have said and heard.
        project: The project.
        pace_s: About how long one thing that it does takes.
        settings: How patient its session is.
    """

    def __init__(
        self,
        name: str,
        channel: grpc.aio.Channel,
        environment: Environment,
        chance: Random,
        talk: Talk,
        *,
        project: str,
        pace_s: float,
        settings: SessionSettings | None = None,
    ) -> None:
        self.name = name
        self._chance = chance
        self._talk = talk
        self._pace_s = pace_s
        self._held: dict[int, common_pb2.AttemptRef] = {}
        self._work: dict[int, asyncio.Task[None]] = {}
        self._answers: dict[str, asyncio.Queue[str]] = {}
        self._doings: list[asyncio.Task[None]] = []
        hello = pb.Hello(
            project=project, worker=name, instance=environment.new_id("instance-"), slots=2
        )
        self._session = WorkerSession(
            channel,
            hello,
            self._on_message,
            lambda: list(self._held.values()),
            environment=environment,
            settings=settings,
        )

    async def run(self) -> None:
        """Stay connected until `leave` is done."""
        await self._session.run()

    def begin(self, peers: Sequence[str], *, letters: int, claims: int) -> None:
        """Begin to write to others, and to claim in two places at once."""
        doings = [self._write(peers, letters), *(self._claim(place, claims) for place in range(2))]
        self._doings = [asyncio.create_task(doing) for doing in doings]

    @property
    def busy(self) -> list[str]:
        """What it waits for: the claims that are not answered, and what else is not done."""
        waiting = [asked for asked, answers in self._answers.items() if answers.empty()]
        return waiting + [f"{self.name}: {one}" for one in self._doings if not one.done()]

    def leave(self) -> None:
        """End the session once everything that was said is acknowledged."""
        for doing in self._doings:
            if doing.done():
                doing.result()
        self._session.leave()

    async def _pause(self) -> None:
        await asyncio.sleep(self._chance.uniform(0, 2 * self._pace_s))

    async def _write(self, peers: Sequence[str], letters: int) -> None:
        for number in range(letters):
            await self._pause()
            message_id, recipient = f"{self.name}-m{number}", self._chance.choice(peers)
            message = pb.WorkerMessage(message_id=message_id, worker=recipient)
            await self._session.send(message)
            self._talk.sent[message_id] = recipient

    async def _claim(self, place: int, claims: int) -> None:
        for number in range(claims):
            await self._pause()
            claim_id = f"{self.name}-c{place}-{number}"
            path = self._chance.choice(_PATHS)
            resource = claims_pb2.Resource(path=path, shared=self._chance.random() < 0.3)
            answers = self._answers[claim_id] = asyncio.Queue()
            self._session.send(claims_pb2.ClaimRequest(claim_id=claim_id, resources=[resource]))
            if await answers.get() == "proceed":
                await self._pause()
                await self._session.send(pb.ClaimRelease(claim_id=claim_id))
            del self._answers[claim_id]

    def _on_message(self, response: pb.ConnectResponse) -> None:
        handlers: dict[str, Callable[[Any], None]] = {
            "assigned": self._assigned,
            "cancel": self._stopped,
            "claim_lost": lambda lost: self._answer(lost.claim.claim_id, "lost"),
            "proceed": lambda proceed: self._answer(proceed.claim.claim_id, "proceed"),
            "refusal": self._refused,
            "revoke": self._stopped,
            "worker_message": self._written_to,
        }
        kind = str(response.WhichOneof("message"))
        if kind in handlers:
            handlers[kind](getattr(response, kind))

    def _answer(self, claim_id: str, answer: str) -> None:
        if claim_id in self._answers:
            self._answers[claim_id].put_nowait(answer)

    def _refused(self, refusal: pb.Refusal) -> None:
        self._talk.refused.add(refusal.id)
        self._answer(refusal.id, "refused")

    def _written_to(self, message: pb.WorkerMessage) -> None:
        self._talk.heard[self.name, message.message_id] += 1

    def _assigned(self, assigned: pb.Assigned) -> None:
        lease = assigned.lease
        token = lease.attempt.fencing_token
        self._held[token] = common_pb2.AttemptRef(task_id=lease.spec.id, fencing_token=token)
        self._work[token] = asyncio.create_task(self._attempt(self._held[token]))

    def _stopped(self, message: pb.Revoke | pb.Cancel) -> None:
        self._held.pop(message.attempt.fencing_token, None)
        work = self._work.pop(message.attempt.fencing_token, None)
        if work is not None:
            work.cancel()

    async def _attempt(self, ref: common_pb2.AttemptRef) -> None:
        self._session.send(pb.Started(attempt=ref))
        await self._pause()
        await self._session.send(pb.Complete(attempt=ref))
        self._held.pop(ref.fencing_token, None)
        self._work.pop(ref.fencing_token, None)
