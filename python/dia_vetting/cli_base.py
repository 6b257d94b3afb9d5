"""What the commands of ``dia-vetting`` share."""

from __future__ import annotations

__all__ = ["Command"]

from typing import Any

import click

from .bad_input import BadInputError


class Command(click.Command):
    """A command whose bad input ends in one line and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command (see `click.Command`)."""
        try:
            return super().invoke(ctx)
        except BadInputError as error:
            raise click.ClickException(str(error)) from error
