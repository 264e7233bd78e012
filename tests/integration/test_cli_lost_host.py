"""A run whose services, started by another command, break while that command ends."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from coord_cli import errand as errands
from coord_cli.crew import Crew
from coord_cli.job import Patience
from coord_cli.plan import load_plan
from coord_host.endpoint import Endpoint, publish
from coord_host.overrides import Overrides
from coord_host.places import Place
from coord_runtime.locks import FolderLock


class Broken(grpc.GenericRpcHandler):
    """Fails every call."""

    def service(self, _: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(self._fail)

    async def _fail(self, _: Any, context: Any) -> None:
        await context.abort(grpc.StatusCode.INTERNAL, "the database is closed")


class Elsewhere:
    """A host in another process, of which only the way to it is here."""

    embedded = False

    def __init__(self, place: Place, address: str) -> None:
        self.place, self.addresses = place, {"queue": address}
        self.overrides: Overrides = {}
        self._channel = grpc.aio.insecure_channel(address)

    def channel(self, _: str) -> grpc.aio.Channel:
        return self._channel

    def mint_worker(self, name: str) -> str:
        return name

    async def drain(self, deadline_s: float) -> None:
        pass

    async def close(self) -> None:
        await self._channel.close()


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Elsewhere]:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Broken(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    elsewhere = Elsewhere(Place("p", None, tmp_path / "state"), f"127.0.0.1:{port}")
    yield elsewhere
    await elsewhere.close()
    await server.stop(0)


def errand(host: Elsewhere, folder: Path) -> errands.Errand:
    (folder / "plan.toml").write_text('[[tasks]]\nid = "a"\nprompt = "x"\n')
    plan = load_plan(folder / "plan.toml")
    order = errands.Order(
        host.place, plan, Crew([], "true"), {}, Patience(), retry_failed=False, as_json=True
    )
    return errands.Errand(order)


async def test_what_breaks_with_the_end_of_its_host_is_tried_elsewhere(
    tmp_path: Path, host: Elsewhere
) -> None:
    assert await errand(host, tmp_path).go_on(host) is None


async def test_what_breaks_at_a_host_that_stays_is_told(
    tmp_path: Path, host: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errands, "_END_S", 0)
    lock = FolderLock(host.place.state / "host")
    publish(host.place, Endpoint(lock_holder(host.place), host.addresses, {}, {}))
    with pytest.raises(grpc.aio.AioRpcError, match="the database is closed"):
        await errand(host, tmp_path).go_on(host)
    lock.release()


def lock_holder(place: Place) -> int:
    return int((place.state / "host/lock").read_text())
