"""A quick claim reads the database's URL and the settings as SQLAlchemy and pydantic do, or leaves them to those."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from prebuild_tasks.claim_settings import ClaimSettings, read_claim_settings
from prebuild_tasks.claims.quick.choose import quick_claim
from prebuild_tasks.config import load_settings
from prebuild_tasks.db.connections import postgresql_engine
from prebuild_tasks.db.drivers import psycopg_arguments, sqlite_file
from prebuild_tasks.errors import InputError
from prebuild_tasks.model.urls import with_driver

URLS = [
    "postgresql://h/db", "postgres://u:p%40x@h.example:6543/d", "postgresql://u@/d?host=/tmp/x&port=5433",
    "postgresql://u@/d?host=/tmp/x", "postgresql://a:1,b:2/d", "postgresql://[::1]:1,b/d", "postgresql://h/d%20e",
    "postgresql://u:p@a,b/d?sslmode=verify-full&sslrootcert=/x%20y", "postgresql://h/d?target_session_attrs=any",
    "postgresql://a:1,b:2/d?target_session_attrs=any", "postgresql://h/d?connect_timeout=1&application_name=z",
]  # fmt: skip


@pytest.mark.parametrize("url", URLS)
def test_a_url_means_what_it_means_to_sqlalchemy(url: str) -> None:
    given: list[dict[str, Any]] = []
    engine, _ = postgresql_engine(with_driver(url), pooled=False)
    engine.dialect.connect = lambda **options: given.append(options) or 1 / 0  # type: ignore[method-assign,assignment]
    with pytest.raises(ZeroDivisionError):
        engine.raw_connection()
    given[0].pop("context", None)
    ours = psycopg_arguments(with_driver(url))
    assert ours in (None, given[0])
    assert (ours is None) == ("[::1]" in url)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://[::1]:5432/d", "postgresql://u:p@h/d?user=x", "postgresql://u:p/x@h/d", "postgresql://h",
        "postgresql://h/d?host=other", "postgresql://h/d?sslmode=a&sslmode=b", "mysql://h/d", "postgresql://u@/d?host=a,b",
        "sqlite:///file.db?uri=true", "sqlite://", "sqlite:///:memory:", "sqlite:///absent.db",
    ],
)  # fmt: skip
def test_a_url_that_is_not_plain_goes_the_usual_way(url: str) -> None:
    assert quick_claim(ClaimSettings(with_driver(url), "", Path())) is None
    assert quick_claim(ClaimSettings("postgresql+psycopg://h/d", "", Path(), pooled=True)) is None


def test_a_file_is_the_one_that_sqlalchemy_opens(tmp_path: Path) -> None:
    file = tmp_path / "a%20b c#d.db"
    file.touch()
    url = with_driver(f"sqlite:///{str(file).replace('%', '%25').replace('#', '%23')}")
    assert str(sqlite_file(url)) == make_url(url).database == str(file)


ENVIRONMENTS: list[dict[str, str]] = [
    {}, {"PREBUILD_DATABASE_URL": "postgresql://h/d"}, {"DATABASE_URL": "postgres://h/d", "REDIS_URL": "redis://r/2"},
    {"PREBUILD_DATABASE_URL": "", "DATABASE_URL": "postgresql://other/d"}, {"PREBUILD_DATA_DIR": "~/here"},
    {"CELERY_BROKER_URL": "rediss://u:p@r:1/0", "PREBUILD_REDIS_URL": "unix:///x/r.sock?db=2"},
    {"PREBUILD_DEBUG": "1", "PATH": "/bin"},
]  # fmt: skip


@pytest.mark.parametrize("given", ENVIRONMENTS)
def test_settings_are_those_that_pydantic_reads(given: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    _set_only(given, monkeypatch)
    assert read_claim_settings(os.environ) == load_settings().for_claims
    passed = {"database_url": "postgresql://passed/d", "redis_url": "redis://passed"}
    assert read_claim_settings(os.environ, **passed) == load_settings(**passed).for_claims


@pytest.mark.parametrize(
    "given",
    [
        {"PREBUILD_LOG_LEVEL": "nonsense"}, {"PREBUILD_NAMESPACE": "x"}, {"prebuild_redis_url": "redis://r"},
        {"Database_Url": "postgresql://h/d"}, {"REDIS_URL": "redis://r/x"}, {"REDIS_URL": "redis://r?password=x"},
        {"PREBUILD_DATABASE_POOLER": "transaction"},
    ],
)  # fmt: skip
def test_other_settings_are_left_to_pydantic(given: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    _set_only(given, monkeypatch)
    assert read_claim_settings(os.environ) is None


def test_a_url_comes_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "url"
    file.write_text("postgresql://from-file/d\n")
    _set_only({"PREBUILD_DATABASE_URL_FILE": str(file), "DATABASE_URL": "postgresql://h/d"}, monkeypatch)
    read = read_claim_settings(os.environ)
    assert read == load_settings().for_claims
    assert read.database_url == "postgresql+psycopg://from-file/d"
    file.unlink()
    with pytest.raises(InputError, match="cannot be read"):
        read_claim_settings(os.environ)


def _set_only(given: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith(("PREBUILD_", "DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL")):
            monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
