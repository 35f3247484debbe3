"""Databases in other encodings than the tests' own, on the same server."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg


@contextmanager
def administered(url: str) -> Iterator[psycopg.Connection]:
    """Connect as the superuser, without transactions."""
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        yield connection


@contextmanager
def in_encoding(postgres_url: str, encoding: str) -> Iterator[str]:
    """Create a database in an encoding for as long as the block lasts, and give its URL."""
    name = f"e{uuid.uuid4().hex[:12]}"
    with administered(postgres_url) as connection:
        how = f"ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
        connection.execute(f"CREATE DATABASE {name} {how}".encode())
        yield postgres_url.replace(f"/{postgres_url.partition('@/')[2].partition('?')[0]}?", f"/{name}?")
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
