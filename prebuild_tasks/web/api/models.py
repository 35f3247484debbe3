"""Queries and bodies of requests."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from prebuild_tasks.model.durations import LONGEST, parse_duration
from prebuild_tasks.model.event_kinds import EventKind
from prebuild_tasks.model.vocabulary import BuildStatus, WorkspaceState
from prebuild_tasks.webhooks import DeliveryStatus

PAGE_MAX = 500
"""Rows of a page."""
WAIT_MAX = 55
"""Seconds that a claim waits at most: proxies give up after 60."""
PRESETS_MAX = 50
PARAMETERS_MAX = 100
_YEARS = range(1970, 2201)
_DATE = re.compile(r"\d{4}-", re.ASCII)
"""The beginning of an instant."""
_DIGITS = re.compile(r"[0-9]+", re.ASCII)


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("use printable characters only")
    return text


def _storable(text: str) -> str:
    if "\0" in text or (not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text)):
        raise ValueError("a NUL or a lone surrogate cannot be stored")
    return text


def _in_utc(at: datetime) -> datetime:
    if at.year not in _YEARS:
        raise ValueError(f"use a year from {_YEARS.start} to {_YEARS.stop - 1}")
    return at.astimezone(UTC)


def _no_number(value: object) -> object:
    """Refuse a number, which would be read as seconds since 1970."""
    if isinstance(value, str) and not _DATE.match(value):
        raise ValueError("write an instant such as 2030-01-31T12:00:00Z")
    return value


def _plain(value: object) -> object:
    """Refuse what Python reads as a whole number and other languages do not, such as `+5`, `1_0` and `1.0`."""
    if isinstance(value, str) and not _DIGITS.fullmatch(value):
        raise ValueError("write a number with digits only")
    return value


def _duration(text: str) -> str:
    parse_duration(text)
    return text


_IN_YEARS = r"^(19[7-9]\d|2[01]\d\d|2200)-"
_PRINTABLE, _STORABLE = r"^( |[^\p{C}\p{Z}])*$", r"^[^\u0000]*$"
"""For the OpenAPI document: what the validators demand."""
Printable = Annotated[str, AfterValidator(_printable), Field(json_schema_extra={"pattern": _PRINTABLE})]
Name = Annotated[Printable, StringConstraints(max_length=300)]
Text = Annotated[str, StringConstraints(max_length=10_000), AfterValidator(_storable)]
Value = Annotated[Text, Field(json_schema_extra={"pattern": _STORABLE})]
Instant = Annotated[AwareDatetime, AfterValidator(_in_utc), Field(json_schema_extra={"pattern": _IN_YEARS})]
QueryNumber = Annotated[int, BeforeValidator(_plain)]
EventNumber = Annotated[int, Field(ge=0, lt=10**18), BeforeValidator(_plain)]
QueryInstant = Annotated[Instant, BeforeValidator(_no_number)]
Span = Annotated[str, StringConstraints(max_length=50), AfterValidator(_duration)]


class Nothing(BaseModel):
    """A query or a body without any member; those with members extend it."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PageQuery(Nothing):
    """The page of a list."""

    limit: QueryNumber = Field(default=100, ge=1, le=PAGE_MAX, description="The most rows of the page")
    cursor: str = Field(default="", max_length=2000, description="The `next` of the page before")

    def filters(self) -> dict[str, str]:
        """Return the filters that have a value, as text."""
        return {name: str(value) for name, value in self if name not in ("limit", "cursor") and value}


class PoolsQuery(PageQuery):
    """The page of a list of pools, and what is told of each."""

    checked: bool = Field(default=False, description="Also tell why a pool needs attention")


class WorkspacesQuery(PageQuery):
    """The page and the filters of a list of workspaces."""

    owner: Name = Field(default="", description="Only those of this owner")
    name: Name = Field(default="", description="Only those of this name, one for each owner")
    id: Name = Field(default="", description="Only the one with this id")
    preset: Name = Field(default="", description="Only those of this pool, template/preset")
    state: WorkspaceState | None = Field(default=None, description="Only those in this state")


class EndingQuery(Nothing):
    """Which of the workspaces that have a name one after the other is ended."""

    id: Name = Field(default="", description="Only the one with this id, so that a retry ends no other one")


