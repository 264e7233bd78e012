"""`coord clean`: removes what runs have left, and nothing that has neither landed nor been kept."""

from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import click
from coord.errors import from_rpc
from coord.v1 import coordinator_pb2, integrator_pb2, queue_pb2
from coord_host.attach import attach_or_start
from coord_host.endpoint import find
from coord_host.overrides import Overrides
from coord_host.places import Place
from coord_integrator.lock import remove_lock
from coord_integrator.worktrees import delete_tree
from coord_runtime import logs
from coord_runtime.locks import FolderLock
from coord_worker.folders import task_logs
from coord_worker.names import claim
from grpc.aio import AioRpcError

from coord_cli.command import (
    EXIT_FAILED,
    Services,
    UsageProblem,
    friendly_errors,
    json_option,
    place_options,
    run_async,
)
from coord_cli.crew import work_folder
from coord_cli.git import git, run_git
from coord_cli.output import print_json
from coord_cli.remains import (
    LANDING,
    REPORT,
    UNLANDED,
    Remain,
    checked_out,
    delete_refs,
    folders_left,
    landing_left,
    logs_left,
    other_states,
    refs_left,
    reports_left,
    size_of,
)
from coord_cli.snapshot import tasks_of

_LANDED = (integrator_pb2.CHANGE_STATE_LANDED, integrator_pb2.CHANGE_STATE_EMPTY)
_PAGE = 1_000


@dataclass(frozen=True)
class Order:
    """What the user has asked for, and whether services ran then."""

    place: Place
    repo: Path
    target: str
    everything: bool
    discard: Sequence[str]
    unlanded: bool
    dry_run: bool
    as_json: bool
    running: bool


@dataclass
class Tally:
    """What goes, and what stays and why.

    Attributes:
        workers: Those whose worktrees go.
    """

    gone: list[Remain] = field(default_factory=list)
    kept: list[Remain] = field(default_factory=list)
    workers: list[str] = field(default_factory=list)

    def add(self, remains: Iterable[Remain]) -> None:
        """Count what has a reason to stay as kept, and the rest as gone."""
        for one in remains:
            (self.kept if one.why else self.gone).append(one)

    def give_up(self, remain: Remain) -> None:
        """Let something go all the same."""
        self.kept.remove(remain)
        self.gone.append(remain)


@dataclass(frozen=True)
class Landed:
    """What has landed, as the services know it."""

    target: str
    tip: str
    branch: str
    refs: frozenset[str] = frozenset()
    tasks: frozenset[str] = frozenset()


