"""A data directory with `%XX`, `?` or `#` in its name had its database beside it, and its Redis nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from celery.utils.nodenames import default_nodename, host_format
from kombu import Connection
from kombu.utils.url import url_to_parts
from redis import Redis

from prebuild_tasks.cli.up.redis_server import RedisServer
from prebuild_tasks.cli.up.service import node_host
from prebuild_tasks.config import Settings, load_settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.messaging import broker_url
from prebuild_tasks.start_commands import celery_arguments

NAMES = ["a%41b", "a?b=c", "a#b", "100%", "a%zz é", "plain"]


@pytest.mark.parametrize("name", NAMES)
def test_the_database_is_in_the_directory(tmp_path: Path, name: str) -> None:
    settings = Settings(data_dir=tmp_path / name)
    database = Database.of(settings)
    database.upgrade()
    database.close()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name / "prebuild.db").exists()
    again = load_settings({"PREBUILD_DATABASE_URL": settings.resolved_database_url})  # as the children of `up` get it
    assert again.resolved_database_url == settings.resolved_database_url


@pytest.mark.parametrize("note", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_every_client_of_redis_finds_the_socket(tmp_path: Path, name: str, note: bool) -> None:
    settings = Settings(data_dir=tmp_path / name)
    if note:
        settings.redis_note.parent.mkdir(parents=True)
        settings.redis_note.write_text(RedisServer(settings.data_dir / "redis").url)
    client = Redis.from_url(settings.resolved_redis_url)
    assert client.connection_pool.connection_kwargs["path"] == str(settings.redis_socket)
    client.close()
    with Connection(broker_url(settings)) as connection:
        assert f"/{url_to_parts(connection.info()['hostname']).path}" == str(settings.redis_socket)


def test_celery_takes_no_percent_sign_in_the_host_for_a_format() -> None:
    name = celery_arguments(Settings(), node_host("a%nb%x"))["builds"][2]
    assert host_format(default_nodename(name)) == "builds@a%nb%x"
