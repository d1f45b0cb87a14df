"""`saebench …`: thin commands, one file per verb."""

import os
import sys
from typing import Annotated

# Read once, when torch loads: threads that wait for each other sleep instead of spinning, which on a machine that is
# also doing something else makes small products several times faster.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

from saebench.memory import keep_freed_memory

keep_freed_memory()

import typer

import saebench
from saebench.cli import (
    circuit,
    compare,
    convert,
    demo,
    describe,
    dream,
    evaluate,
    explain,
    harvest,
    index,
    interventions,
    map,
    serve,
    steer,
    store,
    train,
    unlearn,
)
from saebench.cli.failure import report
from saebench.errors import UserError
from saebench.job import end_with_parent
from store import StoreError

app = typer.Typer(
    help="Harvest activations, train sparse autoencoders, index and browse their features.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for verb in (harvest, train, evaluate, index, map, compare, explain, dream, steer, serve, demo, convert):
    app.command(verb.__name__.rpartition(".")[2])(verb.command)
app.command("recipe")(describe.command)
app.add_typer(circuit.app, name="circuit")
app.add_typer(store.app, name="store")
app.add_typer(unlearn.app, name="unlearn")
app.add_typer(interventions.app, name="interventions")


def _version(asked: bool) -> None:
    if asked:
        print(saebench.__version__)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show version.")] = False,
) -> None:
    """Options before any verb."""


def main() -> None:
    """Entry point: errors that the user can put right are one line on stderr and exit code 1."""
    end_with_parent()
    try:
        app()
    except (UserError, StoreError) as error:
        report(str(error))
        sys.exit(1)
    except KeyboardInterrupt:
        report("interrupted; run the same command again to continue")
        sys.exit(130)
