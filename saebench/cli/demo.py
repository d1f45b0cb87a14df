"""`saebench demo`: the whole way on the bundled model and the standard library."""

import time
from typing import Annotated

import typer

from saebench.cli import evaluate, harvest, index, train
from saebench.cli.options import DEFAULT_WORKSPACE, Overrides, WorkspaceDir
from saebench.cli.progress import console
from saebench.cli.recipe import read_recipe
from saebench.cli.trained import open_sae


def command(
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    serve: Annotated[bool, typer.Option("--serve/--no-serve", help="Serve the dashboard at the end.")] = True,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the dashboard.")] = 8000,
    set: Overrides = [],  # noqa: B006
) -> None:
    """Harvest, train, measure, index and serve: real features of a real small model in a few minutes."""
    from web import server  # here, so that the other commands do not load it

    if serve:
        server.bind("127.0.0.1", port).close()  # better told now than after the work
    started = time.monotonic()
    recipe = read_recipe(None, set)
    lm = harvest.open_lm(recipe)
    shards = harvest.run(recipe, workspace, lm)
    for folder in train.run(recipe, workspace, shards):
        trained = open_sae(workspace, folder.name)
        result = evaluate.run(recipe, workspace, lm, trained)
        index.run(recipe, workspace, lm, trained)
        evaluate.show(result, recipe.evaluate.corpus.name)
    console.print(
        f"done in {time.monotonic() - started:.0f} s; browse it with `saebench serve --workspace {workspace}`"
    )
    if serve:
        server.serve(workspace, port=port)
