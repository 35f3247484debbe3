"""The example and the tutorial did not show `ready_timeout`, which decides when a start that hangs is given up."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
TUTORIAL = re.findall(r"^```yaml\n(.*?)^```", (ROOT / "docs/getting-started.md").read_text(), re.MULTILINE | re.DOTALL)
EXAMPLES = {"example": (ROOT / "examples/pools.yaml").read_text(), "tutorial": TUTORIAL[0]}


@pytest.mark.parametrize("text", EXAMPLES.values(), ids=EXAMPLES)
def test_every_preset_of_what_newcomers_copy_has_it(text: str) -> None:
    presets = [preset for template in yaml.safe_load(text)["templates"] for preset in template["presets"]]
    assert [preset["name"] for preset in presets if "ready_timeout" not in preset] == []
