"""`coord clean`: removes what runs have left, and nothing that has neither landed nor been kept."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import click
from coord.v1 import coordinator_pb2, integrator_pb2, queue_pb2
from coord_host import Overrides, Place, attach_or_start, find
from coord_integrator.worktrees import delete_tree
from coord_runtime import logs
from coord_runtime.locks import FolderLock
from coord_worker.folders import task_logs
from coord_worker.names import claim

from coord_cli.command import (
    EXIT_FAILED,
    Services,
    UsageProblem,
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
    Remain,
    delete_refs,
    folders_left,
    landing_left,
    logs_left,
    refs_left,
    reports_left,
    size_of,
)
from coord_cli.snapshot import tasks_of

_LANDED = (integrator_pb2.CHANGE_STATE_LANDED, integrator_pb2.CHANGE_STATE_EMPTY)
_PAGE = 1_000


@dataclass(frozen=True)
class Order:
    """What the user has asked for."""

    place: Place
    repo: Path
    target: str
    everything: bool
    discard: Sequence[str]
    dry_run: bool
    as_json: bool


@dataclass
class Tally:
    """What went, and what stays and why."""

    gone: list[Remain] = field(default_factory=list)
    kept: list[Remain] = field(default_factory=list)


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
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@json_option
def clean(
    *,
    place: Place,
    target: str,
    everything: bool,
    discard: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
) -> None:
    """Remove worktrees, branches, kept work and logs of what has landed.

    What has not landed stays; what is in a worktree is kept as a commit first. Exit codes: 0 done,
    1 --all was refused because something would be lost; --discard names what may be.
    """
    logs.configure("error")
    repo = place.repo or Path()
    order = Order(place, repo, target, everything, discard, dry_run, as_json)
    run_async(lambda: _clean(order))


async def _clean(order: Order) -> int:
    if order.everything and find(order.place) is not None:
        raise UsageProblem("--all: services are running here; end `coord up` or `coord run` first")
    tally = Tally()
    landed = await _with_services(order, tally)
    _clean_refs(order, landed, tally)
    _clean_logs(order, landed, tally)
    if order.everything:
        tally.kept += landing_left(order.repo, landed.target)
    _discard(order, tally)
    refused = order.everything and any(one.why for one in tally.kept if one.kind != REPORT)
    if order.everything and not refused:
        _remove_state(order, tally)
    _tell(order, tally, refused=refused)
    return EXIT_FAILED if refused else 0


async def _with_services(order: Order, tally: Tally) -> Landed:
    """Do what takes the services: keep and remove worktrees, and ask what has landed."""
    if not (order.place.state / "integrator").is_dir():
        target = order.target or git(order.repo, "symbolic-ref", "--quiet", "--short", "HEAD")
        return Landed(target, target or "HEAD", f"coord/{target}")
    overrides: Overrides = {"integrator": {"target": order.target}} if order.target else {}
    running = find(order.place) is not None
    # What only answers assigns and lands nothing meanwhile.
    opened = attach_or_start(order.place, {} if running else overrides, idle=not running)
    async with opened as host:
        services = Services.of(order.place.project, host)
        await _clean_worktrees(order, services, tally)
        landed = await _landed(services)
    if not running:
        tally.kept += folders_left(order.place.state / "worktrees") if not order.dry_run else []
    return landed


async def _clean_worktrees(order: Order, services: Services, tally: Tally) -> None:
    project = services.project
    listed = await services.integrator.ListWorktrees(
        integrator_pb2.ListWorktreesRequest(project=project)
    )
    busy = await _busy(services)
    for worktree in listed.worktrees:
        # Held until it is gone: no worker of that name begins meanwhile.
        claimed = claim(work_folder(order.place), [worktree.worker])
        if claimed is None or worktree.worker in busy:
            tally.kept.append(Remain("worktree", worktree.path, why="its worker is at work"))
            continue
        with claimed:
            tally.gone.append(Remain("worktree", worktree.path, size_of(Path(worktree.path))))
            if not order.dry_run:
                await services.integrator.TeardownWorktree(
                    integrator_pb2.TeardownWorktreeRequest(project=project, worker=worktree.worker)
                )


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


def _clean_refs(order: Order, landed: Landed, tally: Tally) -> None:
    found = refs_left(order.repo, landed.tip, landed.branch, landed.refs)
    if find(order.place) is not None:
        # A branch that is there may be about to get its worktree.
        found = [_spare_branch(one) for one in found]
    gone = [one for one in found if not one.why]
    if not order.dry_run:
        delete_refs(order.repo, gone)
    tally.gone += gone
    tally.kept += [one for one in found if one.why]


def _clean_logs(order: Order, landed: Landed, tally: Tally) -> None:
    """Remove the logs and the reports of what has landed, and the services' old log."""
    state = order.place.state
    logs = [task_logs(work_folder(order.place), task) for task in sorted(landed.tasks)]
    found = logs_left([*logs, state / "run.log.1"])
    found += reports_left(state / "reports", landed.tasks)
    for one in found:
        if one.why:
            tally.kept.append(one)
        else:
            _remove_path(order, one, tally)


