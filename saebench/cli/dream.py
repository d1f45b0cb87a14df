"""`saebench dream`: prompts that maximise a feature."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from saebench.cli.options import DEFAULT_WORKSPACE, Overrides, RecipeFile, WorkspaceDir
from saebench.cli.progress import console, track
from saebench.cli.recipe import read_recipe
from saebench.cli.trained import model_of, open_sae
from saebench.errors import UserError
from saebench.interventions.apply import Hooked
from saebench.interventions.dreaming import DreamConfig, Window, best_windows, dream
from saebench.interventions.dreaming.dream import check_length, made_with
from saebench.lm.tokenizer import context_length, load_tokenizer
from store import Dream, DreamPrompt, FeatureStore, find_dream, write_dream

SHOWN = 12
"""Prompts of a frontier that are printed, spread over it."""
EXAMPLES = 5


def run(
    workspace: Path,
    sae: str | None,
    feature: int,
    config: DreamConfig,
    seed: int = 0,
    corpus: str | None = None,
    quiet: bool = False,
) -> Dream:
    """Dream of a feature into the workspace, or find it dreamt; `quiet`: without a bar."""
    trained = open_sae(workspace, sae)
    if not 0 <= feature < trained.sae.n_latents:
        raise UserError(f"SAE {trained.id} has no feature {feature}; it has 0 to {trained.sae.n_latents - 1}")
    source, windows = corpus_windows(workspace, trained.id, feature, config, corpus)
    name = trained.provenance["model"]["name"]
    if (length := context_length(name)) is not None:
        check_length(config, load_tokenizer(name).bos_token_id is not None, length)
    lm, hooked = model_of(trained), Hooked(trained.sae, trained.hook_point)
    made_from = made_with(lm, hooked, config, seed)
    done = find_dream(workspace, trained.id, feature)
    if done is not None and done.corpus == source and {key: done.provenance.get(key) for key in made_from} == made_from:
        return done
    with track("dream", config.iterations, quiet) as progress:
        found = dream(
            lm, hooked, feature, config, seed, progress,
            sae_id=trained.id, sae_sha256=trained.sha256, corpus=source, windows=windows,
        )  # fmt: skip
    write_dream(workspace, found)
    return found


def corpus_windows(
    workspace: Path, sae: str, feature: int, config: DreamConfig, corpus: str | None
) -> tuple[str | None, list[Window]]:
    """(corpus, strongest examples) of the index on a corpus, or of the only one; nothing without any."""
    with FeatureStore.open(workspace, threads=1) as store:
        if corpus is None and not any(row["sae_id"] == sae for row in store.indexes()):
            return None, []
        found = store.feature(sae, feature, corpus)
        windows = best_windows(found, config.tokens, config.examples)
        return (found.index.meta["corpus_id"] if windows else None), windows


def show(found: Dream, workspace: Path) -> None:
    """Print the frontier, likeliest first, beside the best examples."""
    console.print(f"dream     feature {found.feature} of {found.sae} · {len(found.frontier)} prompts on the frontier")
    table = Table("activation", "nats/token", "text", "", box=None, pad_edge=False)
    for prompt in found.spread(SHOWN):
        table.add_row(*cells(prompt), "" if prompt.survives else "≠ re-tokenised")
    for example in found.examples[:EXAMPLES]:
        table.add_row(*cells(example), f"{found.corpus}, in its context {example.value:.2f}")
    console.print(table)
    if found.gain is not None:
        console.print(f"at the cross-entropy of the best example or less: {found.gain:.2f} times its activation")
    elif found.examples and found.examples[0].activation > 0:
        console.print("no text is as likely as the best example, so that no gain over it can be named")
    console.print(f"look at it with `saebench serve --workspace {workspace}`, on the feature's page")


def cells(prompt: DreamPrompt) -> tuple[str, str, str]:
    """A row's first columns."""
    return f"{prompt.activation:.2f}", f"{prompt.cross_entropy:.2f}", escape(repr(prompt.text))


def command(
    feature: Annotated[int, typer.Option(help="The feature's number.")],
    recipe: RecipeFile = None,
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    sae: Annotated[str | None, typer.Option(help="Its SAE; default: the workspace's only one.")] = None,
    corpus: Annotated[str | None, typer.Option(help="Index whose examples stand beside it; default: its only.")] = None,
    iterations: Annotated[int | None, typer.Option(help="Rounds of the search.")] = None,
    tokens: Annotated[int | None, typer.Option(help="Tokens of a prompt.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of everything drawn.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print all of it as JSON.")] = False,
    set: Overrides = [],  # noqa: B006
) -> None:
    """Search the prompts that activate a feature most, from likely text to unlikely, and keep them."""
    given = {"iterations": iterations, "tokens": tokens}
    overrides = [f"dream.{key}={value}" for key, value in given.items() if value is not None]
    found = run(workspace, sae, feature, read_recipe(recipe, [*set, *overrides]).dream, seed, corpus, as_json)
    if as_json:
        print(json.dumps(asdict(found), indent=1, sort_keys=True))
    else:
        show(found, workspace)
