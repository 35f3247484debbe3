"""The commands `db upgrade`, `config show`, `config schema` and `decide`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from prebuild_tasks.cli.output import JsonOption, opened, write, write_json, write_rows
from prebuild_tasks.cli.progress import Working
from prebuild_tasks.config import Settings, load_settings
from prebuild_tasks.errors import InputError
from prebuild_tasks.insight import SECRET_SETTINGS, shown_settings, variable_of
from prebuild_tasks.json_views import rows_of
from prebuild_tasks.model.addresses import masked_url
from prebuild_tasks.model.durations import duration_text

db = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, help="Manage the database schema")
config = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Show settings and the schema of the pools file",
)
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
    rows = rows_of(shown_settings(settings))
    if as_json:
        write_json(rows)
    else:
        readable = {variable_of(name): _readable(name, getattr(settings, name)) for name in Settings.model_fields}
        shown = [{**row, "value": readable.get(str(row["variable"])) or row["value"]} for row in rows]
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
        return ", ".join(map(str, value))
    return duration_text(value) if isinstance(value, float) and name not in SECRET_SETTINGS else ""