def _spare_branch(remain: Remain) -> Remain:
    if remain.kind != "branch" or remain.why:
        return remain
    return replace(remain, why="services are running, and may be about to use it")


def _discard(order: Order, tally: Tally) -> None:
    """Remove what the user has named, and nothing that he has not."""
    named = {one.name: one for one in tally.kept if one.kind != "worktree"}
    for name in order.discard:
        remain = named.get(name)
        if remain is None:
            raise UsageProblem(f"--discard {name}: there is no such thing; see --dry-run --all")
        tally.kept.remove(remain)
        if remain.commit and not order.dry_run:
            delete_refs(order.repo, [remain])
            tally.gone.append(remain)
        else:
            _remove_path(order, remain, tally)


def _remove_path(order: Order, remain: Remain, tally: Tally) -> None:
    path = Path(remain.name)
    if path.is_file() and not order.dry_run:
        path.unlink()
    elif not order.dry_run:
        delete_tree(path)
    tally.gone.append(remain)


def _remove_state(order: Order, tally: Tally) -> None:
    """Remove the rest: the state folder and the last refs. Nothing is in them that is nowhere else.

    Whoever starts services meanwhile is refused by the lock, or begins anew.
    """
    state = order.place.state
    last = [one for one in tally.kept if one.commit]
    tally.kept = []
    commit = git(order.repo, "rev-parse", "--verify", "--quiet", LANDING)
    if commit:
        last.append(Remain("branch", LANDING, commit=commit))
    tally.gone += last
    if state.exists():
        tally.gone.append(Remain("folder", str(state), size_of(state)))
    if order.dry_run:
        return
    delete_refs(order.repo, last)
    if state.exists():
        lock = FolderLock(state / "host")
        delete_tree(state)
        lock.release()
    run_git(order.repo, "worktree", "prune")
    folder = git(order.repo, "rev-parse", "--path-format=absolute", "--git-common-dir")
    (Path(folder) / "coord.lock").unlink(missing_ok=True)


def _tell(order: Order, tally: Tally, *, refused: bool) -> None:
    if order.as_json:
        print_json({"removed": _rows(tally.gone), "kept": _rows(tally.kept), "refused": refused})
        return
    verb = "would remove" if order.dry_run else "removed"
    for one in tally.gone:
        click.echo(f"{verb} {one.kind} {one.name}{_size(one)}")
    for one in tally.kept:
        click.echo(f"left {one.kind} {one.name}{_size(one)}{one.why and ': '}{one.why}")
    total = sum(one.size for one in tally.gone)
    click.echo(f"{verb} {len(tally.gone)}, {_amount(total)} in all; left {len(tally.kept)}")
    if refused:
        click.echo(
            "coord: --all is refused: land what is left, or name each with --discard NAME", err=True
        )


def _rows(remains: Sequence[Remain]) -> list[dict[str, object]]:
    return [
        {"kind": one.kind, "name": one.name, "bytes": one.size, "why": one.why} for one in remains
    ]


def _size(remain: Remain) -> str:
    return f" ({_amount(remain.size)})" if remain.size else ""


def _amount(size: int) -> str:
    return f"{size / 2**20:.1f} MiB" if size >= 2**20 else f"{size / 2**10:.0f} KiB"
