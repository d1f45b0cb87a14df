"""`saebench harvest`: text → activation shards."""

from pathlib import Path
from typing import Annotated

import typer

from saebench.cli.options import DEFAULT_WORKSPACE, Overrides, RecipeFile, WorkspaceDir
from saebench.cli.progress import console, track
from saebench.cli.recipe import Recipe, read_recipe
from saebench.corpus import open_corpus
from saebench.harvest import harvest
from saebench.lm import LanguageModel, load_lm
from store import Catalog


def open_lm(recipe: Recipe) -> LanguageModel:
    """The recipe's language model."""
    return load_lm(**recipe.model.model_dump())


def run(recipe: Recipe, workspace: Path, lm: LanguageModel, harvest_id: str | None = None) -> Path:
    """Harvest into the workspace, or find it done; returns the harvest's folder."""
    catalog = Catalog(workspace)
    corpus = open_corpus(recipe.corpus, lm.tokenizer, lm.context_length)
    name = harvest_id or f"{lm.name}.{corpus.id}"
    folder = workspace / "harvests" / name
    with track("harvest", corpus.max_contexts) as progress:
        manifest = harvest(
            recipe.harvest, lm, corpus, folder, lambda done: progress(done, f"{done * corpus.length:,} tokens")
        )
        progress(manifest.n_contexts)
    catalog.put("corpus", corpus.id, {"config": recipe.corpus.model_dump(), "sha256": manifest.corpus_sha256})
    catalog.put("harvest", name, {"model": lm.name, "corpus": corpus.id, "hook_points": recipe.harvest.hook_points,
                                  "tokens": manifest.n_contexts * corpus.length})  # fmt: skip
    console.print(f"harvest   {folder} · {manifest.n_contexts * corpus.length:,} tokens · {', '.join(manifest.widths)}")
    return folder


def command(
    recipe: RecipeFile = None,
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    id: Annotated[str | None, typer.Option(help="Name of the harvest; default: <model>.<corpus>.")] = None,
    set: Overrides = [],  # noqa: B006 (typer copies it)
) -> None:
    """Run a language model over a corpus and keep the activations of its hook points."""
    settings = read_recipe(recipe, set)
    run(settings, workspace, open_lm(settings), id)
