"""`saebench unlearn …`: take a topic from a model, and see the price; one file per verb."""

import typer

from saebench.cli.unlearn import delete, known, list_, questions, run

app = typer.Typer(help="Make questions on a topic, unlearn it, see the price.", no_args_is_help=True)
for verb in (run, questions, known, list_, delete):
    app.command(verb.__name__.rpartition(".")[2].rstrip("_"))(verb.command)
