"""`saebench circuit …`: from a task to a circuit that is proven; one file per verb."""

import typer

from saebench.cli.circuit import find, shift, tasks

app = typer.Typer(help="Find circuits of features, and say how far each is proven.", no_args_is_help=True)
for verb in (tasks, find, shift):
    app.command(verb.__name__.rpartition(".")[2])(verb.command)
