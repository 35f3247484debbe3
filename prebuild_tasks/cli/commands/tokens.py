"""The commands `token create`, `token list`, `token rotate` and `token revoke`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from prebuild_tasks import access
from prebuild_tasks.access import NewToken, NewTokenRequest, Scope, TokenState, TokenView
from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.cli.completion import complete_preset, complete_token
from prebuild_tasks.cli.output import (
    ActorOption,
    JsonOption,
    opened,
    write,
    write_changed,
    write_json,
    write_once,
    write_rows,
    write_warnings,
)
from prebuild_tasks.cli.usage import Command
from prebuild_tasks.cli.when import seconds_of
from prebuild_tasks.config import load_settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.json_views import to_json
from prebuild_tasks.model.json_values import JsonObject
from prebuild_tasks.model.text import number
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.remedy_commands import next_step

token = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode=None, help="Manage the tokens of the HTTP API"
)
_COLUMNS = {
    "name": "NAME",
    "scope": "SCOPE",
    "owner": "OWNER",
    "organization": "ORGANIZATION",
    "presets": "PRESETS",
    "expires": "EXPIRES (UTC)",
    "used": "LAST USED",
    "state": "STATE",
}
_GIVE_WAY = ("presets", "organization", "owner", "used")
"""Columns that stand below their row in a narrow terminal, the first of them first."""
_SHOWN_ONCE = "The token is not stored: this is the only time that it is shown."

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the token")]
KnownArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the token", autocompletion=complete_token)]


@token.callback()
def _token() -> None:
    """Manage the tokens of the HTTP API."""


# The arguments are the command's options.
@token.command(cls=Command)
def create(
    name: NameArgument,
    *,
    scope: Annotated[
        Scope, typer.Option(help="What it may do; each scope allows what the ones before it do", show_default=False)
    ],
    organization: Annotated[str, typer.Option(metavar="NAME", help="Only for this organization")] = "",
    preset: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEMPLATE/PRESET",
            help="Only for this pool; may be given several times",
            autocompletion=complete_preset,
        ),
    ] = None,
    owner: Annotated[str, typer.Option(metavar="NAME", help="Only for the workspaces of this owner")] = "",
    any_owner: Annotated[bool, typer.Option("--any-owner", help="With scope claim, for every owner")] = False,
    expires: Annotated[str, typer.Option(metavar="DURATION", help="Ends after this long, such as 90d")] = "",
    actor: ActorOption,
    as_json: JsonOption = False,
) -> None:
    """Create a token and print it.

    It works at once, and is not stored: nobody can print it again. A token of scope read sees everything; claim also
    claims, releases and extends workspaces; operate also deletes them, and pauses, resumes, unblocks, invalidates and
    reconciles pools; admin may do everything. The options limit it to an organization, to pools or to an owner. Scope
    claim must say for whom: --owner or --any-owner.
    """
    request = NewTokenRequest(
        name=name,
        scope=scope,
        organization=organization,
        presets=tuple(preset or ()),
        owner=owner,
        any_owner=any_owner,
        lifetime_s=seconds_of(expires, "--expires") if expires else None,
    )
    _write_new(access.create_token(_database(), request, actor=actor), as_json=as_json)


@token.command("list", cls=Command)
def list_(
    everything: Annotated[bool, typer.Option("--all", help="Also those that have expired or were revoked")] = False,
    as_json: JsonOption = False,
) -> None:
    """List tokens by name, with what each may do.

    With when it ends and when it was last used, exact to a minute. The tokens themselves are not stored.
    """
    tokens = access.list_tokens(_database())
    listed = [each for each in tokens if everything or each.state is TokenState.USABLE]
    if as_json:
        write_json([_listed_json(each) for each in listed])
        return
    create_one = next_step("create one", Remedy(RemedyKind.CREATE_TOKEN))
    write_rows([_row(each) for each in listed], _COLUMNS, empty=f"no tokens; {create_one}", gives_way=_GIVE_WAY)
    if left := len(tokens) - len(listed):
        write(f"({number(left, 'token')} that ended; more with --all)")


@token.command(cls=Command)
def rotate(
    name: KnownArgument,
    *,
    overlap: Annotated[
        str, typer.Option(metavar="DURATION", help="How long the former token goes on working; 0 ends it at once")
    ] = "1h",
    actor: ActorOption,
    as_json: JsonOption = False,
) -> None:
    """Replace a token, and print the new one.

    The new one may do the same, and lives as long as the former one was given, which works for a while longer. What was
    claimed with idempotency keys of the former one, the new one repeats with the same keys.
    """
    seconds = seconds_of(overlap, "--overlap")
    _write_new(access.rotate_token(_database(), name, seconds, actor=actor), as_json=as_json)


@token.command(cls=Command)
def revoke(name: KnownArgument, *, actor: ActorOption, as_json: JsonOption = False) -> None:
    """End a token, everywhere within 2 seconds."""
    changed = access.revoke_token(_database(), name, actor=actor)
    write_changed(name, "revoked", changed=changed, as_json=as_json)


def _database() -> Database:
    database = opened(Runtime(load_settings())).database
    database.require_schema()  # before release 0.2 there is no table of tokens
    return database


def _write_new(made: NewToken, *, as_json: bool) -> None:
    write_warnings(f"there is no {name} yet" for name in made.unknown)
    if as_json:
        write_json({"token": made.text, **_token_json(made.view)})
        return
    write_once(made.text, _SHOWN_ONCE)


def _token_json(view: TokenView) -> JsonObject:
    return {
        "id": view.id,
        "name": view.name,
        "scope": view.scope.value,
        "organization": view.organization or None,
        "presets": list(view.presets),
        "owner": view.owner or None,
        "any_owner": view.any_owner,
        "expires_at": to_json(view.expires_at),
    }


def _listed_json(view: TokenView) -> JsonObject:
    rest = ("created_at", "created_by", "last_used_at", "revoked_at", "state")
    return {**_token_json(view), **{key: to_json(getattr(view, key)) for key in rest}}


def _row(view: TokenView) -> dict[str, str]:
    return {
        "name": view.name,
        "scope": view.scope.value,
        "owner": view.owner or "any",
        "organization": view.organization,
        "presets": ", ".join(view.presets),
        "expires": _minute(view.expires_at, "never"),
        "used": _minute(view.last_used_at, "never"),
        "state": "" if view.state is TokenState.USABLE else view.state.value,
    }


def _minute(at: datetime | None, otherwise: str) -> str:
    return f"{at:%Y-%m-%d %H:%M}" if at else otherwise
