"""Arguments of a command, and its usage line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typer.core import TyperCommand

from prebuild_tasks.faces import collecting_no_garbage

if TYPE_CHECKING:
    from typer._click import Context


class Command(TyperCommand):
    """A command that names its arguments in its usage as in `PRESET` and `[PRESET]`; typer would write `{preset}`."""

    def collect_usage_pieces(self, ctx: Context) -> list[str]:
        """Return the parts of the usage that follow the command's name."""
        return [piece.replace("{", "").replace("}", "").upper() for piece in super().collect_usage_pieces(ctx)]

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Parse the arguments. With the first of them, typer imports pydantic."""
        with collecting_no_garbage():
            return super().parse_args(ctx, args)
