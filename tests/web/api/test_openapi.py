"""The OpenAPI document has an example for each route, and examples, answers and schemas agree."""

from __future__ import annotations

from typing import Any

import pytest

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.web.api.app import OPERATIONS
from prebuild_tasks.web.api.openapi import make_document
from prebuild_tasks.web.api.operations import AnswerDoc, Operation
from tests.support.api import Api
from tests.support.builders import PRESET, declare, fill

ANSWERS = [(operation, answer) for operation in OPERATIONS for answer in operation.answers]


def ids(value: object) -> str:
    return value.name if isinstance(value, Operation) else str(getattr(value, "status", value))


@pytest.mark.parametrize(("operation", "answer"), ANSWERS, ids=ids)
def test_every_answer_has_an_example_that_fits(operation: Operation, answer: AnswerDoc) -> None:
    if answer.status == 204:
        return
    assert answer.example is not None
    if answer.model:
        answer.model.model_validate(answer.example)


@pytest.mark.parametrize("operation", [one for one in OPERATIONS if one.body], ids=ids)
def test_every_body_has_an_example_that_fits(operation: Operation) -> None:
    assert operation.body
    operation.body.model_validate(operation.body_example)


def test_the_document_refers_to_what_it_has() -> None:
    document: Any = make_document(OPERATIONS, "https://door")

    def refs(node: Any) -> set[str]:
        if isinstance(node, dict):
            found = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
            return found.union(*(refs(item) for item in node.values()))
        return set().union(*(refs(item) for item in node)) if isinstance(node, list) else set()

    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert refs(document) <= known
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            for status, response in operation["responses"].items():
                for content in response.get("content", {}).values():
                    assert "example" in content, (path, method, status)
    assert document["servers"] == [{"url": "https://door"}]
    assert document["paths"]["/livez"]["get"]["security"] == []


KEYWORDS = {
    "$ref", "additionalProperties", "anyOf", "const", "default", "description", "enum", "exclusiveMaximum",
    "exclusiveMinimum", "format", "items", "maxItems", "maxLength", "maxProperties", "maximum", "minItems", "minLength",
    "minimum", "pattern", "properties", "propertyNames", "required", "title", "type",
}  # fmt: skip


def keywords_of(schema: Any) -> set[str]:
    """Return the keywords of a schema and of those within."""
    within = [*schema.get("anyOf", ()), *schema.get("properties", {}).values()]
    within += [schema[name] for name in ("items", "propertyNames", "additionalProperties") if name in schema]
    return set(schema).union(*(keywords_of(one) for one in within if isinstance(one, dict)))


def test_schemas_demand_nothing_in_words_that_clients_ignore() -> None:
    """Pydantic writes a bound that it cannot translate as a keyword of its own, such as `ge`."""
    document: Any = make_document(OPERATIONS, "")
    schemas = dict(document["components"]["schemas"])
    for path, methods in document["paths"].items():
        for operation in methods.values():
            schemas |= {f"{path} {one['name']}": one["schema"] for one in operation.get("parameters", ())}
    unknown = {name: keywords_of(schema) - KEYWORDS for name, schema in schemas.items()}
    assert not {name: words for name, words in unknown.items() if words}


READ = [
    "/v1/workspaces", "/v1/workspaces/ada/hers", "/v1/workspaces/ada/hers/history", "/v1/pools", "/v1/pools/dev/small",
    "/v1/pools/dev/small/explain", "/v1/pools/dev/small/report", "/v1/builds", "/v1/config", "/openapi.json",
    "/v1/webhooks", "/v1/webhooks/hook/deliveries",
]  # fmt: skip


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_answers_fit_their_models(api: Api, database: Database, settings: Settings) -> None:
    schedule = "timezone: UTC, schedules: [{cron: '* 8-18 * * *', desired: 2}]"
    declare(database, settings, 3, extra=f"claimed_ttl: 1d, {schedule}")
    fill(database, settings)
    claim(database, ClaimRequest(owner="ada", presets=[PRESET], name="hers"))
    api.post("/v1/webhooks", json={"url": "https://hooks.example.com/", "name": "hook"})
    api.post("/v1/webhooks/hook/test")
    models = {
        operation.path.format(
            owner="ada", name="hers", template="dev", preset="small", id="x", webhook="hook"
        ): operation.answers[0].model
        for operation in OPERATIONS
        if operation.method == "GET"
    }
    for path in READ:
        model = models[path]
        assert model
        model.model_validate_json(api.get(path).content)