@click.command()
@place_options
@click.option("--target", default="", help="Branch that changes land on.  [default: that of HEAD]")
@click.option("--all", "everything", is_flag=True, help="Leave nothing of Coord's behind.")
@click.option(
    "--discard", multiple=True, metavar="NAME", help="Remove this, though it has not landed."
)
@click.option(
    "--discard-unlanded", "unlanded", is_flag=True, help="Remove all work that has not landed."
)
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@json_option
def clean(
    *,
    place: Place,
    target: str,
    everything: bool,
    discard: tuple[str, ...],
    unlanded: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Remove worktrees, branches, kept work and logs of what has landed.

    What has not landed stays; what is in a worktree is kept as a commit first. Exit codes: 0 done,
    1 --all was refused because something would be lost; --discard names what may be,
    --discard-unlanded means all that agents have left, and nothing that has landed.
    """
    logs.configure("error")
    repo = place.repo or Path()
    with friendly_errors():
        running = find(place) is not None
    order = Order(place, repo, target, everything, discard, unlanded, dry_run, as_json, running)
    run_async(lambda: _clean(order))


async def _clean(order: Order) -> int:
    if order.everything:
        _check_alone(order)
    tally = Tally()
    async with AsyncExitStack() as held:
        services = await _services(order, held)
        landed = await _look(order, services, tally, held)
        _discard(order, tally)
        refused = order.everything and any(one.kind != REPORT for one in tally.kept)
        if refused:
            tally.gone, tally.workers = [], []
        elif order.everything:
            _add_last(order, landed, tally)
        if services is not None and not order.dry_run:
            await _tear_down(services, tally.workers)
    if not order.dry_run:
        _remove(order, tally, everything=order.everything and not refused)
    _tell(order, tally, refused=refused)
    return EXIT_FAILED if refused else 0


def _check_alone(order: Order) -> None:
    if order.running:
        raise UsageProblem("--all: services are running here; end `coord up` or `coord run` first")
    for state in other_states(order.repo, order.place.state):
        raise UsageProblem(
            f"--all: Coord works on this repository from {state}, too; clean that first, with"
            f" --state {state}"
        )


async def _services(order: Order, held: AsyncExitStack) -> Services | None:
    """Return the services, started where none run; None where none ever ran."""
    if not (order.place.state / "integrator").is_dir():
        return None
    overrides: Overrides = {"integrator": {"target": order.target}} if order.target else {}
    # What only answers assigns and lands nothing meanwhile.
    opened = attach_or_start(
        order.place, {} if order.running else overrides, idle=not order.running
    )
    host = await held.enter_async_context(opened)
    return Services.of(order.place.project, host)


async def _look(
    order: Order, services: Services | None, tally: Tally, held: AsyncExitStack
) -> Landed:
    """Look at everything that is there. Nothing is removed, but what is in worktrees is kept."""
    if services is None:
        target = order.target or git(order.repo, "symbolic-ref", "--quiet", "--short", "HEAD")
        landed = Landed(target, target or "HEAD", f"coord/{target}")
    else:
        await _look_at_worktrees(order, services, tally, held)
        landed = await _landed(services)
    leaving = {one.name for one in tally.gone}
    _look_at_refs(order, landed, tally, leaving)
    _look_at_logs(order, landed, tally)
    if order.everything:
        tally.add(one for one in landing_left(order.repo, landed.target) if one.why)
    if not order.running:
        known = leaving.union(one.name for one in tally.kept)
        folders = folders_left(order.place.state / "worktrees")
        tally.add(one for one in folders if one.name not in known)
    return landed


async def _look_at_worktrees(
    order: Order, services: Services, tally: Tally, held: AsyncExitStack
) -> None:
    request = integrator_pb2.ListWorktreesRequest(project=services.project)
    busy = await _busy(services)
    places = checked_out(order.repo)
    for worktree in (await services.integrator.ListWorktrees(request)).worktrees:
        # Held until it is gone: no worker of that name begins meanwhile.
        claimed = claim(work_folder(order.place), [worktree.worker])
        if claimed is None or worktree.worker in busy:
            tally.kept.append(Remain("worktree", worktree.path, why="its worker is at work"))
            continue
        held.enter_context(claimed)
        place = places.get(f"refs/heads/{worktree.branch}", worktree.path)
        remain = await _look_at_worktree(services, worktree, place)
        tally.add([remain])
        if not remain.why:
            tally.workers.append(worktree.worker)


async def _look_at_worktree(
    services: Services, worktree: integrator_pb2.Worktree, place: str
) -> Remain:
    """Keep what is in a worktree; `place` is where git has its branch checked out."""
    if place != worktree.path:
        why = f"was moved there; take what you want, then: git worktree remove {place}"
        return Remain("worktree", place, size_of(Path(place)), why)
    request = integrator_pb2.SnapshotWorktreeRequest(
        project=services.project, worker=worktree.worker
    )
    try:
        await services.integrator.SnapshotWorktree(request)
    except AioRpcError as error:
        if (problem := from_rpc(error)).reason != "NOT_KEPT":
            raise
        return Remain("worktree", place, size_of(Path(place)), problem.message)
    size = size_of(Path(place))
    return Remain("worktree" if size else "worktree without a folder", place, size)


async def _busy(services: Services) -> set[str]:
    """Return the workers that are connected or have an attempt, wherever they run."""
    request = coordinator_pb2.ListWorkersRequest(project=services.project)
    workers = (await services.coordinator.ListWorkers(request)).workers
    return {one.name for one in workers if one.connected or one.attempts}


async def _landed(services: Services) -> Landed:
    complete = await tasks_of(services, states=[queue_pb2.TASK_STATE_COMPLETE])
    refs: set[str] = set()
    token = ""
    while True:
        request = integrator_pb2.ListChangesRequest(
            project=services.project, page_size=_PAGE, page_token=token, states=_LANDED
        )
        page = await services.integrator.ListChanges(request)
        refs.update(change.wip_ref for change in page.changes)
        token = page.next_page_token
        if not token:
            break
    queue = page.merge_queue
    branch = f"coord/{queue.target}"
    tasks = frozenset(task.spec.id for task in complete)
    return Landed(queue.target, queue.target_commit, branch, frozenset(refs), tasks)


def _look_at_refs(order: Order, landed: Landed, tally: Tally, leaving: set[str]) -> None:
    found = refs_left(order.repo, landed.tip, landed.branch, landed.refs, leaving)
    if order.running or other_states(order.repo, order.place.state):
        # A branch that is there may be about to get its worktree.
        found = [_spare_branch(one) for one in found]
    tally.add(found)


def _look_at_logs(order: Order, landed: Landed, tally: Tally) -> None:
    """Look at the logs and the reports of what has landed, and the services' old log."""
    state = order.place.state
    logs = [task_logs(work_folder(order.place), task) for task in sorted(landed.tasks)]
    tally.add(logs_left([*logs, state / "run.log.1"]))
    tally.add(reports_left(state / "reports", landed.tasks))


def _spare_branch(remain: Remain) -> Remain:
    if remain.kind != "branch" or remain.why:
        return remain
    return replace(remain, why="services are running, and may be about to use it")


def _discard(order: Order, tally: Tally) -> None:
    """Let go what the user has named, and nothing that he has not."""
    named = {one.name: one for one in tally.kept if one.kind != "worktree"}
    for name in order.discard:
        remain = named.get(name)
        if remain is None:
            raise UsageProblem(f"--discard {name}: there is no such thing; see --dry-run --all")
        tally.give_up(remain)
    if order.unlanded:
        for remain in list(tally.kept):
            if remain.why == UNLANDED or remain.kind == "folder":
                tally.give_up(remain)


def _add_last(order: Order, landed: Landed, tally: Tally) -> None:
    """Add the rest: the state folder and the last refs. Nothing is in them that is nowhere else."""
    state = order.place.state
    tally.kept = []
    tally.add(replace(one, why="") for one in landing_left(order.repo, landed.target))
    commit = git(order.repo, "rev-parse", "--verify", "--quiet", LANDING)
    if commit:
        tally.gone.append(Remain("branch", LANDING, commit=commit))
    if state.exists():
        counted = sum(one.size for one in tally.gone)
        tally.gone.append(Remain("folder", str(state), size_of(state) - counted))


async def _tear_down(services: Services, workers: Sequence[str]) -> None:
    for worker in workers:
        await services.integrator.TeardownWorktree(
            integrator_pb2.TeardownWorktreeRequest(project=services.project, worker=worker)
        )


def _remove(order: Order, tally: Tally, *, everything: bool) -> None:
    """Remove what is left of what goes, once the worktrees are gone.

    Whoever starts services meanwhile is refused by the lock, or begins anew.
    """
    state = order.place.state
    lock = FolderLock(state / "host") if everything and state.exists() else None
    delete_refs(order.repo, [one for one in tally.gone if one.commit])
    for path in (Path(one.name) for one in tally.gone if not one.commit):
        if path.is_dir():
            delete_tree(path)
        else:
            path.unlink(missing_ok=True)
    if lock is not None:
        lock.release()
    if everything:
        run_git(order.repo, "worktree", "prune")
        folder = git(order.repo, "rev-parse", "--path-format=absolute", "--git-common-dir")
        remove_lock(Path(folder))


def _tell(order: Order, tally: Tally, *, refused: bool) -> None:
    if order.as_json:
        print_json({"removed": _rows(tally.gone), "kept": _rows(tally.kept), "refused": refused})
        return
    verb = "would remove" if order.dry_run else "removed"
    for one in tally.gone:
        click.echo(f"{verb} {one.kind} {one.name}{_size(one)}")
    for one in tally.kept:
        click.echo(f"left {one.kind} {one.name}{_size(one)}{one.why and ': '}{one.why}")
    if not refused:
        total = sum(one.size for one in tally.gone)
        click.echo(f"{verb} {len(tally.gone)}, {_amount(total)} in all; left {len(tally.kept)}")
    else:
        click.echo(
            "coord: --all is refused, and nothing was removed: land what is left, or name each of"
            " it, too, with --discard NAME, or --discard-unlanded for all of them",
            err=True,
        )


def _rows(remains: Sequence[Remain]) -> list[dict[str, object]]:
    return [
        {"kind": one.kind, "name": one.name, "bytes": one.size, "why": one.why} for one in remains
    ]


def _size(remain: Remain) -> str:
    return f" ({_amount(remain.size)})" if remain.size else ""


def _amount(size: int) -> str:
    return f"{size / 2**20:.1f} MiB" if size >= 2**20 else f"{size / 2**10:.0f} KiB"
