"""A preset named ¹ was taken for an id, and the command ended with a ValueError instead of a message. 2,000 hostile
names found it (tests/faults/test_hostile.py). `isdigit` accepts digits that `int` refuses; `isdecimal` does not."""

from __future__ import annotations

import pytest

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import InputError, NotFoundError
from prebuild_tasks.pools.operations import pause
from tests.support.builders import declare


@pytest.mark.parametrize("name", ["\u00b9", "\u0663", "1\u00b2"])
def test_it_is_refused_in_a_sentence(database: Database, settings: Settings, name: str) -> None:
    declare(database, settings, 1)
    with pytest.raises((InputError, NotFoundError), match=name):
        pause(database, name, actor="test")
