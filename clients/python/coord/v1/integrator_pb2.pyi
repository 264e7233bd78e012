import datetime

from coord.v1 import common_pb2 as _common_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ChangeState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CHANGE_STATE_UNSPECIFIED: _ClassVar[ChangeState]
    CHANGE_STATE_QUEUED: _ClassVar[ChangeState]
    CHANGE_STATE_CHECKING: _ClassVar[ChangeState]
    CHANGE_STATE_LANDING: _ClassVar[ChangeState]
    CHANGE_STATE_LANDED: _ClassVar[ChangeState]
    CHANGE_STATE_REJECTED: _ClassVar[ChangeState]
    CHANGE_STATE_EMPTY: _ClassVar[ChangeState]
    CHANGE_STATE_STALE: _ClassVar[ChangeState]
    CHANGE_STATE_CANCELLED: _ClassVar[ChangeState]
CHANGE_STATE_UNSPECIFIED: ChangeState
CHANGE_STATE_QUEUED: ChangeState
CHANGE_STATE_CHECKING: ChangeState
CHANGE_STATE_LANDING: ChangeState
CHANGE_STATE_LANDED: ChangeState
CHANGE_STATE_REJECTED: ChangeState
CHANGE_STATE_EMPTY: ChangeState
CHANGE_STATE_STALE: ChangeState
CHANGE_STATE_CANCELLED: ChangeState

class Worktree(_message.Message):
    __slots__ = ("worker", "attempt", "path", "branch", "base_commit")
    WORKER_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    BRANCH_FIELD_NUMBER: _ClassVar[int]
    BASE_COMMIT_FIELD_NUMBER: _ClassVar[int]
    worker: str
    attempt: _common_pb2.AttemptRef
    path: str
    branch: str
    base_commit: str
    def __init__(self, worker: _Optional[str] = ..., attempt: _Optional[_Union[_common_pb2.AttemptRef, _Mapping]] = ..., path: _Optional[str] = ..., branch: _Optional[str] = ..., base_commit: _Optional[str] = ...) -> None: ...

class Snapshot(_message.Message):
    __slots__ = ("ref", "commit")
    REF_FIELD_NUMBER: _ClassVar[int]
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    ref: str
    commit: str
    def __init__(self, ref: _Optional[str] = ..., commit: _Optional[str] = ...) -> None: ...

class Change(_message.Message):
    __slots__ = ("change_id", "attempt", "worker", "state", "head_commit", "base_commit", "wip_ref", "landed_commit", "message", "detail", "submitted_at", "changed_at", "runs", "lines_added", "lines_removed", "category", "priority", "urgent", "barrier")
    CHANGE_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    HEAD_COMMIT_FIELD_NUMBER: _ClassVar[int]
    BASE_COMMIT_FIELD_NUMBER: _ClassVar[int]
    WIP_REF_FIELD_NUMBER: _ClassVar[int]
    LANDED_COMMIT_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    SUBMITTED_AT_FIELD_NUMBER: _ClassVar[int]
    CHANGED_AT_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    LINES_ADDED_FIELD_NUMBER: _ClassVar[int]
    LINES_REMOVED_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    URGENT_FIELD_NUMBER: _ClassVar[int]
    BARRIER_FIELD_NUMBER: _ClassVar[int]
    change_id: str
    attempt: _common_pb2.AttemptRef
    worker: str
    state: ChangeState
    head_commit: str
    base_commit: str
    wip_ref: str
    landed_commit: str
    message: str
    detail: str
    submitted_at: _timestamp_pb2.Timestamp
    changed_at: _timestamp_pb2.Timestamp
    runs: _containers.RepeatedCompositeFieldContainer[CheckRun]
    lines_added: int
    lines_removed: int
    category: str
    priority: int
    urgent: bool
    barrier: bool
    def __init__(self, change_id: _Optional[str] = ..., attempt: _Optional[_Union[_common_pb2.AttemptRef, _Mapping]] = ..., worker: _Optional[str] = ..., state: _Optional[_Union[ChangeState, str]] = ..., head_commit: _Optional[str] = ..., base_commit: _Optional[str] = ..., wip_ref: _Optional[str] = ..., landed_commit: _Optional[str] = ..., message: _Optional[str] = ..., detail: _Optional[str] = ..., submitted_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., changed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., runs: _Optional[_Iterable[_Union[CheckRun, _Mapping]]] = ..., lines_added: _Optional[int] = ..., lines_removed: _Optional[int] = ..., category: _Optional[str] = ..., priority: _Optional[int] = ..., urgent: _Optional[bool] = ..., barrier: _Optional[bool] = ...) -> None: ...

