"""The commands of `webhook`: create, list, test, rotate, disable, enable, deliveries and redeliver."""

from __future__ import annotations

from typing import Annotated

import typer

from prebuild_tasks import webhooks
from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.cli.afar import afar
from prebuild_tasks.cli.completion import complete_preset, complete_webhook
from prebuild_tasks.cli.output import (
    ActorOption,
    JsonOption,
    opened,
    write,
    write_changed,
    write_json,
    write_more,
    write_once,
    write_rows,
    write_warnings,
)
from prebuild_tasks.cli.usage import Command
from prebuild_tasks.cli.when import seconds_of
from prebuild_tasks.config import load_settings
from prebuild_tasks.json_views import fields_of, rows_of
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.remedy_commands import next_step
from prebuild_tasks.webhooks import DeliveryStatus, DeliveryView, NewWebhook, NewWebhookRequest, WebhookView

webhook = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode=None, help="Manage what is told to other services"
)
_COLUMNS = {
    "name": "NAME",
    "url": "URL",
    "events": "EVENTS",
    "presets": "PRESETS",
    "organization": "ORGANIZATION",
    "state": "STATE",
}
_GIVE_WAY = ("state", "presets", "organization", "events", "url")
"""Columns that stand below their row in a narrow terminal, the first of them first."""
_DELIVERY_COLUMNS = {
    "id": "DELIVERY",
    "kind": "EVENT",
    "created": "CREATED (UTC)",
    "status": "STATUS",
    "attempt": "ATTEMPTS",
    "next": "NEXT (UTC)",
    "error": "ERROR",
}
_DELIVERIES_GIVE_WAY = ("error", "next", "attempt", "created")
_SHOWN_ONCE = "The secret is not stored: this is the only time that it is shown."

KnownArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of the webhook", autocompletion=complete_webhook)
]


@webhook.callback()
def _webhook() -> None:
    """Manage what is told to other services."""


# The arguments are the command's options.
@webhook.command(cls=Command)
def create(
    url: Annotated[str, typer.Argument(metavar="URL", help="Where to send events, such as https://ci.example.com/in")],
    *,
    name: Annotated[str, typer.Option(metavar="NAME", help="Name of the webhook; by default the host")] = "",
    events: Annotated[
        str, typer.Option(metavar="KIND,KIND", help="Kinds of events, such as claim,miss; by default all")
    ] = "",
    preset: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEMPLATE/PRESET",
            help="Only events of this pool; may be given several times",
            autocompletion=complete_preset,
        ),
    ] = None,
    organization: Annotated[str, typer.Option(metavar="NAME", help="Only events of this organization")] = "",
    actor: ActorOption,
    as_json: JsonOption = False,
) -> None:
    """Send the events that follow to a URL, and print the secret that signs them.

    The receiver verifies the signature by Standard Webhooks, and answers with a status of 2xx. Otherwise the delivery
    is repeated for two days, with the same id. The order of deliveries is not promised.
    """
    request = NewWebhookRequest(
        url=url,
        name=name,
        kinds=tuple(kind.strip() for kind in events.split(",") if kind.strip()),
        presets=tuple(preset or ()),
        organization=organization,
    )
    remote = afar()
    made = remote.webhooks.create(request) if remote else _runtime().webhooks.create(request, actor=actor)
    _write_new(made, as_json=as_json)


@webhook.command("list", cls=Command)
def list_(as_json: JsonOption = False) -> None:
    """List webhooks by name, with what each gets. Their secrets are not stored."""
    remote = afar()
    listed = remote.webhooks.list() if remote else _runtime().webhooks.list()
    if as_json:
        write_json(rows_of(listed))
        return
    write_rows([_row(each) for each in listed], _COLUMNS, empty="no webhooks", gives_way=_GIVE_WAY)


@webhook.command("test", cls=Command)
def send_test(name: KnownArgument, *, as_json: JsonOption = False) -> None:
    """Have a test sent, which the deliveries show."""
    remote = afar()
    delivery = remote.webhooks.send_test(name) if remote else webhooks.send_test(_runtime().database, name)
    if as_json:
        write_json(fields_of(delivery))
        return
    write(next_step(f"test {delivery.id} is about to be sent", Remedy(RemedyKind.LIST_DELIVERIES, name)))


