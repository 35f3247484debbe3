"""URLs of databases, as people and PostgreSQL's own tools write them."""

from __future__ import annotations

import pytest
from sqlalchemy.engine import make_url

from prebuild_tasks.model.urls import with_driver


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:////data/x.db",
        "postgresql+psycopg://u:p@h:5432/n",
        "postgresql+psycopg://u@/n?host=/run&x=a,b",
        "mysql://h,i/n",
    ],
)
def test_what_needs_no_change(url: str) -> None:
    assert with_driver(url) == url


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
def test_the_driver_is_named(scheme: str) -> None:
    assert with_driver(f"{scheme}://u:p@h/n") == "postgresql+psycopg://u:p@h/n"


@pytest.mark.parametrize(
    ("hosts", "host", "port"),
    [
        ("one:5433,two:5434", "one,two", "5433,5434"),
        ("one,two", "one,two", "5432,5432"),
        ("one:5433,two", "one,two", "5433,5432"),
        ("[::1]:5433,[fe80::2],three", "::1,fe80::2,three", "5433,5432,5432"),
    ],
)
def test_several_hosts_stand_in_the_query(hosts: str, host: str, port: str) -> None:
    url = make_url(with_driver(f"postgresql://ada:a%2Cb@{hosts}/name?target_session_attrs=any"))
    assert (url.username, url.password, url.host, url.database) == ("ada", "a,b", None, "name")
    assert dict(url.query) == {"host": host, "port": port, "target_session_attrs": "any"}
    _, arguments = url.get_dialect()().create_connect_args(url)
    assert (arguments["host"], arguments["port"]) == (host, port)
    assert make_url(with_driver(f"postgresql://{hosts}")).query["host"] == host


def test_what_cannot_be_read_is_left_for_the_error_that_shows_it() -> None:
    assert with_driver("postgresql://h:x:y,i/n") == "postgresql+psycopg://h:x:y,i/n"