class CheckRun(_message.Message):
    __slots__ = ("tree", "passed", "exit_status", "output", "started_at", "ended_at", "command", "of_target", "judged_at", "change_ids", "base_commit")
    TREE_FIELD_NUMBER: _ClassVar[int]
    PASSED_FIELD_NUMBER: _ClassVar[int]
    EXIT_STATUS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    ENDED_AT_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    OF_TARGET_FIELD_NUMBER: _ClassVar[int]
    JUDGED_AT_FIELD_NUMBER: _ClassVar[int]
    CHANGE_IDS_FIELD_NUMBER: _ClassVar[int]
    BASE_COMMIT_FIELD_NUMBER: _ClassVar[int]
    tree: str
    passed: bool
    exit_status: int
    output: str
    started_at: _timestamp_pb2.Timestamp
    ended_at: _timestamp_pb2.Timestamp
    command: str
    of_target: bool
    judged_at: _timestamp_pb2.Timestamp
    change_ids: _containers.RepeatedScalarFieldContainer[str]
    base_commit: str
    def __init__(self, tree: _Optional[str] = ..., passed: _Optional[bool] = ..., exit_status: _Optional[int] = ..., output: _Optional[str] = ..., started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., ended_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., command: _Optional[str] = ..., of_target: _Optional[bool] = ..., judged_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., change_ids: _Optional[_Iterable[str]] = ..., base_commit: _Optional[str] = ...) -> None: ...

class MergeQueue(_message.Message):
    __slots__ = ("target", "landing_branch", "target_commit", "paused", "slots", "trials", "waiting", "waiting_since", "flakes", "flakes_total")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    LANDING_BRANCH_FIELD_NUMBER: _ClassVar[int]
    TARGET_COMMIT_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    TRIALS_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    WAITING_SINCE_FIELD_NUMBER: _ClassVar[int]
    FLAKES_FIELD_NUMBER: _ClassVar[int]
    FLAKES_TOTAL_FIELD_NUMBER: _ClassVar[int]
    target: str
    landing_branch: str
    target_commit: str
    paused: _common_pb2.Reason
    slots: int
    trials: _containers.RepeatedCompositeFieldContainer[TrialUnderWay]
    waiting: int
    waiting_since: _timestamp_pb2.Timestamp
    flakes: _containers.RepeatedCompositeFieldContainer[Flake]
    flakes_total: int
    def __init__(self, target: _Optional[str] = ..., landing_branch: _Optional[str] = ..., target_commit: _Optional[str] = ..., paused: _Optional[_Union[_common_pb2.Reason, _Mapping]] = ..., slots: _Optional[int] = ..., trials: _Optional[_Iterable[_Union[TrialUnderWay, _Mapping]]] = ..., waiting: _Optional[int] = ..., waiting_since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., flakes: _Optional[_Iterable[_Union[Flake, _Mapping]]] = ..., flakes_total: _Optional[int] = ...) -> None: ...