@webhook.command(cls=Command)
def rotate(
    name: KnownArgument,
    *,
    overlap: Annotated[
        str, typer.Option(metavar="DURATION", help="How long deliveries are signed with the former secret, too")
    ] = "1d",
    actor: ActorOption,
    as_json: JsonOption = False,
) -> None:
    """Replace the secret of a webhook, and print the new one."""
    seconds = seconds_of(overlap, "--overlap")
    remote = afar()
    made = remote.webhooks.rotate(name, seconds) if remote else _runtime().webhooks.rotate(name, seconds, actor=actor)
    _write_new(made, as_json=as_json)


@webhook.command(cls=Command)
def disable(name: KnownArgument, *, actor: ActorOption, as_json: JsonOption = False) -> None:
    """Send nothing more to a webhook until it is enabled."""
    remote = afar()
    changed = remote.webhooks.disable(name) if remote else _runtime().webhooks.disable(name, actor=actor)
    write_changed(name, "disabled", changed=changed, as_json=as_json)


@webhook.command(cls=Command)
def enable(name: KnownArgument, *, actor: ActorOption, as_json: JsonOption = False) -> None:
    """Send events again: those that follow, and deliveries that were pending."""
    remote = afar()
    changed = remote.webhooks.enable(name) if remote else _runtime().webhooks.enable(name, actor=actor)
    write_changed(name, "enabled", changed=changed, as_json=as_json)


@webhook.command(cls=Command)
def deliveries(
    name: KnownArgument,
    *,
    status: Annotated[DeliveryStatus | None, typer.Option(help="Only those of this status")] = None,
    limit: Annotated[int, typer.Option(min=1, help="The most deliveries to show")] = 50,
    as_json: JsonOption = False,
) -> None:
    """List what was sent to a webhook, the latest first, and what came of it."""
    if remote := afar():
        listed = remote.webhooks.deliveries(name, status, limit)
    else:
        listed = webhooks.list_deliveries(_runtime().database, name, status=status, limit=limit)
    if as_json:
        write_json(rows_of(listed))
        return
    rows = [_delivery_row(each) for each in listed]
    write_rows(rows, _DELIVERY_COLUMNS, empty="no deliveries", gives_way=_DELIVERIES_GIVE_WAY)
    write_more(listed, limit, "latest")


@webhook.command(cls=Command)
def redeliver(
    delivery: Annotated[str, typer.Argument(metavar="DELIVERY", help="Id of the delivery")],
    *,
    as_json: JsonOption = False,
) -> None:
    """Send a delivery once more, with the same id."""
    remote = afar()
    again = remote.webhooks.redeliver(delivery) if remote else webhooks.redeliver(_runtime().database, delivery)
    if as_json:
        write_json(fields_of(again))
    else:
        write(f"{again.id} is about to be sent to {again.webhook}")


def _runtime() -> Runtime:
    runtime = opened(Runtime(load_settings()))
    runtime.database.require_schema()  # before schema 0015 there are no tables of webhooks
    return runtime


def _write_new(made: NewWebhook, *, as_json: bool) -> None:
    write_warnings(f"there is no {name} yet" for name in made.unknown)
    if as_json:
        write_json({"secret": made.secret, **fields_of(made.view)})
        return
    write_once(made.secret, _SHOWN_ONCE)


def _row(view: WebhookView) -> dict[str, str]:
    return {
        "name": view.name,
        "url": view.url,
        "events": ", ".join(view.kinds) or "all",
        "presets": ", ".join(view.presets) or "any",
        "organization": view.organization or "any",
        "state": f"disabled: {view.disabled_reason}" if view.disabled_at else "",
    }


def _delivery_row(view: DeliveryView) -> dict[str, object]:
    return {
        "id": view.id,
        "kind": view.kind if view.event is None else f"{view.kind} {view.event}",
        "created": view.created_at,
        "status": view.status.value,
        "attempt": view.attempt,
        "next": view.next_attempt_at,
        "error": view.error,
    }
