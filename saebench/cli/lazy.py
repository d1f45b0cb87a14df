"""Commands whose code is loaded when they are run: torch takes seconds, for which `--help` need not wait."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup


class Verb(NamedTuple):
    """A command, or a group of commands, that is not loaded yet."""

    module: str
    """Within its group's package; has `command`, a function, or `app`, a group."""
    help: str
    """The first line of its help."""


def group(package: str, about: str, verbs: Mapping[str, Verb]) -> typer.Typer:
    """A group of commands of a package; `about` is its help."""
    return typer.Typer(cls=lazily(package, verbs), help=about, no_args_is_help=True)


def lazily(package: str, verbs: Mapping[str, Verb]) -> type[TyperGroup]:
    """The class of a group with these commands of a package, for `typer.Typer(cls=…)`."""

    class Lazily(TyperGroup):
        """Knows its commands by name and help, and loads the one that is run."""

        def __init__(self, **attributes: Any) -> None:
            super().__init__(**attributes)
            for name, verb in verbs.items():
                self.add_command(TyperCommand(name, help=verb.help))

        def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
            """The command that the arguments begin with, loaded. Raises a usage error for a name that is none."""
            name, _, rest = super().resolve_command(ctx, args)
            return name, name and loaded(package, name, verbs[name]), rest

    return Lazily


def loaded(package: str, name: str, verb: Verb) -> Any:
    """The command itself."""
    module = import_module(f"{package}.{verb.module}")
    if app := getattr(module, "app", None):
        return typer.main.get_group(app)
    alone = typer.Typer(add_completion=False)
    alone.command(name)(module.command)
    return typer.main.get_command(alone)
