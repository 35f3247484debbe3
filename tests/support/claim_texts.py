"""Write the statements of a quick claim anew: `python -m tests.support.claim_texts`."""

from __future__ import annotations

import textwrap
from pathlib import Path

from prebuild_tasks.claims import statements as generated

FILE = Path(generated.__file__).with_name("quick") / "texts.py"
_HEAD = '''"""The statements of a quick claim, which `tests.support.claim_texts` writes from `claims/statements.py`."""

from __future__ import annotations
'''


def module_text() -> str:
    """Return the text of the module."""
    return _HEAD + "".join(f"\n{name} = (\n{_lines(text)})\n" for name, text in generated.statements().items())


def _lines(text: str) -> str:
    pieces = textwrap.wrap(text.replace('"', r"\""), 100, break_long_words=False, break_on_hyphens=False)
    return "".join(f'    "{piece} "\n' for piece in pieces[:-1]) + f'    "{pieces[-1]}"\n'


if __name__ == "__main__":
    FILE.write_text(module_text())
