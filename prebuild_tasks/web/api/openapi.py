"""The OpenAPI document, made of the descriptions of the routes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from prebuild_tasks import __version__
from prebuild_tasks.model.json_values import JsonObject, JsonValue
from prebuild_tasks.web.api import examples
from prebuild_tasks.web.api.answers import ProblemAnswer
from prebuild_tasks.web.api.links import BUILDS
from prebuild_tasks.web.api.operations import EVENT_STREAM, JSON, AnswerDoc, NextCall, Operation
from prebuild_tasks.web.api.problems import MEDIA_TYPE

_REF = "#/components/schemas/{model}"
_IN_PATH = re.compile(r"\{(\w+)\}")
_OF_EVERY_TOKEN = (400, 401, 403, 429, 503)
"""Statuses of problems that every route may answer that needs a token."""
_OF_EVERY_BODY = (413, 415)
_OF_PROBLEMS: Mapping[int, str] = {401: "WWW-Authenticate", 429: "Retry-After", 503: "Retry-After"}
"""The headers of problems."""
_KEY_SCHEMA: JsonObject = {"type": "string", "pattern": "^[A-Za-z0-9._:-]{1,100}$"}
_HEADERS: dict[str, JsonObject] = {
    "ETag": {"description": "The digest of the body", "required": True, "schema": {"type": "string"}},
    "Idempotent-Replayed": {
        "description": "`true`: an earlier request with this key was answered",
        "schema": {"type": "string"},
    },
    "Location": {"description": "The address of the claim", "schema": {"type": "string"}},
    "Retry-After": {
        "description": "Seconds after which to try again",
        "required": True,
        "schema": {"type": "integer", "minimum": 1, "maximum": 300},
    },
    "WWW-Authenticate": {"description": "What kind of token", "required": True, "schema": {"type": "string"}},
    "X-Request-ID": {"description": "The id of the request", "required": True, "schema": {"type": "string"}},
}


def make_document(operations: Iterable[Operation], base: str) -> JsonObject:
    """Return the document. `base` begins the address of every route; empty: the address that the client used."""
    listed = list(operations)
    refs, components = _schemas(listed)
    paths: dict[str, dict[str, JsonValue]] = {}
    for operation in listed:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _describe(operation, refs)
    return {
        "openapi": "3.1.0",
        "info": {"title": "prebuild", "version": __version__},
        "servers": [{"url": base or "/"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


_Refs = Mapping[tuple[type[BaseModel], JsonSchemaMode], JsonValue]


def _schemas(operations: list[Operation]) -> tuple[_Refs, JsonValue]:
    """Return a reference to each model, and the schemas that they refer to."""
    models: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {(ProblemAnswer, "serialization"): None}
    for operation in operations:
        models[operation.query, "validation"] = None
        if operation.body:
            models[operation.body, "validation"] = None
        for answer in operation.answers:
            if answer.model:
                models[answer.model, "serialization"] = None
    refs, schema = models_json_schema(list(models), ref_template=_REF)
    components: JsonValue = schema["$defs"]
    return {key: refs[key] for key in models}, components


def _describe(operation: Operation, refs: _Refs) -> dict[str, JsonValue]:
    described: dict[str, JsonValue] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": list(_parameters(operation)),
        "responses": _responses(operation, refs),
    }
    if operation.scope is None:
        described["security"] = []
    else:
        described["description"] = f"Needs a token with the scope `{operation.scope}`."
    if operation.body:
        content: JsonValue = {"schema": refs[operation.body, "validation"], "example": operation.body_example}
        described["requestBody"] = {"required": operation.body_needed, "content": {JSON: content}}
    return described


def _parameters(operation: Operation) -> Iterator[dict[str, JsonValue]]:
    for name in _IN_PATH.findall(operation.path):
        yield {
            "name": name, "in": "path", "required": True, "example": _example_of(operation, name),
            "schema": {"type": "string", "minLength": 1},
        }  # fmt: skip
    for name, schema in operation.query.model_json_schema(ref_template=_REF).get("properties", {}).items():
        plain = {key: value for key, value in schema.items() if key not in ("title", "description")}
        yield {"name": name, "in": "query", "description": schema.get("description", ""), "schema": plain}
    if any(answer.stream for answer in operation.answers):
        yield {
            "name": "Last-Event-ID",
            "in": "header",
            "description": "In a stream, the id of the last event that the client has",
            "schema": {"type": "string", "pattern": "^[0-9]{1,18}$"},
        }
    if operation.takes_key:
        yield {
            "name": "Idempotency-Key",
            "in": "header",
            "description": "The id of the request; a retry with the same id is the same request",
            "example": examples.KEY,
            "schema": _KEY_SCHEMA,
        }


def _responses(operation: Operation, refs: _Refs) -> dict[str, JsonValue]:
    responses: dict[str, JsonValue] = {
        str(answer.status): _answer(answer, operation, refs) for answer in operation.answers
    }
    if operation.tagged:
        responses["304"] = {"description": "The client has the body already", "headers": _headers("ETag")}
    for status in _refusals(operation):
        responses.setdefault(str(status), _problem(status, refs))
    return responses


def _refusals(operation: Operation) -> list[int]:
    common = _OF_EVERY_TOKEN if operation.scope else ()
    of_body = _OF_EVERY_BODY if operation.has_body else ()
    return sorted({*operation.refusals, *common, *of_body})


def _answer(answer: AnswerDoc, operation: Operation, refs: _Refs) -> dict[str, JsonValue]:
    names = [*answer.headers, *(["ETag"] if operation.tagged else [])]
    described: dict[str, JsonValue] = {"description": answer.what, "headers": _headers(*names)}
    if answer.status != HTTPStatus.NO_CONTENT:
        schema: JsonValue = refs[answer.model, "serialization"] if answer.model else {"type": "string"}
        content: dict[str, JsonValue] = {answer.media_type: {"schema": schema, "example": answer.example}}
        if answer.stream:
            content[EVENT_STREAM] = {"schema": {"type": "string"}, "example": answer.stream}
        described["content"] = content
    if answer.links:
        described["links"] = {link.operation: _link(link) for link in answer.links}
    return described


def _link(link: NextCall) -> JsonValue:
    parameters: JsonValue = {name: f"$response.body#/{at}" for name, at in link.parameters.items()}
    return {"operationId": link.operation, "parameters": parameters}


def _example_of(operation: Operation, name: str) -> str:
    """Return the example of a part of the path."""
    if name == "id":
        return examples.BUILD_ID if operation.path.startswith(BUILDS) else examples.CLAIM_ID
    return examples.NAMES[name]


def _problem(status: int, refs: _Refs) -> dict[str, JsonValue]:
    example = examples.PROBLEM if status == HTTPStatus.TOO_MANY_REQUESTS else {**examples.PROBLEM, "status": status}
    return {
        "description": HTTPStatus(status).phrase,
        "headers": _headers(*([_OF_PROBLEMS[status]] if status in _OF_PROBLEMS else [])),
        "content": {MEDIA_TYPE: {"schema": refs[ProblemAnswer, "serialization"], "example": example}},
    }


def _headers(*names: str) -> dict[str, JsonObject]:
    return {name: _HEADERS[name] for name in (*names, "X-Request-ID")}
