"""`saebench interventions …`: the sets that `saebench steer --save` and unlearning runs keep; one file per verb."""

import typer

from saebench.cli.interventions import delete, list_, show

app = typer.Typer(help="List, show and delete saved interventions.", no_args_is_help=True)
for verb in (list_, show, delete):
    app.command(verb.__name__.rpartition(".")[2].rstrip("_"))(verb.command)
