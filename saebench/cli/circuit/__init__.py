"""`saebench circuit …`: sets of SAEs, and the circuits that are found with them."""

import typer

from saebench.cli.circuit import set

app = typer.Typer(help="Train sets of SAEs and find circuits with them.", no_args_is_help=True)
for verb in (set,):
    app.command(verb.__name__.rpartition(".")[2])(verb.command)