class BuildsQuery(PageQuery):
    """The page and the filters of a list of builds."""

    preset: Name = Field(default="", description="Only those of this pool, template/preset")
    status: BuildStatus | None = Field(default=None, description="Only those with this status")


class EventsQuery(Nothing):
    """Which events are read."""

    after: EventNumber | None = Field(
        default=None, description="The number of the last event that was read; 0: begin with the oldest that is kept"
    )
    limit: QueryNumber = Field(default=100, ge=1, le=PAGE_MAX, description="The most events of the page")
    pool: Name = Field(default="", description="Only those about this pool, template/preset")
    owner: Name = Field(default="", description="Only those of this owner's workspaces and claims")
    kind: EventKind | None = Field(default=None, description="Only those of this kind")


class LogQuery(Nothing):
    """How a log is read."""

    follow: bool = Field(default=False, description="Go on until the build ends")


class ReportQuery(Nothing):
    """The period of a report."""

    since: QueryInstant | None = Field(
        default=None, description="The start; by default, seven days before the last whole minute"
    )
    until: QueryInstant | None = Field(
        default=None, description="The end; by default, now, or the last whole minute if the start is left out, too"
    )


class DeliveriesQuery(PageQuery):
    """The page and the filters of a list of deliveries."""

    status: DeliveryStatus | None = Field(default=None, description="Only those with this status")


class WebhookBody(Nothing):
    """A webhook to be created."""

    url: Annotated[Printable, StringConstraints(min_length=1, max_length=2000)] = Field(
        description="Where to send events: https, without user and fragment"
    )
    name: Name = Field(default="", description="Its name; by default, the host of the URL")
    kinds: Annotated[tuple[Name, ...], Field(max_length=PRESETS_MAX)] = Field(
        default=(), description="The kinds of events to send; by default, all"
    )
    presets: Annotated[tuple[Name, ...], Field(max_length=PRESETS_MAX)] = Field(
        default=(), description="Only events of these pools, template/preset"
    )
    organization: Name = Field(default="", description="Only events of this organization")


class RotateBody(Nothing):
    """The end of the former secret of a webhook."""

    overlap: Span = Field(default="1d", description="How long deliveries are signed with the former secret, too")


class PauseBody(Nothing):
    """The reason and the end of a pause."""

    reason: Annotated[Printable, StringConstraints(max_length=500)] = Field(
        default="", description="The reason, shown to everyone"
    )
    until: Instant | None = Field(default=None, description="When the pause ends; by default, when it is resumed")
    duration: Span = Field(default="", description="In place of `until`, how long the pause lasts, such as 2h")

    @model_validator(mode="after")
    def _not_both(self) -> Self:
        if self.until is not None and self.duration:
            raise ValueError("give until or duration, not both")
        if self.duration and not 0 < parse_duration(self.duration) <= LONGEST:
            raise ValueError("a pause lasts up to a hundred years")
        return self


class ExtendBody(Nothing):
    """The new end of a workspace."""

    until: Instant | None = Field(default=None, description="The new end, which is not earlier than the present one")
    duration: Span = Field(
        default="", description="How much longer it lives, such as 3d; with the header Idempotency-Key"
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.until is None) == (not self.duration):
            raise ValueError("give either until or duration")
        return self


class ClaimBody(Nothing):
    """A request for a workspace. It names either presets, or a template with parameters."""

    presets: Annotated[tuple[Name, ...], Field(max_length=PRESETS_MAX)] = Field(
        default=(), description="Presets, template/preset, in order of preference"
    )
    template: Name = Field(default="", description="The template whose preset matches the parameters")
    parameters: Annotated[dict[Text, Value], Field(max_length=PARAMETERS_MAX)] = Field(
        default_factory=dict, description="With a template, the parameters to match"
    )
    owner: Name = Field(default="", description="Who gets the workspace; by default, the owner of the token")
    name: Name = Field(default="", description="A name for the workspace")
    wait: float = Field(
        default=0, ge=0, le=WAIT_MAX, allow_inf_nan=False,
        description="If none is ready, have one built, and wait this many seconds for it",
    )  # fmt: skip

    @model_validator(mode="after")
    def _parameters_are_of_a_template(self) -> Self:
        if self.parameters and not self.template:
            raise ValueError("parameters need a template")
        return self
