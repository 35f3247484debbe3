"""The usage line of a command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typer.core import TyperCommand

if TYPE_CHECKING:
    from typer._click import Context


class Command(TyperCommand):
    """A command that names its arguments in its usage as in `PRESET` and `[PRESET]`; typer would write `{preset}`."""

    def collect_usage_pieces(self, ctx: Context) -> list[str]:
        """Return the parts of the usage that follow the command's name."""
        return [piece.replace("{", "").replace("}", "").upper() for piece in super().collect_usage_pieces(ctx)]
