"""Write the migration that a change of the tables needs: python -m tests.support.new_migration WORDS.

Without words, check that none is needed, as `make check` does.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from prebuild_tasks.db.engine import Database, alembic_config


def new_migration(message: str, directory: Path | None = None) -> Path:
    """Generate the next numbered migration by comparing the tables with a database at the latest revision.

    Args:
        message: What the migration does, in words; also the file's name.
        directory: Where to write it. Default: beside the other migrations.
    """
    config = alembic_config()
    config.set_main_option("file_template", "v%%(rev)s_%%(slug)s")
    if directory:
        versions = Path(config.get_main_option("script_location") or "") / "versions"
        config.set_main_option("version_locations", os.pathsep.join((str(versions), str(directory))))
    number = int(ScriptDirectory.from_config(config).get_current_head() or 0) + 1
    with _connected_to_latest(config):
        made = command.revision(
            config,
            message,
            autogenerate=True,
            rev_id=f"{number:04}",
            version_path=str(directory) if directory else None,
        )
    if made is None or isinstance(made, list):
        raise RuntimeError("Alembic made no single revision")
    return Path(made.path)


def check() -> None:
    """Compare the tables with a database at the latest revision, as `alembic check` does.

    Raises:
        CommandError: A migration is missing.
    """
    config = alembic_config()
    with _connected_to_latest(config):
        command.check(config)


@contextmanager
def _connected_to_latest(config: Config) -> Iterator[None]:
    with tempfile.TemporaryDirectory() as place:
        database = Database(f"sqlite:///{place}/latest.db")
        try:
            database.upgrade()
            with database.write() as connection:
                config.attributes["connection"] = connection
                yield
        finally:
            database.close()


if __name__ == "__main__":
    if words := " ".join(sys.argv[1:]):
        sys.stdout.write(f"{new_migration(words)}\n")
    else:
        try:
            check()
        except CommandError as error:
            sys.exit(f"{error}\nwrite the migration: python -m tests.support.new_migration WORDS")
