"""Locks on an empty Redis."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from prebuild_tasks.messaging.redis import connect
from prebuild_tasks.reconcile.locks import Locks


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with connect(redis_url) as client:
        yield client


@pytest.fixture
def locks(client: redis.Redis) -> Locks:
    return Locks(client, "test", ttl=10)
