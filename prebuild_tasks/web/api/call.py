"""A request that was let in: who asks, what is asked, and the ways to answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response

from prebuild_tasks.access import Principal
from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.model.invalid import invalid_values
from prebuild_tasks.model.json_values import JsonValue
from prebuild_tasks.web.api.admitted import AdmittedRequest
from prebuild_tasks.web.api.etags import etag_of, matches
from prebuild_tasks.web.api.problems import ProblemDetails, ProblemError, problem
from prebuild_tasks.web.api.responses import encoded
from prebuild_tasks.workspaces import FollowUp

if TYPE_CHECKING:
    from prebuild_tasks.web.api.door import Door
    from prebuild_tasks.web.api.operations import Operation

_SHOWN = 5
"""Invalid values that a problem names."""

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)


class Call(AdmittedRequest):
    """One request, after its token, its size and its scope were checked."""

    def __init__(
        self, door: Door, request: Request, operation: Operation, principal: Principal | None, content: bytes
    ) -> None:
        """Take the request with its content, and who asks."""
        super().__init__(door, request)
        self.operation = operation
        self.asking = principal
        """Who presented a token; None: the route is open, and nobody did."""
        self.content = content
        request.state.call = self

    @property
    def runtime(self) -> Runtime:
        """The dependencies of the process."""
        return self.door.runtime

    @property
    def principal(self) -> Principal:
        """Who asks, on a route that needs a token. An open route has nobody, and must not act for anybody."""
        if self.asking is None:
            raise RuntimeError(f"{self.operation.path} is open, and uses a principal")
        return self.asking

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Call a function that uses the database, in a thread."""
        return await self.door.in_thread(work, self.asking.key if self.asking else "")

    def send_now(self) -> None:
        """Send what was to be sent later, because the answer takes its time."""
        follow_up, self.follow_up = self.follow_up, FollowUp()
        if follow_up:
            self.door.send(follow_up)

    def query(self, model: type[M]) -> M:
        """Return the parsed query. Raises ProblemError (400) for one that cannot be read, and for a body of no use."""
        if self.content and self.operation.body is None:
            raise problem(400, "malformed_body", "this route takes no body", hint="leave the body out")
        items = self.request.query_params.multi_items() if self.request.scope["query_string"] else []
        values = dict(items)
        if len(values) < len(items):
            raise problem(400, "malformed_query", "a parameter of the query is given twice", hint="give it once")
        try:
            return model.model_validate(values)
        except ValidationError as error:
            raise values_refused(error, 400, "malformed_query", "allowed: " + ", ".join(model.model_fields)) from None

    def body(self, model: type[M]) -> M:
        """Return the parsed body; one that is left out is an empty object.

        Raises ProblemError: 400 for what is not JSON, 422 for what is not valid.
        """
        try:
            return model.model_validate_json(self.content or b"{}", strict=True)
        except ValidationError as error:
            if any(item.kind == "json_invalid" for item in invalid_values(error)):
                raise values_refused(error, 400, "malformed_body", "send one JSON object in UTF-8") from None
            raise values_refused(error, 422, "bad_input", "allowed: " + ", ".join(model.model_fields)) from None

    def answer(
        self,
        value: JsonValue,
        status: int = 200,
        *,
        headers: Mapping[str, str] | None = None,
        tagged: bool = False,
        read_at: str = "",
    ) -> Response:
        """Answer with JSON; `tagged` with its entity tag, and without a body if the client has it already.

        The tag is weak, and that of the answer without its member `read_at`, if that tells when it was read.
        """
        body = encoded(value)
        more = {"Cache-Control": "no-cache" if tagged else "no-store", **(headers or {})}
        if tagged:
            compared = body
            if read_at and isinstance(value, dict):
                compared = encoded({key: item for key, item in value.items() if key != read_at})
            more["ETag"] = etag = etag_of(compared, weak=bool(read_at))
            if matches(self.request.headers.get("if-none-match", ""), etag):
                status, body = 304, b""
        media_type = None if status == 304 else "application/json"
        return self.finish(Response(body, status, more, media_type))

    def finish(self, response: Response) -> Response:
        """Do after the response what need not be waited for."""
        response.background = BackgroundTask(self.door.after_answer, self.asking, self.follow_up)
        return response


def values_refused(error: ValidationError, status: int, code: str, hint: str) -> ProblemError:
    """Return the problem of values that a model refused. The values themselves are not repeated."""
    invalid = [(".".join(map(str, item.path)), item.message) for item in invalid_values(error)]
    shown = [f"{at[:100]}: {message}" if at else message for at, message in invalid[:_SHOWN]]
    more = f"; and {len(invalid) - _SHOWN} more" if len(invalid) > _SHOWN else ""
    return ProblemError(ProblemDetails(status=status, code=code, detail="; ".join(shown) + more, hint=hint))
