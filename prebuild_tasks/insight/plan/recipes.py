"""The difference between two versions of a template's recipe, as people read it. The functions are pure.

Secrets appear as the references that are declared, never as values.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

_CONTEXT = 2
"""Lines of a text that are shown before and after what changed."""
_NEWLINE = "\n"


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a version is built from."""

    version: str
    provisioner: str
    config: Mapping[str, object]
    parameters: Mapping[str, Mapping[str, str]]
    """The parameters of each preset, by the preset's name; of a secret, the reference to it."""


@dataclass(frozen=True, slots=True)
class ValueChange:
    """A changed value. None: the recipe does not have it."""

    key: str
    """The key as the pools file has it: `config.start`, `provisioner`, or `presets.small.parameters.REPO`."""
    before: str | None
    after: str | None

    def lines(self) -> Iterator[str]:
        """Yield the change as the lines of a diff: `-` what was, `+` what is to be."""
        was, now = _lines(self.before or ""), _lines(self.after or "")
        if len(was) <= 1 and len(now) <= 1 and (was != now or None in (self.before, self.after)):
            if self.before is not None:
                yield f"- {self.key}: {self.before or repr('')}"
            if self.after is not None:
                yield f"+ {self.key}: {self.after or repr('')}"
            return
        yield f"{'+' if self.before is None else '-' if self.after is None else '~'} {self.key}:"
        if was == now:
            ends = "ends" if (self.after or "").endswith(_NEWLINE) else "no longer ends"
            yield f"    the last line {ends} in a newline"
        groups = SequenceMatcher(None, was, now, autojunk=False).get_grouped_opcodes(_CONTEXT)
        for number, group in enumerate(groups):
            if number:
                yield "    ..."
            for tag, old_from, old_to, new_from, new_to in group:
                if tag == "equal":
                    yield from (f"    {line}" for line in was[old_from:old_to])
                else:
                    yield from (f"-   {line}" for line in was[old_from:old_to])
                    yield from (f"+   {line}" for line in now[new_from:new_to])


def _lines(text: str) -> list[str]:
    return text.removesuffix(_NEWLINE).split(_NEWLINE) if text else []


@dataclass(frozen=True, slots=True)
class RecipeChange:
    """The difference between the version that is active and the one that `apply` stores or activates."""

    template: str
    before: str
    """The name of the active version."""
    after: str
    changes: tuple[ValueChange, ...]


def reference(value: str | None, from_env: str | None, from_file: str | None) -> str:
    """Return a parameter's value, or the reference to a secret as the pools file has it."""
    if from_env is not None:
        return f"{{from_env: {from_env}}}"
    return f"{{from_file: {from_file}}}" if from_file is not None else value or ""


def recipe_change(template: str, before: Recipe, after: Recipe) -> RecipeChange:
    """Compare two recipes. Presets that only one of them has are not compared: they are changes of their own."""
    presets = [name for name in after.parameters if name in before.parameters]
    was, now = _values(before, presets), _values(after, presets)
    keys = [key for key in dict.fromkeys([*was, *now]) if was.get(key) != now.get(key)]
    changes = tuple(ValueChange(key, was.get(key), now.get(key)) for key in keys)
    return RecipeChange(template, before.version, after.version, changes)


def _values(recipe: Recipe, presets: Sequence[str]) -> dict[str, str]:
    values = {"provisioner": recipe.provisioner, **dict(_leaves("config", recipe.config))}
    for preset in presets:
        values |= {f"presets.{preset}.parameters.{name}": value for name, value in recipe.parameters[preset].items()}
    return values


def _leaves(key: str, value: object) -> Iterator[tuple[str, str]]:
    """Yield the texts in a value, each with the path to it. Lists are compared as a whole."""
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            yield from _leaves(f"{key}.{name}", item)
    else:
        yield key, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
