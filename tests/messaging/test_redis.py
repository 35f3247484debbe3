"""The connection to Redis: an error says where it is, and shows no password."""

from __future__ import annotations

import pytest

from prebuild_tasks.cli.remedy_commands import next_step_of
from prebuild_tasks.config import Settings
from prebuild_tasks.errors import UnreachableError
from prebuild_tasks.messaging.redis import require_redis


def test_a_redis_that_is_not_there_is_one_sentence() -> None:
    with pytest.raises(UnreachableError, match="did not answer") as caught:
        require_redis(Settings(redis_url="redis://:s3cret@127.0.0.1:1/0"))
    assert "s3cret" not in str(caught.value)
    assert "prebuild up" in next_step_of(caught.value)
