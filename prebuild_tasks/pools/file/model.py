"""The schema of the pools file as pydantic models, with its defaults."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isfinite
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from prebuild_tasks.errors import InputError
from prebuild_tasks.model.durations import LONGEST, parse_duration
from prebuild_tasks.model.json_values import JsonValue
from prebuild_tasks.model.names import check_name

AUTO = "auto"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OWN_VARIABLES = {"PATH", "HOME", "TMPDIR", "LANG", "PORT"}
_VALUE_MAX = 65536
_COUNT_MAX = 100_000
_PARAMETER_MAX = 100


def _checked_name(value: str) -> str:
    try:
        return check_name("", value)
    except InputError as error:
        raise ValueError(f"{error.message}: {error.hint}") from None


def _duration(value: object) -> float:
    if isinstance(value, bool):
        raise ValueError("is not a duration; write seconds, or 15s, 5m, 8h, 14d")
    return parse_duration(value)


Name = Annotated[str, AfterValidator(_checked_name)]
DurationSeconds = Annotated[
    float,
    BeforeValidator(_duration, json_schema_input_type=float | str),
    Field(gt=0, le=LONGEST, description="Seconds, or 15s, 5m, 8h, 14d"),
]


def _no_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")
    return value


Cost = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False), BeforeValidator(_no_bool)]


def _finite(value: dict[str, object]) -> dict[str, object]:
    remaining: list[object] = [value]
    while remaining:
        item = remaining.pop()
        if isinstance(item, float) and not isfinite(item):
            raise ValueError("holds .inf or .nan, which cannot be stored; quote it if it is text")
        remaining += item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
    return value


def _whole(value: object) -> object:
    """Keep an integer, and convert other values to text, because in Python true and 1.0 equal 1."""
    return value if type(value) is int else str(value)


Config = Annotated[dict[str, object], AfterValidator(_finite)]
FlightLimit = Annotated[int, Field(ge=1, le=_COUNT_MAX, strict=True)]
Count = Annotated[int, Field(ge=0, le=_COUNT_MAX, strict=True)]


class Model(BaseModel):
    """Base class of the models. Unknown keys are refused, so that a typo does not select a default."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SecretReference(Model):
    """The place where the builds worker finds a secret value, which is never stored. Give exactly one of the two."""

    from_env: str | None = Field(
        None, min_length=1, max_length=200, description="Name of an environment variable of the builds worker"
    )
    from_file: str | None = Field(
        None, min_length=1, max_length=1000, description="Path of a file on the builds worker's machine"
    )

    @model_validator(mode="after")
    def _one(self) -> SecretReference:
        if (self.from_env is None) == (self.from_file is None):
            raise ValueError("give either from_env or from_file")
        return self


def _value(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if value is None:
        raise ValueError("has no value; write '' for an empty one")
    if isinstance(value, str) and ("\0" in value or len(value) > _VALUE_MAX):
        raise ValueError(f"must have no NUL byte and at most {_VALUE_MAX} characters")
    if not isinstance(value, (str, Mapping, SecretReference)):
        raise ValueError("must be text, a number, true or false, or {from_env: NAME} / {from_file: PATH}")
    return value


ParameterValue = Annotated[str | SecretReference, BeforeValidator(_value)]


class ScheduleModel(Model):
    """A time range with its own desired size."""

    cron: str = Field(
        max_length=200, description="Five fields; the minute is *, e.g. * 8-18 * * 1-5, which ends at 18:59:59"
    )
    desired: Count


class ReplaceModel(Model):
    """The way in which a pool moves to a new version."""

    strategy: Literal["recreate", "rolling"] = "recreate"
    max_surge: Count = Field(1, description="Prebuilds beyond the desired number while replacing")

    @model_validator(mode="after")
    def _room_to_roll(self) -> ReplaceModel:
        if self.strategy == "rolling" and self.max_surge < 1:
            raise ValueError(
                "rolling needs a max_surge of at least 1: a replacement is built before the old prebuild is deleted"
            )
        return self


class PresetModel(Model):
    """A pool."""

    name: Name
    desired: Count = Field(0, description="Number of prebuilds outside every schedule")
    timezone: str = Field("", description="IANA time zone of the schedules")
    schedules: list[ScheduleModel] = Field(default=[], description="Their time ranges must not overlap")
    ttl: DurationSeconds | None = Field(None, description="A prebuild older than this is replaced")
    claimed_ttl: DurationSeconds | None = Field(None, description="A claimed workspace ends after this")
    ready_timeout: DurationSeconds = Field(300.0, description="Time from the end of start until it must be ready")
    replace: ReplaceModel = ReplaceModel()
    max_builds_in_flight: FlightLimit | None = None
    cost_per_hour: Cost | None = None
    parameters: dict[str, ParameterValue] = Field(default={}, description="Environment variables of the workspace")

    @field_validator("parameters")
    @classmethod
    def _parameter_names(cls, parameters: dict[str, ParameterValue]) -> dict[str, ParameterValue]:
        for name in parameters:
            if not _VARIABLE.fullmatch(name):
                raise ValueError(f"the parameter {name!r} cannot be an environment variable: use letters, digits and _")
            if len(name) > _PARAMETER_MAX:
                raise ValueError(
                    f"the parameter {name[:20]}… has a name of more than {_PARAMETER_MAX} characters: shorten it"
                )
            if name in _OWN_VARIABLES or name.startswith("PREBUILD_"):
                raise ValueError(f"the parameter {name} is set by prebuild_tasks itself: choose another name")
        return parameters


class VersionModel(Model):
    """A named version of a template's recipe."""

    name: Name
    config: Config = Field(default={}, description="Checked by the provisioner")
    presets: list[PresetModel] = []


class TemplateModel(Model):
    """A recipe: in the short form with config and presets, in the long form with versions."""

    name: Name
    organization: Name = "default"
    provisioner: Name = Field("process", description="process, docker, command, simulated, or an installed one")
    deprecated: bool = Field(default=False, description="Its pools drain; nothing new is built")
    version: Name | None = Field(None, description="auto (default): named after a hash of config and parameters")
    config: Config | None = Field(None, description="Checked by the provisioner")
    presets: list[PresetModel] | None = None
    versions: list[VersionModel] | None = Field(None, description="The long form")
    active_version: Name | None = Field(None, description="With versions: the one whose presets are filled")

    @model_validator(mode="after")
    def _one_form(self) -> TemplateModel:
        short = [key for key in ("version", "config", "presets") if getattr(self, key) is not None]
        if self.versions is not None and short:
            raise ValueError(f"has both versions and {', '.join(short)}: use one form or the other")
        if self.versions is None and self.active_version is not None:
            raise ValueError("has active_version without versions: leave it out, or list versions")
        if self.versions is not None and self.active_version is None:
            raise ValueError("has versions but no active_version: name the version whose pools are to be filled")
        return self


class OrganizationModel(Model):
    """A group of templates that shares quotas."""

    name: Name
    max_workspaces: Count | None = None
    max_per_owner: Count | None = None
    max_builds_in_flight: FlightLimit | None = None


class PoolsModel(Model):
    """A pools file: the declared pools of an installation."""

    schema_: Annotated[Literal[1], BeforeValidator(_whole)] = Field(
        alias="schema", description="The version of this format"
    )
    templates: list[TemplateModel] = []
    organizations: list[OrganizationModel] = []


def config_schema() -> dict[str, JsonValue]:
    """Return the JSON Schema of the pools file."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **PoolsModel.model_json_schema(by_alias=True)}
