"""`saebench circuit …`: from SAEs and a task to a circuit that is proven, and on to other tools; one file per verb."""

import typer

from saebench.cli.circuit import delete, export, find, heads, import_, list_, set, shift, tasks

app = typer.Typer(help="Find circuits of features, prove them, exchange them with other tools.", no_args_is_help=True)
for verb in (set, tasks, find, heads, shift, list_, export, import_, delete):
    app.command(verb.__name__.rpartition(".")[2].rstrip("_"))(verb.command)
