"""A real Prometheus, with the sample of the docs, scrapes all services."""

import asyncio
import json
import shutil
import socket
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cli_project import Project

SAMPLE = Path("docs/prometheus.yml")
SERVICES = 5
METRICS = (
    "coord_coordinator_claims_held",
    "coord_coordinator_claims_waiting",
    "coord_coordinator_messages_routed_total",
    "coord_coordinator_workers",
)


def free_ports(count: int) -> int:
    """Return the first of some free ports in a row."""
    for first in range(20_000, 30_000, count):
        try:
            sockets = [socket.create_server(("127.0.0.1", first + i)) for i in range(count)]
        except OSError:
            continue
        for one in sockets:
            one.close()
        return first
    raise AssertionError("no free ports")


def ask(port: int, path: str) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/{path}", timeout=5) as answer:
        return json.load(answer)["data"]


@pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="Debian's prometheus is not installed"
)
async def test_prometheus_scrapes_all_services_with_the_sample(tmp_path: Path) -> None:
    project, first = Project(tmp_path), free_ports(SERVICES + 1)
    sample = SAMPLE.read_text().replace("15s", "1s")
    for number in range(SERVICES):
        target = f"127.0.0.1:{9464 + number}"
        assert target in sample
        sample = sample.replace(target, f"127.0.0.1:{first + number}")
    config = tmp_path / "prometheus.yml"
    config.write_text(sample)
    port = first + SERVICES
    async with project.up("--split", "--metrics-port", str(first)):
        prometheus = await asyncio.create_subprocess_exec(
            "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={tmp_path / 'series'}",
            f"--web.listen-address=127.0.0.1:{port}",
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(60):
                while await asyncio.to_thread(scraped, port) < SERVICES:
                    await asyncio.sleep(0.2)
            for name in METRICS:
                query = urllib.parse.urlencode({"query": name})
                assert (await asyncio.to_thread(ask, port, f"query?{query}"))["result"], name
        finally:
            prometheus.terminate()
            await prometheus.wait()


def scraped(port: int) -> int:
    """Return how many targets are up."""
    try:
        targets = ask(port, "targets")["activeTargets"]
    except OSError:
        return 0
    return sum(target["health"] == "up" for target in targets)
