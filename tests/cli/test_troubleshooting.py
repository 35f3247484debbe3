"""docs/troubleshooting.md names everything that the doctor can find, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

from prebuild_tasks.insight.doctor.findings import Symptom

PAGE = (Path(__file__).parents[2] / "docs" / "troubleshooting.md").read_text()


def test_every_code_has_its_row() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", PAGE, flags=re.MULTILINE)
    assert rows == [symptom.value for symptom in Symptom]
