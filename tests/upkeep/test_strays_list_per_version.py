"""A sweep requests each list once, however many versions of a recipe share it.

Previously, each version's config was passed on its own, so that the provisioner could not recognize equal ones: two
hundred versions meant two hundred calls of `list`, each perhaps a request to a cloud, in every search for resources.
"""

from __future__ import annotations

import json
from pathlib import Path

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.options import ApplyOptions
from prebuild_tasks.provisioners import Provisioners
from prebuild_tasks.upkeep.strays.compare import sweep_resources
from tests.support.pool_files import load_text


def declare(database: Database, settings: Settings, config: dict[str, object]) -> None:
    whole = {"delete": "true", "claim": "true", **config}
    template = {"name": "dev", "provisioner": "command", "config": whole, "presets": [{"name": "s", "desired": 0}]}
    apply(database, settings, load_text(json.dumps({"schema": 1, "templates": [template]})), ApplyOptions("test"))


def test_a_list_is_asked_once(database: Database, settings: Settings, tmp_path: Path) -> None:
    listing = f"cat >> {tmp_path}/asked; echo >> {tmp_path}/asked; echo []"
    for number in range(5):
        declare(database, settings, {"start": f"echo version {number}", "list": listing, "settings": {"region": "eu"}})
    declare(database, settings, {"start": "true", "list": listing, "settings": {"region": "us"}})
    declare(database, settings, {"start": "true"})
    assert sweep_resources(database, settings, Provisioners(settings)).problems == ()
    asked = [json.loads(line)["config"]["region"] for line in (tmp_path / "asked").read_text().splitlines()]
    assert sorted(asked) == ["eu", "us"]
