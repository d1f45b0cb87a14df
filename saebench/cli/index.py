"""`saebench index`: SAE × corpus → feature index."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

import saebench
from saebench.cli.failure import report
from saebench.cli.options import DEFAULT_WORKSPACE, Overrides, RecipeFile, WorkspaceDir
from saebench.cli.progress import console, track
from saebench.cli.recipe import Recipe, read_recipe
from saebench.cli.trained import Trained, model_of, open_sae
from saebench.corpus import open_corpus
from saebench.indexing import build_index
from saebench.lm import LanguageModel
from saebench.training.distributed import everyone, is_first, launched
from store import Catalog, index_id
from store.migrations import latest


def run(recipe: Recipe, workspace: Path, lm: LanguageModel, trained: Trained) -> Path:
    """Index an SAE's features, or find it done; returns the index file."""
    catalog = Catalog(workspace)
    config = recipe.index
    corpus = open_corpus(config.corpus, lm.tokenizer, lm.context_length)
    name = index_id(trained.id, corpus.id)
    provenance = {
        "sae": {"id": trained.id, "sha256": trained.sha256, "hook_point": trained.hook_point},
        "model": lm.provenance,
        "index": config.model_dump(exclude={"memory_gib", "parts"}),
        "seed": config.corpus.seed,
        "schema": latest("index"),
        "code": saebench.__version__,
        "torch": str(torch.__version__),
    }
    ranks = everyone()
    path = ranks.from_first(_finished(catalog, workspace, name, provenance) if ranks.rank == 0 else None)
    if path is None:
        with track("index", corpus.max_contexts) as progress:
            path = build_index(
                config, lm, trained.sae, corpus, trained.hook_point, indexes=workspace / "indexes", index_id=name,
                provenance=provenance, on_progress=lambda n: progress(n, f"{n * corpus.length:,} tokens"), ranks=ranks,
            )  # fmt: skip
        if ranks.rank == 0:
            catalog.put("corpus", corpus.id, {"config": config.corpus.model_dump(), "sha256": corpus.sha256})
            about = {"sae": trained.id, "corpus": corpus.id, "file": path.name, "provenance": provenance}
            catalog.put("index", name, about)
    console.print(f"index     {path}")
    return path


def _finished(catalog: Catalog, workspace: Path, name: str, provenance: dict[str, Any]) -> Path | None:
    """The index file that was made from just this."""
    done = catalog.find("index", name)
    if done is None or done["provenance"] != provenance:
        return None
    path = workspace / "indexes" / str(done["file"])
    return path if path.exists() else None


def command(
    recipe: RecipeFile = None,
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    sae: Annotated[str | None, typer.Option(help="SAE to index; default: the workspace's only one.")] = None,
    set: Overrides = [],  # noqa: B006
) -> None:
    """Look up every feature of an SAE in a corpus and build its feature index.

    With several processes: torchrun --nproc-per-node=N … saebench index … (see docs/distributed.md).
    """
    console.quiet = not is_first()
    with launched(report, timeout=timedelta(days=1)):  # the others wait while the first one sorts
        settings = read_recipe(recipe, set)
        trained = open_sae(workspace, sae)
        run(settings, workspace, model_of(trained), trained)
