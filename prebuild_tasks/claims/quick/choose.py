"""Choose the driver of a quick claim."""

from __future__ import annotations

from prebuild_tasks.claim_settings import ClaimSettings
from prebuild_tasks.claims.quick.port import QuickClaim
from prebuild_tasks.db.drivers import psycopg_arguments, sqlite_file


def quick_claim(settings: ClaimSettings) -> QuickClaim | None:
    """Return a claim on the database of the settings; None if it needs SQLAlchemy. Nothing is connected to yet."""
    if settings.pooled:
        return None
    if arguments := psycopg_arguments(settings.database_url):
        from prebuild_tasks.claims.quick.postgresql import PostgresqlClaim

        try:
            return PostgresqlClaim(arguments)
        except ImportError:
            return None
    if file := sqlite_file(settings.database_url):
        from prebuild_tasks.claims.quick.sqlite import SqliteClaim

        return SqliteClaim(file)
    return None
