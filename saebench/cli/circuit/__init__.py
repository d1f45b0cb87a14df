"""`saebench circuit …`: find circuits, and carry them to and from other tools."""

import typer

from saebench.cli.circuit import export, import_, list_

app = typer.Typer(help="Find circuits, list them, exchange them with other tools.", no_args_is_help=True)
for verb in (export, import_, list_):
    app.command(verb.__name__.rpartition(".")[2].rstrip("_"))(verb.command)
