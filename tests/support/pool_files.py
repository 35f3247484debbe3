"""Pools files that several tests declare."""

from __future__ import annotations

from prebuild_tasks.pools.file.load import ConfigCheck, DeclaredPools, load_nodes
from prebuild_tasks.pools.file.nodes import read_text

LONG = """
schema: 1
templates:
  - name: dev
    active_version: {active}
    versions:
      - {{name: v1, config: {{start: "true"}}, presets: [{{name: small, desired: 1}}]}}
      - {{name: v2, config: {{start: "{start}"}}, presets: [{{name: small, desired: 1}}]}}
"""
"""The long form: two named versions, `active` of them the active one."""


def many(number: int, *, desired: int = 1, start: str = "true") -> str:
    """Return a pools file with a template per ten presets, each with a parameter and a schedule."""
    lines = ["schema: 1", "templates:"]
    for position in range(0, number, 10):
        lines += [f"  - name: t{position}", f'    config: {{start: "{start}"}}', "    presets:"]
        for preset in range(10):
            values = (
                f'timezone: UTC, schedules: [{{cron: "* 8 * * *", desired: {desired + 1}}}], parameters: {{A: "1"}}'
            )
            lines.append(f"      - {{name: p{preset}, desired: {desired}, {values}}}")
    return "\n".join(lines)


def load_text(text: str, file: str = "<text>", *, check_config: ConfigCheck | None = None) -> DeclaredPools:
    """Load a text as if it were the pools file of this name."""
    return load_nodes([read_text(text, file)], check_config)
