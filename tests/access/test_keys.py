"""The installation's key is made once, whoever asks first."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from prebuild_tasks.access.keys import signing_key
from prebuild_tasks.db.engine import Database


def test_all_processes_get_one_key(database: Database, database_url: str) -> None:
    others = [Database(database_url) for _ in range(4)]
    try:
        with ThreadPoolExecutor(4) as threads:
            keys = list(threads.map(signing_key, others))
    finally:
        for other in others:
            other.close()
    assert {*keys, signing_key(database)} == {keys[0]}
    assert len(keys[0]) == 32
