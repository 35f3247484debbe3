"""Operations on pools reach only what their principal reaches: the rest does not exist, in the same words."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from sqlalchemy import select

from prebuild_tasks.access.types import Reach
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import NotFoundError, RefusedError
from prebuild_tasks.pools.operations import OperationResult, invalidate, pause, resume, unblock
from prebuild_tasks.schema import tables as m
from tests.support.builders import PRESET, declare, fill

OUTSIDE = (Reach(organization="other"), Reach(presets=("dev/large",)), Reach(organization="default", presets=("a/b",)))
WITHIN = (Reach(), Reach(organization="default"), Reach(presets=(PRESET,)))
Operation = Callable[..., OperationResult]
OPERATIONS: tuple[Operation, ...] = (pause, resume, invalidate, unblock)


def state(database: Database) -> list[Any]:
    tables = (m.Preset.__table__, m.History.__table__, m.Setting.__table__)
    with database.read() as connection:
        return [tuple(row) for table in tables for row in connection.execute(select(table)).all()]


@pytest.mark.parametrize("operate", OPERATIONS)
def test_what_is_out_of_reach_does_not_exist(database: Database, settings: Settings, operate: Operation) -> None:
    declare(database, settings, 1)
    fill(database, settings)
    before = state(database)
    for reach in OUTSIDE:
        with pytest.raises(NotFoundError) as error:
            operate(database, PRESET, actor="ada", reach=reach)
        with pytest.raises(NotFoundError) as absent:
            operate(database, "dev/absent", actor="ada", reach=reach)
        assert str(error.value).replace(PRESET, "dev/absent") == str(absent.value)
    assert state(database) == before


@pytest.mark.parametrize("operate", OPERATIONS)
def test_what_is_within_reach_is_changed(database: Database, settings: Settings, operate: Operation) -> None:
    declare(database, settings, 1)
    for reach in WITHIN:
        pause(database, PRESET, actor="ada")
        assert operate(database, PRESET, actor="ada", reach=reach).changed is (operate is not unblock)


def test_a_pool_is_not_changed_for_one_owner_nor_all_of_them_for_a_part(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    before = state(database)
    calls = [partial(operate, database, PRESET, reach=Reach(owner="ada")) for operate in OPERATIONS]
    calls += [partial(operate, database, reach=reach) for operate in (pause, resume) for reach in OUTSIDE]
    for call in calls:
        with pytest.raises(RefusedError):
            call(actor="ada")
    assert state(database) == before
