"""`saebench circuit set`: an SAE for every chosen site of a model, from one harvest, under one name."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from saebench.circuits.order import in_order
from saebench.circuits.sets import SAESet, keep_set
from saebench.cli import evaluate, harvest, index, train
from saebench.cli.options import DEFAULT_WORKSPACE, Overrides, RecipeFile, WorkspaceDir
from saebench.cli.progress import console
from saebench.cli.recipe import Recipe, read_recipe
from saebench.corpus import open_corpus
from saebench.corpus.documents import all_documents
from saebench.errors import UserError
from saebench.evaluation import Reconstruction
from saebench.training.trained import read_trained
from store.workspace import check_id


def run(
    recipe: Recipe, workspace: Path, set_id: str, indexed: bool = False
) -> tuple[SAESet, dict[str, Reconstruction]]:
    """Make a set, each stage only as far as it is not done yet; returns it with its figures by hook point.

    Raises:
        UserError: a recipe that does not give one SAE for each site, or what a stage refuses.
        StoreError: an id that cannot be used.
    """
    # What can be told now is told neither after the model has been opened nor after twenty minutes of work.
    check_id(set_id)
    hook_points = recipe.harvest.hook_points
    if len(hook_points) > len(set(hook_points)):
        raise UserError(f"harvest.hook_points names {_twice(hook_points)} twice; a set has one SAE for each")
    if recipe.train.variants:
        raise UserError("a set has one SAE for each hook point; leave train.variants out, or make a set of each")
    train.check_sites(recipe)
    in_order(hook_points)
    further = [recipe.evaluate.corpus, *([recipe.index.corpus] if indexed else [])]
    for config in (recipe.corpus, *further):
        all_documents(config)  # nothing is read yet; what is not there is refused
    lm = harvest.open_lm(recipe)
    lm.check_hook_points(hook_points)
    for config in further:
        next(open_corpus(config, lm.tokenizer, lm.context_length).blocks(1))

    # A harvest of its own: the corpus's own name may be taken by one of fewer hook points.
    shards = harvest.run(recipe, workspace, lm, f"{lm.name}.{set_id}")
    saes, figures = {}, {}
    for hook_point in hook_points:
        [folder] = train.run(_of_site(recipe, hook_point), workspace, shards)
        trained = read_trained(workspace, folder.name)
        figures[hook_point] = one = evaluate.run(recipe, workspace, lm, trained)
        console.print(f"evaluate  {hook_point} · FVU {one.fvu:.4f} · CE recovered {one.ce_recovered:.2%}")
        if indexed:
            index.run(recipe, workspace, lm, trained)
        saes[hook_point] = trained.id
    return keep_set(workspace, set_id, lm.provenance, saes), figures


def _of_site(recipe: Recipe, hook_point: str) -> Recipe:
    """The recipe of one site alone, so that each is measured as soon as it is trained."""
    alone = recipe.harvest.model_copy(update={"hook_points": [hook_point]})
    return recipe.model_copy(update={"harvest": alone, "train": recipe.train.at(hook_point)})


def _twice(names: list[str]) -> str:
    return next(name for name in names if names.count(name) > 1)


def show(figures: dict[str, Reconstruction]) -> None:
    """Print the figures of every site."""
    table = Table("site", box=None, pad_edge=False)
    for heading in ("FVU", "L0", "dead", "CE recovered", "CE lost"):
        table.add_column(heading, justify="right")
    for hook_point, one in figures.items():
        table.add_row(
            hook_point,
            f"{one.fvu:.4f}",
            f"{one.l0:.1f}",
            f"{one.dead:.2%}",
            f"{one.ce_recovered:.2%}",
            f"{one.ce_sae - one.ce:.4f} of {one.ce_zero - one.ce:.4f}",
        )
    console.print(table)


def command(
    recipe: RecipeFile = None,
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    id: Annotated[str, typer.Option(help="Name of the set.")] = "circuits",
    index: Annotated[bool, typer.Option("--index", help="Index every SAE, too: its features get pages.")] = False,
    set: Overrides = [],  # noqa: B006
) -> None:
    """Train an SAE for every hook point of the recipe from one harvest, measure each and name them as a set.

    Run again, it goes on where it stopped. CE lost: nats per token lost to the SAE, of those lost to zeros.
    """
    made, figures = run(read_recipe(recipe, set), workspace, id, index)
    show(figures)
    console.print(f"set       {made.id} · {len(made.saes)} SAEs")
