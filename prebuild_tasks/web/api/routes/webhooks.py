"""Webhooks: create, list, test, rotate, disable and enable them, and see their deliveries."""

from __future__ import annotations

from starlette.responses import Response

from prebuild_tasks import webhooks
from prebuild_tasks.access import Scope
from prebuild_tasks.json_views import fields_of, to_json
from prebuild_tasks.model.durations import parse_duration
from prebuild_tasks.model.json_values import JsonValue
from prebuild_tasks.web.api import examples
from prebuild_tasks.web.api.answers import OperationAnswer, PageAnswer
from prebuild_tasks.web.api.call import Call
from prebuild_tasks.web.api.examples import page_of
from prebuild_tasks.web.api.links import WEBHOOKS
from prebuild_tasks.web.api.lists import Sort, after, instant_of, page
from prebuild_tasks.web.api.models import DeliveriesQuery, Nothing, PageQuery, RotateBody, WebhookBody
from prebuild_tasks.web.api.operations import AnswerDoc, NextCall, Operation
from prebuild_tasks.web.api.webhook_answers import DeliveryAnswer, NewWebhookAnswer, WebhookAnswer
from prebuild_tasks.webhooks import DeliveryKey, DeliveryView, NewWebhook, NewWebhookRequest, WebhookView

_ONE = WEBHOOKS + "/{webhook}"
_BY_NAME, _BY_CREATION = Sort("webhooks", 1), Sort("deliveries", 2)


async def create(call: Call) -> Response:
    """Create a webhook."""
    call.query(Nothing)
    request = NewWebhookRequest(**call.body(WebhookBody).model_dump())
    made = await call.in_thread(lambda: call.runtime.webhooks.create(request, actor=call.actor()))
    return call.answer(_new_json(made), 201)


async def list_all(call: Call) -> Response:
    """List webhooks by name."""
    query = call.query(PageQuery)
    name = await after(call, query, _BY_NAME, "".join) or ""
    rows = await call.in_thread(lambda: call.runtime.webhooks.list(name, query.limit + 1))
    return await page(call, query, _BY_NAME, rows, lambda row: (row.name,), fields_of)


async def test(call: Call) -> Response:
    """Have a test sent."""
    name = (await _find(call)).name
    call.query(Nothing)
    delivery = await call.in_thread(lambda: webhooks.send_test(call.runtime.database, name))
    return call.answer(fields_of(delivery), 202)


async def rotate(call: Call) -> Response:
    """Replace the secret of a webhook."""
    name = (await _find(call)).name
    call.query(Nothing)
    overlap = parse_duration(call.body(RotateBody).overlap)
    made = await call.in_thread(lambda: call.runtime.webhooks.rotate(name, overlap, actor=call.actor()))
    return call.answer(_new_json(made))


async def disable(call: Call) -> Response:
    """Send nothing more to a webhook."""
    name = (await _find(call)).name
    call.query(Nothing)
    changed = await call.in_thread(lambda: call.runtime.webhooks.disable(name, actor=call.actor()))
    return call.answer({"changed": changed})


async def enable(call: Call) -> Response:
    """Send events to a webhook again."""
    name = (await _find(call)).name
    call.query(Nothing)
    changed = await call.in_thread(lambda: call.runtime.webhooks.enable(name, actor=call.actor()))
    return call.answer({"changed": changed})


async def list_its_deliveries(call: Call) -> Response:
    """List the deliveries of a webhook, the latest first."""
    name = (await _find(call)).name
    query = call.query(DeliveriesQuery)
    start = await after(call, query, _BY_CREATION, lambda at: DeliveryKey(instant_of(at[0]), at[1]))

    def read() -> list[DeliveryView]:
        database = call.runtime.database
        return webhooks.list_deliveries(database, name, start, query.limit + 1, status=query.status)

    rows = await call.in_thread(read)
    return await page(call, query, _BY_CREATION, rows, lambda row: (row.created_at.isoformat(), row.id), fields_of)