class TrialUnderWay(_message.Message):
    __slots__ = ("change_ids", "base_commit", "started_at")
    CHANGE_IDS_FIELD_NUMBER: _ClassVar[int]
    BASE_COMMIT_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    change_ids: _containers.RepeatedScalarFieldContainer[str]
    base_commit: str
    started_at: _timestamp_pb2.Timestamp
    def __init__(self, change_ids: _Optional[_Iterable[str]] = ..., base_commit: _Optional[str] = ..., started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Flake(_message.Message):
    __slots__ = ("tree", "command", "change_ids", "found_at")
    TREE_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    CHANGE_IDS_FIELD_NUMBER: _ClassVar[int]
    FOUND_AT_FIELD_NUMBER: _ClassVar[int]
    tree: str
    command: str
    change_ids: _containers.RepeatedScalarFieldContainer[str]
    found_at: _timestamp_pb2.Timestamp
    def __init__(self, tree: _Optional[str] = ..., command: _Optional[str] = ..., change_ids: _Optional[_Iterable[str]] = ..., found_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class CancelChangeRequest(_message.Message):
    __slots__ = ("project", "change_id", "message")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    CHANGE_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    project: str
    change_id: str
    message: str
    def __init__(self, project: _Optional[str] = ..., change_id: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class CancelChangeResponse(_message.Message):
    __slots__ = ("change",)
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    change: Change
    def __init__(self, change: _Optional[_Union[Change, _Mapping]] = ...) -> None: ...

class CheckConflictsRequest(_message.Message):
    __slots__ = ("project", "worker")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    project: str
    worker: str
    def __init__(self, project: _Optional[str] = ..., worker: _Optional[str] = ...) -> None: ...

class CheckConflictsResponse(_message.Message):
    __slots__ = ("attempt", "conflicts")
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    CONFLICTS_FIELD_NUMBER: _ClassVar[int]
    attempt: _common_pb2.AttemptRef
    conflicts: _containers.RepeatedCompositeFieldContainer[WorktreeConflict]
    def __init__(self, attempt: _Optional[_Union[_common_pb2.AttemptRef, _Mapping]] = ..., conflicts: _Optional[_Iterable[_Union[WorktreeConflict, _Mapping]]] = ...) -> None: ...

class WorktreeConflict(_message.Message):
    __slots__ = ("worker", "attempt", "paths", "hunks")
    WORKER_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    PATHS_FIELD_NUMBER: _ClassVar[int]
    HUNKS_FIELD_NUMBER: _ClassVar[int]
    worker: str
    attempt: _common_pb2.AttemptRef
    paths: _containers.RepeatedScalarFieldContainer[str]
    hunks: str
    def __init__(self, worker: _Optional[str] = ..., attempt: _Optional[_Union[_common_pb2.AttemptRef, _Mapping]] = ..., paths: _Optional[_Iterable[str]] = ..., hunks: _Optional[str] = ...) -> None: ...

class LiveConflict(_message.Message):
    __slots__ = ("worker", "attempt", "other", "since")
    WORKER_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    OTHER_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    worker: str
    attempt: _common_pb2.AttemptRef
    other: WorktreeConflict
    since: _timestamp_pb2.Timestamp
    def __init__(self, worker: _Optional[str] = ..., attempt: _Optional[_Union[_common_pb2.AttemptRef, _Mapping]] = ..., other: _Optional[_Union[WorktreeConflict, _Mapping]] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class RadarHead(_message.Message):
    __slots__ = ("worker", "attempt", "head_commit", "tree")
    WORKER_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    HEAD_COMMIT_FIELD_NUMBER: _ClassVar[int]
    TREE_FIELD_NUMBER: _ClassVar[int]
    worker: str
    attempt: _common_pb2.AttemptRef
    head_commit: str
    tree: str
    def __init__(self, worker: _Optional[str] = ..., attempt: _Optional[_Union[_common_pb2.AttemptRef, _Mapping]] = ..., head_commit: _Optional[str] = ..., tree: _Optional[str] = ...) -> None: ...

class CheckTargetRequest(_message.Message):
    __slots__ = ("project", "known_only")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    KNOWN_ONLY_FIELD_NUMBER: _ClassVar[int]
    project: str
    known_only: bool
    def __init__(self, project: _Optional[str] = ..., known_only: _Optional[bool] = ...) -> None: ...

class CheckTargetResponse(_message.Message):
    __slots__ = ("green", "reason")
    GREEN_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    green: bool
    reason: _common_pb2.Reason
    def __init__(self, green: _Optional[bool] = ..., reason: _Optional[_Union[_common_pb2.Reason, _Mapping]] = ...) -> None: ...

class ExplainChangeRequest(_message.Message):
    __slots__ = ("project", "change_id")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    CHANGE_ID_FIELD_NUMBER: _ClassVar[int]
    project: str
    change_id: str
    def __init__(self, project: _Optional[str] = ..., change_id: _Optional[str] = ...) -> None: ...

class ExplainChangeResponse(_message.Message):
    __slots__ = ("change", "position", "reasons", "risk", "trials")
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    RISK_FIELD_NUMBER: _ClassVar[int]
    TRIALS_FIELD_NUMBER: _ClassVar[int]
    change: Change
    position: int
    reasons: _containers.RepeatedCompositeFieldContainer[_common_pb2.Reason]
    risk: float
    trials: _containers.RepeatedCompositeFieldContainer[TrialUnderWay]
    def __init__(self, change: _Optional[_Union[Change, _Mapping]] = ..., position: _Optional[int] = ..., reasons: _Optional[_Iterable[_Union[_common_pb2.Reason, _Mapping]]] = ..., risk: _Optional[float] = ..., trials: _Optional[_Iterable[_Union[TrialUnderWay, _Mapping]]] = ...) -> None: ...

class GetChangeRequest(_message.Message):
    __slots__ = ("project", "change_id")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    CHANGE_ID_FIELD_NUMBER: _ClassVar[int]
    project: str
    change_id: str
    def __init__(self, project: _Optional[str] = ..., change_id: _Optional[str] = ...) -> None: ...

class GetChangeResponse(_message.Message):
    __slots__ = ("change",)
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    change: Change
    def __init__(self, change: _Optional[_Union[Change, _Mapping]] = ...) -> None: ...

class GetConflictMatrixRequest(_message.Message):
    __slots__ = ("project", "worker")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    project: str
    worker: str
    def __init__(self, project: _Optional[str] = ..., worker: _Optional[str] = ...) -> None: ...

class GetConflictMatrixResponse(_message.Message):
    __slots__ = ("heads", "conflicts")
    HEADS_FIELD_NUMBER: _ClassVar[int]
    CONFLICTS_FIELD_NUMBER: _ClassVar[int]
    heads: _containers.RepeatedCompositeFieldContainer[RadarHead]
    conflicts: _containers.RepeatedCompositeFieldContainer[LiveConflict]
    def __init__(self, heads: _Optional[_Iterable[_Union[RadarHead, _Mapping]]] = ..., conflicts: _Optional[_Iterable[_Union[LiveConflict, _Mapping]]] = ...) -> None: ...

class ListChangesRequest(_message.Message):
    __slots__ = ("project", "page_size", "page_token", "states")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    project: str
    page_size: int
    page_token: str
    states: _containers.RepeatedScalarFieldContainer[ChangeState]
    def __init__(self, project: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., states: _Optional[_Iterable[_Union[ChangeState, str]]] = ...) -> None: ...

class ListChangesResponse(_message.Message):
    __slots__ = ("changes", "next_page_token", "merge_queue")
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    MERGE_QUEUE_FIELD_NUMBER: _ClassVar[int]
    changes: _containers.RepeatedCompositeFieldContainer[Change]
    next_page_token: str
    merge_queue: MergeQueue
    def __init__(self, changes: _Optional[_Iterable[_Union[Change, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., merge_queue: _Optional[_Union[MergeQueue, _Mapping]] = ...) -> None: ...

class ListTargetRunsRequest(_message.Message):
    __slots__ = ("project", "page_size", "page_token")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    project: str
    page_size: int
    page_token: str
    def __init__(self, project: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListTargetRunsResponse(_message.Message):
    __slots__ = ("runs", "next_page_token")
    RUNS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    runs: _containers.RepeatedCompositeFieldContainer[CheckRun]
    next_page_token: str
    def __init__(self, runs: _Optional[_Iterable[_Union[CheckRun, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ListWorktreesRequest(_message.Message):
    __slots__ = ("project",)
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    project: str
    def __init__(self, project: _Optional[str] = ...) -> None: ...

class ListWorktreesResponse(_message.Message):
    __slots__ = ("worktrees",)
    WORKTREES_FIELD_NUMBER: _ClassVar[int]
    worktrees: _containers.RepeatedCompositeFieldContainer[Worktree]
    def __init__(self, worktrees: _Optional[_Iterable[_Union[Worktree, _Mapping]]] = ...) -> None: ...

class PauseMergingRequest(_message.Message):
    __slots__ = ("project", "message")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    project: str
    message: str
    def __init__(self, project: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class PauseMergingResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ReprioritizeChangeRequest(_message.Message):
    __slots__ = ("project", "change_id", "priority", "urgent")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    CHANGE_ID_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    URGENT_FIELD_NUMBER: _ClassVar[int]
    project: str
    change_id: str
    priority: int
    urgent: bool
    def __init__(self, project: _Optional[str] = ..., change_id: _Optional[str] = ..., priority: _Optional[int] = ..., urgent: _Optional[bool] = ...) -> None: ...

class ReprioritizeChangeResponse(_message.Message):
    __slots__ = ("change",)
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    change: Change
    def __init__(self, change: _Optional[_Union[Change, _Mapping]] = ...) -> None: ...

class ResumeMergingRequest(_message.Message):
    __slots__ = ("project",)
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    project: str
    def __init__(self, project: _Optional[str] = ...) -> None: ...

class ResumeMergingResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RestoreSnapshotRequest(_message.Message):
    __slots__ = ("project", "worker", "attempt", "ref")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    REF_FIELD_NUMBER: _ClassVar[int]
    project: str
    worker: str
    attempt: _common_pb2.AttemptRef
    ref: str
    def __init__(self, project: _Optional[str] = ..., worker: _Optional[str] = ..., attempt: _Optional[_Union[_common_pb2.AttemptRef, _Mapping]] = ..., ref: _Optional[str] = ...) -> None: ...

class RestoreSnapshotResponse(_message.Message):
    __slots__ = ("worktree", "kept")
    WORKTREE_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    worktree: Worktree
    kept: Snapshot
    def __init__(self, worktree: _Optional[_Union[Worktree, _Mapping]] = ..., kept: _Optional[_Union[Snapshot, _Mapping]] = ...) -> None: ...

class SetupWorktreeRequest(_message.Message):
    __slots__ = ("project", "worker", "attempt")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    project: str
    worker: str
    attempt: _common_pb2.AttemptRef
    def __init__(self, project: _Optional[str] = ..., worker: _Optional[str] = ..., attempt: _Optional[_Union[_common_pb2.AttemptRef, _Mapping]] = ...) -> None: ...

class SetupWorktreeResponse(_message.Message):
    __slots__ = ("worktree",)
    WORKTREE_FIELD_NUMBER: _ClassVar[int]
    worktree: Worktree
    def __init__(self, worktree: _Optional[_Union[Worktree, _Mapping]] = ...) -> None: ...

class SnapshotWorktreeRequest(_message.Message):
    __slots__ = ("project", "worker", "ended")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    project: str
    worker: str
    ended: _containers.RepeatedCompositeFieldContainer[_common_pb2.AttemptRef]
    def __init__(self, project: _Optional[str] = ..., worker: _Optional[str] = ..., ended: _Optional[_Iterable[_Union[_common_pb2.AttemptRef, _Mapping]]] = ...) -> None: ...

class SnapshotWorktreeResponse(_message.Message):
    __slots__ = ("snapshot",)
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    snapshot: Snapshot
    def __init__(self, snapshot: _Optional[_Union[Snapshot, _Mapping]] = ...) -> None: ...

class SubmitChangeRequest(_message.Message):
    __slots__ = ("project", "worker", "attempt", "title", "cost")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    COST_FIELD_NUMBER: _ClassVar[int]
    project: str
    worker: str
    attempt: _common_pb2.AttemptRef
    title: str
    cost: _common_pb2.Money
    def __init__(self, project: _Optional[str] = ..., worker: _Optional[str] = ..., attempt: _Optional[_Union[_common_pb2.AttemptRef, _Mapping]] = ..., title: _Optional[str] = ..., cost: _Optional[_Union[_common_pb2.Money, _Mapping]] = ...) -> None: ...

class SubmitChangeResponse(_message.Message):
    __slots__ = ("change",)
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    change: Change
    def __init__(self, change: _Optional[_Union[Change, _Mapping]] = ...) -> None: ...

class TeardownWorktreeRequest(_message.Message):
    __slots__ = ("project", "worker")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    project: str
    worker: str
    def __init__(self, project: _Optional[str] = ..., worker: _Optional[str] = ...) -> None: ...

class TeardownWorktreeResponse(_message.Message):
    __slots__ = ("snapshot",)
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    snapshot: Snapshot
    def __init__(self, snapshot: _Optional[_Union[Snapshot, _Mapping]] = ...) -> None: ...

class WatchIntegratorEventsRequest(_message.Message):
    __slots__ = ("project", "after")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    project: str
    after: int
    def __init__(self, project: _Optional[str] = ..., after: _Optional[int] = ...) -> None: ...

class WatchIntegratorEventsResponse(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[IntegratorEvent]
    def __init__(self, events: _Optional[_Iterable[_Union[IntegratorEvent, _Mapping]]] = ...) -> None: ...

class IntegratorEvent(_message.Message):
    __slots__ = ("meta", "worktree_ready", "worktree_snapshotted", "worktree_removed", "change_moved", "merging_paused", "conflict_changed")
    META_FIELD_NUMBER: _ClassVar[int]
    WORKTREE_READY_FIELD_NUMBER: _ClassVar[int]
    WORKTREE_SNAPSHOTTED_FIELD_NUMBER: _ClassVar[int]
    WORKTREE_REMOVED_FIELD_NUMBER: _ClassVar[int]
    CHANGE_MOVED_FIELD_NUMBER: _ClassVar[int]
    MERGING_PAUSED_FIELD_NUMBER: _ClassVar[int]
    CONFLICT_CHANGED_FIELD_NUMBER: _ClassVar[int]
    meta: _common_pb2.EventMeta
    worktree_ready: WorktreeReady
    worktree_snapshotted: WorktreeSnapshotted
    worktree_removed: WorktreeRemoved
    change_moved: ChangeMoved
    merging_paused: MergingPaused
    conflict_changed: ConflictChanged
    def __init__(self, meta: _Optional[_Union[_common_pb2.EventMeta, _Mapping]] = ..., worktree_ready: _Optional[_Union[WorktreeReady, _Mapping]] = ..., worktree_snapshotted: _Optional[_Union[WorktreeSnapshotted, _Mapping]] = ..., worktree_removed: _Optional[_Union[WorktreeRemoved, _Mapping]] = ..., change_moved: _Optional[_Union[ChangeMoved, _Mapping]] = ..., merging_paused: _Optional[_Union[MergingPaused, _Mapping]] = ..., conflict_changed: _Optional[_Union[ConflictChanged, _Mapping]] = ...) -> None: ...

class WorktreeReady(_message.Message):
    __slots__ = ("worktree",)
    WORKTREE_FIELD_NUMBER: _ClassVar[int]
    worktree: Worktree
    def __init__(self, worktree: _Optional[_Union[Worktree, _Mapping]] = ...) -> None: ...

class WorktreeSnapshotted(_message.Message):
    __slots__ = ("worker", "snapshot")
    WORKER_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    worker: str
    snapshot: Snapshot
    def __init__(self, worker: _Optional[str] = ..., snapshot: _Optional[_Union[Snapshot, _Mapping]] = ...) -> None: ...

class WorktreeRemoved(_message.Message):
    __slots__ = ("worker",)
    WORKER_FIELD_NUMBER: _ClassVar[int]
    worker: str
    def __init__(self, worker: _Optional[str] = ...) -> None: ...

class ChangeMoved(_message.Message):
    __slots__ = ("change",)
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    change: Change
    def __init__(self, change: _Optional[_Union[Change, _Mapping]] = ...) -> None: ...

class MergingPaused(_message.Message):
    __slots__ = ("reason",)
    REASON_FIELD_NUMBER: _ClassVar[int]
    reason: _common_pb2.Reason
    def __init__(self, reason: _Optional[_Union[_common_pb2.Reason, _Mapping]] = ...) -> None: ...

class ConflictChanged(_message.Message):
    __slots__ = ("conflict", "resolved")
    CONFLICT_FIELD_NUMBER: _ClassVar[int]
    RESOLVED_FIELD_NUMBER: _ClassVar[int]
    conflict: LiveConflict
    resolved: bool
    def __init__(self, conflict: _Optional[_Union[LiveConflict, _Mapping]] = ..., resolved: _Optional[bool] = ...) -> None: ...
