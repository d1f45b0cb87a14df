"""`saebench evaluate`: how good an SAE is on held-out text."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from saebench.cli.options import DEFAULT_WORKSPACE, Overrides, RecipeFile, WorkspaceDir
from saebench.cli.progress import console, track
from saebench.cli.recipe import Recipe, read_recipe
from saebench.cli.trained import Trained, model_of, open_sae
from saebench.corpus import open_corpus
from saebench.evaluation import Reconstruction, evaluate_reconstruction
from saebench.files import write_json
from saebench.lm import LanguageModel
from store import Catalog


def run(recipe: Recipe, workspace: Path, lm: LanguageModel, trained: Trained) -> Reconstruction:
    """Measure an SAE, keep the figures beside it and in the catalogue."""
    config = recipe.evaluate
    corpus = open_corpus(config.corpus, lm.tokenizer, lm.context_length)
    path = trained.folder / "evaluation.json"
    made_from = {"sae": trained.sha256, "model": lm.provenance, "evaluate": config.model_dump()}
    if path.exists() and (kept := json.loads(path.read_text()))["made_from"] == made_from:
        return Reconstruction(**kept["figures"])
    with track("evaluate", corpus.max_contexts) as progress:
        result = evaluate_reconstruction(
            lm, trained.sae, trained.hook_point, corpus.blocks(config.batch_contexts), progress
        )
    write_json(path, {"made_from": made_from, "figures": asdict(result)})
    figures = {
        "heldout_fvu": result.fvu,
        "ce_recovered": result.ce_recovered,
        "heldout_dead": result.dead,
        "heldout_l0": result.l0,
    }
    Catalog(workspace).add("sae", trained.id, figures)
    return result


def show(result: Reconstruction, corpus: str) -> None:
    """Print the figures."""
    table = Table("held-out figure", "value", "meaning", box=None, pad_edge=False)
    table.add_row("FVU", f"{result.fvu:.4f}", "unexplained share of the activations' variance")
    table.add_row("L0", f"{result.l0:.1f}", "active features per token")
    table.add_row("dead", f"{result.dead:.2%}", f"features that never fire on {result.tokens:,} tokens of {corpus}")
    table.add_row("CE recovered", f"{result.ce_recovered:.2%}", "of the loss between zeros and the model itself")
    table.add_row(
        "CE",
        f"{result.ce:.3f} → {result.ce_sae:.3f}",
        f"nats per token, model → spliced ({result.ce_zero:.3f} with zeros)",
    )
    console.print(table)


def command(
    recipe: RecipeFile = None,
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    sae: Annotated[str | None, typer.Option(help="SAE to measure; default: the workspace's only one.")] = None,
    set: Overrides = [],  # noqa: B006
) -> None:
    """Measure FVU, L0, dead features and recovered cross-entropy on held-out text."""
    settings = read_recipe(recipe, set)
    trained = open_sae(workspace, sae)
    show(run(settings, workspace, model_of(trained), trained), settings.evaluate.corpus.name)
