"""The form of a plan: its tables and what their fields may hold."""

from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from coord_cli.amounts import parse_length, parse_money

_ID = r"^[A-Za-z0-9._:/@+-]{1,128}$"
_NAME = r"^[A-Za-z0-9_-]{1,64}$"


def check_text(text: str) -> str:
    """Return a text that every service and every agent can be given.

    Raises:
        ValueError: It is none.
    """
    if "\0" in text:
        raise ValueError("a text has no NUL")
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise ValueError("a text has no halves of characters, such as \\ud800")
    return text


def _money(value: object) -> object:
    if isinstance(value, str):
        return parse_money(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return parse_money(str(value))
    if isinstance(value, float):
        return parse_money(f"{value:.9f}")
    raise ValueError("write an amount of money as '$0.50'")


def _length(value: object) -> object:
    if isinstance(value, str):
        return parse_length(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return parse_length(f"{value}s")
    raise ValueError("write a length of time as '90s', '10m' or '1h30m'")


Text = Annotated[str, AfterValidator(check_text)]
Glob = Annotated[Text, StringConstraints(max_length=1_024)]
Id = Annotated[str, StringConstraints(pattern=_ID)]
Name = Annotated[str, StringConstraints(pattern=_NAME)]
Money = Annotated[int, BeforeValidator(_money), Field(gt=0)]
Length = Annotated[int, BeforeValidator(_length), Field(gt=0)]
Rate = Annotated[int, Field(gt=0, le=10**12)]


class Table(BaseModel):
    """Any table of a plan."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class PlanTable(Table):
    """`[plan]`: the plan as a whole. Money is in billionths of a dollar."""

    name: Id | None = None
    budget: Money | None = None


class TaskFields(Table):
    """What `[defaults]` and a task may both say. Lengths are in nanoseconds."""

    priority: Annotated[int, Field(ge=-1_000_000, le=1_000_000)] | None = None
    category: Name | None = None
    capabilities: list[Name] | None = None
    paths: Annotated[list[Glob], Field(max_length=100)] | None = None
    timeout: Length | None = None
    retries: Annotated[int, Field(ge=0, le=99)] | None = None
    budget: Money | None = None
    labels: dict[Text, Text] | None = None
    expects_change: bool | None = None


class TaskTable(TaskFields):
    """One of `[[tasks]]`."""

    id: Id
    title: Annotated[Text, StringConstraints(max_length=1_024)] = ""
    prompt: Text | None = None
    prompt_file: Text | None = None
    deps: list[Id] = []


class ProfileTable(Table):
    """One of `[profiles.NAME]`."""

    capabilities: list[Name] = []
    preferences: dict[Name, Annotated[float, Field(ge=0, le=1, strict=False)]] = {}
    agent: Text = ""


class LimitTable(Table):
    """One of `[limits.NAME]`: rates a minute, and how much may be taken at once."""

    requests_per_minute: Rate | None = None
    requests_burst: Rate | None = None
    tokens_per_minute: Rate | None = None
    tokens_burst: Rate | None = None
    input_tokens_per_minute: Rate | None = None
    input_tokens_burst: Rate | None = None
    output_tokens_per_minute: Rate | None = None
    output_tokens_burst: Rate | None = None

    @model_validator(mode="after")
    def _has_a_rate(self) -> Self:
        if not any(name.endswith("_per_minute") for name in self.model_fields_set):
            raise ValueError("give it a rate, such as requests_per_minute")
        return self


class PlanFile(Table):
    """The whole file."""

    plan: PlanTable = PlanTable()
    defaults: TaskFields = TaskFields()
    profiles: dict[Name, ProfileTable] = {}
    limits: dict[Id, LimitTable] = {}
    tasks: Annotated[list[TaskTable], Field(min_length=1)]