async def redeliver(call: Call) -> Response:
    """Send a delivery once more."""
    name = (await _find(call)).name
    delivery, database = call.named("delivery"), call.runtime.database
    await call.in_thread(lambda: webhooks.read_delivery(database, delivery, name))  # 404 before the query's 400
    call.query(Nothing)
    again = await call.in_thread(lambda: webhooks.redeliver(database, delivery, name))
    return call.answer(fields_of(again), 202)


async def _find(call: Call) -> WebhookView:
    """Return the webhook that the path names. Raises NotFoundError."""
    name = call.named("webhook")
    return await call.in_thread(lambda: call.runtime.webhooks.read(name))


def _new_json(made: NewWebhook) -> JsonValue:
    return {"secret": made.secret, **fields_of(made.view), "unknown": to_json(made.unknown)}


_CHANGED = (AnswerDoc(what="Whether that changed anything", model=OperationAnswer, example=examples.CHANGED),)
_SENT = (AnswerDoc(what="It is about to be sent", model=DeliveryAnswer, example=examples.DELIVERY, status=202),)
_MISSING, _REFUSED = (404,), (404, 409)

OPERATIONS = (
    Operation(
        method="POST", path=WEBHOOKS, name="createWebhook", summary="Send the events that follow to a URL",
        scope=Scope.ADMIN, handle=create, body=WebhookBody, body_needed=True, body_example=examples.WEBHOOK_BODY,
        sees_all=True, refusals=(409, 422),
        answers=(
            AnswerDoc(
                what="The webhook with its secret", model=NewWebhookAnswer, example=examples.NEW_WEBHOOK, status=201,
                links=(NextCall("testWebhook", {"webhook": "name"}),),
            ),
        ),
    ),
    Operation(
        method="GET", path=WEBHOOKS, name="listWebhooks", summary="List webhooks by name",
        scope=Scope.ADMIN, handle=list_all, query=PageQuery, sees_all=True,
        answers=(
            AnswerDoc(
                what="A page of webhooks", model=PageAnswer[WebhookAnswer], example=page_of(examples.WEBHOOK),
                links=(NextCall("listDeliveries", {"webhook": "items/0/name"}),),
            ),
        ),
    ),
    Operation(
        method="POST", path=f"{_ONE}/test", name="testWebhook", summary="Have a test sent",
        scope=Scope.ADMIN, handle=test, sees_all=True, refusals=_REFUSED, answers=_SENT,
    ),
    Operation(
        method="POST", path=f"{_ONE}/rotate", name="rotateWebhook", summary="Replace the secret of a webhook",
        scope=Scope.ADMIN, handle=rotate, body=RotateBody, body_example=examples.ROTATE_BODY, sees_all=True,
        refusals=(404, 422),
        answers=(
            AnswerDoc(
                what="The webhook with its new secret", model=NewWebhookAnswer, example=examples.NEW_WEBHOOK
            ),
        ),
    ),
    Operation(
        method="POST", path=f"{_ONE}/disable", name="disableWebhook", summary="Send nothing more to a webhook",
        scope=Scope.ADMIN, handle=disable, sees_all=True, refusals=_MISSING, answers=_CHANGED,
    ),
    Operation(
        method="POST", path=f"{_ONE}/enable", name="enableWebhook", summary="Send events to a webhook again",
        scope=Scope.ADMIN, handle=enable, sees_all=True, refusals=_MISSING, answers=_CHANGED,
    ),
    Operation(
        method="GET", path=f"{_ONE}/deliveries", name="listDeliveries", summary="List what was sent to a webhook",
        scope=Scope.ADMIN, handle=list_its_deliveries, query=DeliveriesQuery, sees_all=True, refusals=_MISSING,
        answers=(
            AnswerDoc(
                what="A page of deliveries, the latest first", model=PageAnswer[DeliveryAnswer],
                example=page_of(examples.DELIVERY),
                links=(NextCall("redeliver", {"webhook": "items/0/webhook", "delivery": "items/0/id"}),),
            ),
        ),
    ),
    Operation(
        method="POST", path=f"{_ONE}/deliveries/{{delivery}}/redeliver", name="redeliver",
        summary="Send a delivery once more, with the same id",
        scope=Scope.ADMIN, handle=redeliver, sees_all=True, refusals=_REFUSED, answers=_SENT,
    ),
)  # fmt: skip
