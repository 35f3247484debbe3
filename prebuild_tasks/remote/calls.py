"""Requests and answers of the HTTP API as values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import quote

from prebuild_tasks.errors import PrebuildError
from prebuild_tasks.model.json_values import JsonObject, JsonValue

READ_TIMEOUT = 30.0
"""Seconds that an answer may take, beside what the request asks it to wait."""


@dataclass(frozen=True, slots=True)
class RemoteCall:
    """A request."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: JsonObject | None = None
    key: str = ""
    """The idempotency key; empty: it has none."""
    waits: float = 0.0
    """Seconds that the server is asked to wait."""
    patience: float = 0.0
    """Seconds for which a request that fails is made again, beside the deadline; at least those of `waits`."""
    repeats_alike: bool = False
    """Whether to carry it out twice is the same as once, although it changes something and has no key."""

    @property
    def is_repeatable(self) -> bool:
        """Whether it may be made again where it is not known whether it was carried out."""
        return self.method == "GET" or bool(self.key) or self.repeats_alike

    def waiting(self, seconds: float) -> RemoteCall:
        """Return the same request, asking the server to wait for so many seconds."""
        if not self.waits or self.body is None:
            return self
        return replace(self, body={**self.body, "wait": round(seconds, 3)}, waits=seconds)

    @property
    def headers(self) -> dict[str, str]:
        """The headers that this request alone has."""
        return {"Idempotency-Key": self.key} if self.key else {}


@dataclass(frozen=True, slots=True)
class Rest:
    """A time to wait before the next request."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer."""

    status: int
    headers: Mapping[str, str]
    """Their names are in lower case."""
    content: bytes = b""
    may_be_second: bool = False
    """Whether an earlier try, whose answer was lost, may have been carried out, so that this one repeated it."""

    @property
    def is_success(self) -> bool:
        """Whether it answers what was asked."""
        return 200 <= self.status < 300

    @property
    def retry_after(self) -> float | None:
        """Seconds after which to try again; None: it does not say."""
        text = self.headers.get("retry-after", "")
        return float(text) if text.isascii() and text.isdigit() and len(text) < len("1000000") else None

    def json(self) -> JsonValue:
        """Return the body, None if it is not JSON."""
        try:
            value: JsonValue = json.loads(self.content)
        except ValueError:
            return None
        return value

    def object(self) -> JsonObject:
        """Return the body. Raises PrebuildError if it is not a JSON object: something else answered."""
        value = self.json()
        if not isinstance(value, dict):
            raise PrebuildError("the answer is not one of this API", hint="check its address")
        return value


def duration_of(seconds: float) -> str:
    """Return a duration as bodies have it: in seconds, to the millisecond."""
    return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"


def path_of(*parts: str) -> str:
    """Return a path under `/v1`, its parts encoded, so that none of them leaves its place."""
    return "/v1/" + "/".join(
        part.replace(".", "%2E") if part in (".", "..") else quote(part, safe="@") for part in parts
    )
