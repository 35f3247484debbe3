"""Write the migration that a change of the tables needs: python -m tests.support.new_migration WORDS."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from alembic import command
from alembic.script import ScriptDirectory

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
    with tempfile.TemporaryDirectory() as place:
        database = Database(f"sqlite:///{place}/latest.db")
        try:
            database.upgrade()
            with database.write() as connection:
                config.attributes["connection"] = connection
                made = command.revision(
                    config,
                    message,
                    autogenerate=True,
                    rev_id=f"{number:04}",
                    version_path=str(directory) if directory else None,
                )
        finally:
            database.close()
    if made is None or isinstance(made, list):
        raise RuntimeError("Alembic made no single revision")
    return Path(made.path)


if __name__ == "__main__":
    sys.stdout.write(f"{new_migration(' '.join(sys.argv[1:]))}\n")
