"""The commands `db upgrade`, `config show`, `config schema` and `decide`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from prebuild_tasks.cli.output import JsonOption, opened, write, write_json, write_rows
from prebuild_tasks.cli.progress import Working
from prebuild_tasks.config import EMPTY_MEANS_NO_NAMES, Settings, load_settings
from prebuild_tasks.errors import InputError
from prebuild_tasks.model.addresses import masked_url
from prebuild_tasks.model.durations import duration_text

db = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, help="Manage the database schema")
config = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Show settings and the schema of the pools file",
)
_SECRET = {"flower_basic_auth"}
_WIDTH = 100
"""Columns of `config show` where there is no terminal: some values are lists of many names."""


@db.callback()
def _db() -> None:
    """Manage the database schema."""


@db.command()
def upgrade(as_json: JsonOption = False) -> None:
    """Migrate the database to the newest schema.

    It is safe to run this twice, and from several machines at once.
    """
    from prebuild_tasks.db.engine import Database

    settings = load_settings()
    database = opened(Database.of(settings))
    # This waits for a migration that runs elsewhere.
    with Working("migrating the database", quiet=as_json):
        steps = database.upgrade()
    if as_json:
        write_json({"applied": steps, "revision": database.revision()})
    else:
        where = masked_url(settings.resolved_database_url)
        write(f"{where}: " + (f"migrated to {steps[-1]}" if steps else f"already at {database.revision()}"))


@config.command()
def show(as_json: JsonOption = False) -> None:
    """Show every setting, its value and its source.

    Secrets are masked.
    """
    settings = load_settings()
    rows = []
    readable: dict[str, str] = {}
    for name in Settings.model_fields:
        value = getattr(settings, name)
        readable[f"PREBUILD_{name.upper()}"] = _readable(name, value)
        shown = "***" if name in _SECRET and value else masked_url(value) if name.endswith("_url") else value
        rows.append(
            {
                "variable": f"PREBUILD_{name.upper()}",
                "value": ",".join(shown) if isinstance(shown, tuple) else str(shown),
                "source": _source(name),
            }
        )
    for name, value in (("database", settings.resolved_database_url), ("redis", settings.resolved_redis_url)):
        rows.append({"variable": f"({name} in use)", "value": masked_url(value), "source": "resolved"})
    if as_json:
        write_json(rows)
    else:
        shown = [{**row, "value": readable.get(row["variable"]) or row["value"]} for row in rows]
        columns = {"variable": "VARIABLE", "value": "VALUE", "source": "SOURCE"}
        write_rows(shown, columns, empty="", width=_WIDTH)


@config.command()
def schema() -> None:
    """Print the JSON Schema of the pools file."""
    from prebuild_tasks.pools import config_schema

    write_json(config_schema())


def decide(
    file: Annotated[Path, typer.Argument(help="JSON with a decision case or a list of them; - for stdin")],
) -> None:
    """Answer decision cases with the state and the actions of each."""
    from prebuild_tasks.cli.commands.decide_cases import decide_cases

    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
        cases = json.loads(text)
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise InputError(f"{file} is not JSON: {error}") from None
    answers = decide_cases(cases)
    write_json(answers if isinstance(cases, list) else answers[0])


def _readable(name: str, value: object) -> str:
    """Return a value that is not a secret as it can be set: durations with their units, lists with blanks to wrap at.

    Empty for every other value, which is shown as it is.
    """
    if isinstance(value, tuple):
        return ", ".join(value)
    return duration_text(value) if isinstance(value, float) and name not in _SECRET else ""


def _source(name: str) -> str:
    aliases = {"database_url": ("DATABASE_URL",), "redis_url": ("REDIS_URL", "CELERY_BROKER_URL")}.get(name, ())
    own = f"PREBUILD_{name.upper()}"
    if name == EMPTY_MEANS_NO_NAMES and own in os.environ:
        return own
    return next((v for v in (own, f"{own}_FILE", *aliases) if os.environ.get(v)), "default")
