"""`saebench train`: activations → SAEs."""

from pathlib import Path
from typing import Annotated, Any

import typer

from saebench.cli.failure import report
from saebench.cli.harvest import open_lm
from saebench.cli.options import DEFAULT_WORKSPACE, Overrides, RecipeFile, WorkspaceDir
from saebench.cli.progress import console, track
from saebench.cli.recipe import Recipe, read_recipe
from saebench.corpus import open_corpus
from saebench.errors import UserError
from saebench.files import file_sha256
from saebench.harvest import ShardSource, StreamSource
from saebench.training import BlockSource, SAEConfig, TrainConfig, last_metrics, train_all
from saebench.training.distributed import is_first, launched
from store import Catalog


def sae_id(config: SAEConfig, model: str, hook_point: str) -> str:
    """An id that says what the SAE is: model, hook point, rule, width, sparsity."""
    settings = config.rule.model_dump(exclude_none=True)
    measures = (("k", "k"), ("target_l0", "l0-"), ("l0_weight", "price"), ("l1_weight", "l1-"))
    sparsity = next(f"{short}{settings[key]:g}" for key, short in measures if key in settings)
    name = f"{model}.{hook_point}.{config.rule.name}-{config.n_latents}-{sparsity}"
    return f"{name}-{config.label}" if config.label else name


def run_all(
    config: TrainConfig,
    workspace: Path,
    names: list[str],
    source: BlockSource,
    provenance: dict[str, Any],
    hook_point: str,
) -> list[Path]:
    """Train the SAEs of a config on one hook point into the workspace, or find them done; returns their folders."""
    if len(set(names)) < len(names):
        raise UserError(f"two variants would both be called {_first_double(names)}; give each a `label`")
    catalog = Catalog(workspace)
    folders = [workspace / "saes" / name for name in names]

    def show(index: int, row: dict[str, Any]) -> None:
        which = f"{names[index].removeprefix(names[0].split('.')[0] + '.')} · " if len(names) > 1 else ""
        progress(
            row["tokens"],
            f"{which}loss {row['loss']:.4f} · L0 {row['l0']:.1f} · FVU {row['fvu']:.4f} · "
            f"dead {row['dead']:.1%} · {row['tokens_per_second']:,.0f} tokens/s",
        )

    with track("train", config.tokens) as progress:
        train_all(config, source, folders, show, provenance | {"hook_point": hook_point})
        progress(config.tokens)
    if not is_first():
        return folders
    for index, (name, member) in enumerate(zip(names, config.members(), strict=True)):
        last = last_metrics(folders[index])
        figures: dict[str, Any] = {key: last[key] for key in ("fvu", "l0", "dead", "tokens") if key in last}
        info = {"hook_point": hook_point, "n_latents": member.sae.n_latents, "rule": member.sae.rule.name}
        info["sha256"] = file_sha256(folders[index] / "sae.safetensors")
        catalog.add("sae", name, info | figures)
        console.print(f"sae       {folders[index]}")
    return folders


def _first_double(names: list[str]) -> str:
    return next(name for name in names if names.count(name) > 1)


def _names(config: TrainConfig, model: str, hook_point: str, id: str | None) -> list[str]:
    members = config.members()
    if id is not None and len(members) > 1:
        raise UserError(f"--id names one SAE, but the recipe has {len(members)} variants; give them a `label` instead")
    return [id or sae_id(member.sae, model, hook_point) for member in members]


def check_sites(recipe: Recipe) -> None:
    """Raise UserError for `train.sites` that are meant for no hook point of the recipe."""
    hook_points = recipe.harvest.hook_points
    for pattern in recipe.train.unmatched(hook_points):
        raise UserError(f"train.sites: {pattern!r} fits none of the hook points {', '.join(hook_points)}")


def run(recipe: Recipe, workspace: Path, harvest_folder: Path, id: str | None = None) -> list[Path]:
    """Train the recipe's SAEs for each of its hook points on a harvest; returns their folders."""
    hook_points = recipe.harvest.hook_points
    if id is not None and len(hook_points) > 1:
        raise UserError(f"--id names one SAE, but the recipe has {len(hook_points)} hook points; leave it out")
    check_sites(recipe)
    folders = []
    for hook_point in hook_points:
        config = recipe.train.at(hook_point)
        source = ShardSource(harvest_folder, hook_point, seed=config.seed)
        manifest = source.manifest
        provenance = {
            "model": manifest.provenance["model"],
            "corpus": manifest.provenance["corpus"] | {"sha256": manifest.corpus_sha256},
            "harvest": manifest.id,
        }
        names = _names(config, manifest.id.split(".")[0], hook_point, id)
        folders += run_all(config, workspace, names, source, provenance, hook_point)
    return folders


def run_streaming(recipe: Recipe, workspace: Path, id: str | None = None) -> list[Path]:
    """Train the recipe's SAEs on activations that go straight from the model to the trainer."""
    [hook_point, *more] = recipe.harvest.hook_points
    if more:
        raise UserError("--stream trains on one hook point; give one, or harvest first to train on several")
    check_sites(recipe)
    lm = open_lm(recipe)
    corpus = open_corpus(recipe.corpus, lm.tokenizer, lm.context_length)
    source = StreamSource(lm, corpus, hook_point, batch_contexts=recipe.harvest.batch_contexts)
    provenance = {"model": lm.provenance, "corpus": recipe.corpus.model_dump()}
    config = recipe.train.at(hook_point)
    return run_all(config, workspace, _names(config, lm.name, hook_point, id), source, provenance, hook_point)


def command(
    recipe: RecipeFile = None,
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    harvest: Annotated[str | None, typer.Option(help="Harvest to train on; default: the workspace's only one.")] = None,
    stream: Annotated[bool, typer.Option("--stream", help="Run the model while training; write no shards.")] = False,
    id: Annotated[str | None, typer.Option(help="Name of the SAE; default: <model>.<hook point>.<rule>.")] = None,
    set: Overrides = [],  # noqa: B006
) -> None:
    """Train sparse autoencoders on harvested activations, or on a stream of them.

    With several processes: torchrun --nproc-per-node=N … saebench train … (see docs/distributed.md).
    """
    console.quiet = not is_first()
    with launched(report):
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
