"""`saebench train`: activations → SAEs."""

from pathlib import Path
from typing import Annotated, Any

import typer

from saebench.cli.harvest import open_lm
from saebench.cli.options import DEFAULT_WORKSPACE, Overrides, RecipeFile, WorkspaceDir
from saebench.cli.progress import console, track
from saebench.cli.recipe import Recipe, read_recipe
from saebench.corpus import open_corpus
from saebench.errors import UserError
from saebench.harvest import ShardSource, StreamSource
from saebench.training import BlockSource, train
from store import Catalog


def sae_id(recipe: Recipe, model: str, hook_point: str) -> str:
    """An id that says what the SAE is: model, hook point, rule, width, sparsity."""
    sae = recipe.train.sae
    return f"{model}.{hook_point}.{sae.rule.name}-{sae.n_latents}-k{sae.rule.k}"


def run_one(
    recipe: Recipe, workspace: Path, name: str, source: BlockSource, provenance: dict[str, Any], hook_point: str
) -> Path:
    """Train one SAE into the workspace, or find it done; returns its folder."""
    catalog = Catalog(workspace)
    folder = workspace / "saes" / name
    last: dict[str, Any] = {}

    def show(row: dict[str, Any]) -> None:
        last.update(row)
        progress(
            row["tokens"],
            f"loss {row['loss']:.4f} · L0 {row['l0']:.1f} · FVU {row['fvu']:.4f} · "
            f"dead {row['dead']:.1%} · {row['tokens_per_second']:,.0f} tokens/s",
        )

    with track("train", recipe.train.tokens) as progress:
        train(recipe.train, source, folder, show, provenance | {"hook_point": hook_point})
        progress(recipe.train.tokens)
    figures: dict[str, Any] = {key: last[key] for key in ("fvu", "l0", "dead", "tokens") if key in last}
    sae = recipe.train.sae
    info: dict[str, Any] = {"hook_point": hook_point, "n_latents": sae.n_latents, "rule": sae.rule.name, **figures}
    catalog.add("sae", name, info)
    console.print(f"sae       {folder}")
    return folder


def run(recipe: Recipe, workspace: Path, harvest_folder: Path, id: str | None = None) -> list[Path]:
    """Train one SAE for each hook point of the recipe on a harvest; returns their folders."""
    hook_points = recipe.harvest.hook_points
    if id is not None and len(hook_points) > 1:
        raise UserError(f"--id names one SAE, but the recipe has {len(hook_points)} hook points; leave it out")
    folders = []
    for hook_point in hook_points:
        source = ShardSource(harvest_folder, hook_point, seed=recipe.train.seed)
        manifest = source.manifest
        provenance = {
            "model": manifest.provenance["model"],
            "corpus": manifest.provenance["corpus"] | {"sha256": manifest.corpus_sha256},
            "harvest": manifest.id,
        }
        name = id or sae_id(recipe, manifest.id.split(".")[0], hook_point)
        folders.append(run_one(recipe, workspace, name, source, provenance, hook_point))
    return folders


def run_streaming(recipe: Recipe, workspace: Path, id: str | None = None) -> Path:
    """Train one SAE on activations that go straight from the model to the trainer."""
    [hook_point, *more] = recipe.harvest.hook_points
    if more:
        raise UserError("--stream trains one SAE; give one hook point, or harvest first to train several")
    lm = open_lm(recipe)
    corpus = open_corpus(recipe.corpus, lm.tokenizer, lm.context_length)
    source = StreamSource(lm, corpus, hook_point, batch_contexts=recipe.harvest.batch_contexts)
    provenance = {"model": lm.provenance, "corpus": recipe.corpus.model_dump()}
    return run_one(recipe, workspace, id or sae_id(recipe, lm.name, hook_point), source, provenance, hook_point)


def command(
    recipe: RecipeFile = None,
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    harvest: Annotated[str | None, typer.Option(help="Harvest to train on; default: the workspace's only one.")] = None,
    stream: Annotated[bool, typer.Option("--stream", help="Run the model while training; write no shards.")] = False,
    id: Annotated[str | None, typer.Option(help="Name of the SAE; default: <model>.<hook point>.<rule>.")] = None,
    set: Overrides = [],  # noqa: B006
) -> None:
    """Train sparse autoencoders on harvested activations, or on a stream of them."""
    settings = read_recipe(recipe, set)
    if stream:
        run_streaming(settings, workspace, id)
    else:
        run(settings, workspace, workspace / "harvests" / (harvest or only_harvest(workspace)), id)


def only_harvest(workspace: Path) -> str:
    """The id of the workspace's single harvest.

    Raises:
        UserError: there is none, or more than one.
    """
    found = sorted(path.parent.name for path in (workspace / "harvests").glob("*/manifest.json"))
    if len(found) != 1:
        raise UserError(
            f"workspace {workspace} has no harvest; run `saebench harvest`, or train with --stream"
            if not found
            else f"workspace {workspace} has several harvests ({', '.join(found)}); choose one with --harvest"
        )
    return found[0]
