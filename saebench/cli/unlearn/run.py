"""`saebench unlearn run`: take topics from a model by the features of an SAE, and say what it costs."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from saebench.cli.options import DEFAULT_WORKSPACE, Overrides, RecipeFile, WorkspaceDir
from saebench.cli.progress import console, track
from saebench.cli.recipe import read_recipe
from saebench.cli.trained import model_of, open_sae
from saebench.errors import UserError
from saebench.interventions import make_set, write_interventions
from saebench.interventions.opened import checked, hooked
from saebench.interventions.questions.topics import parse_topic
from saebench.interventions.scores.bootstrap import Estimate
from saebench.interventions.sets import set_ids
from saebench.interventions.unlearning import (
    UnlearnConfig,
    UnlearningResult,
    divide,
    read_result,
    result_ids,
    unlearn,
    write_result,
)
from saebench.interventions.unlearning.result import work_folder
from saebench.interventions.unlearning.selection import listed
from saebench.wording import label, spared, strength_of, treated
from store import FeatureStore
from store.workspace import check_id


def run(
    workspace: Path, sae: str | None, config: UnlearnConfig, result_id: str | None = None, replace: bool = False
) -> UnlearningResult:
    """Unlearn with an SAE of a workspace, or find it done; the interventions are kept under the run's name.

    Raises:
        UserError: what does not fit together, as far as possible before the model is opened; a run or interventions of
            the same id that are others, unless they are to be replaced.
        StoreError: an id that cannot be used.
    """
    trained = open_sae(workspace, sae)
    found_id = check_id(result_id or f"{'-'.join(config.forget)}.{config.choose.method}")
    made_from = {"settings": config.model_dump(mode="json"), "sae_sha256": trained.sha256}
    if config.sets:
        used = checked(workspace, [one for own in config.sets.values() for one in own])
        made_from["set_saes"] = {name: one.sha256 for name, one in used.saes.items()}
    if (done := _done(workspace, found_id, trained.id, made_from, replace)) is not None:
        return done
    if config.choose.list is not None:
        with FeatureStore.open(workspace, threads=1) as store:
            listed(store, config.choose.list, trained.id, trained.sae.n_latents)
    divided = divide(config)
    lm = model_of(trained)

    def keep(result: UnlearningResult) -> None:
        notes = f"unlearning {', '.join(config.forget)}: {treated(result.picked.treatment, result.picked.strength)}"
        write_interventions(workspace, make_set(workspace, found_id, lm, result.picked.interventions, notes=notes))
        write_result(workspace, result)

    work = work_folder(workspace, found_id)
    return unlearn(
        lm, trained.id, hooked(trained, lm), config, divided, workspace, work, found_id, track, made_from, keep
    )


def _done(
    workspace: Path, result_id: str, sae: str, made_from: dict[str, Any], replace: bool
) -> UnlearningResult | None:
    """The run of this name, if it is made of just these. Raises UserError where something else has its name, not to be
    replaced.
    """
    if result_id in result_ids(workspace):
        done = read_result(workspace, result_id)
        if done.sae == sae and {key: done.provenance.get(key) for key in made_from} == made_from:
            return done
        what = f"an unlearning run {result_id!r} already, made of other settings or another SAE"
    elif result_id in set_ids(workspace) and not work_folder(workspace, result_id).exists():
        what = f"interventions {result_id!r} already, which no run saved"
    else:
        return None
    if not replace:
        raise UserError(f"workspace {workspace} has {what}; choose another --id, or add --replace")
    return None


def show(result: UnlearningResult, workspace: Path) -> None:
    """Print what came of it."""
    forget, controls = result.questions
    features = ", ".join(str(one.feature) for one in result.candidates[:8])
    more = "" if len(result.candidates) <= 8 else f" … ({len(result.candidates)})"
    console.print(f"questions {forget:,} to forget, {controls:,} to keep, all answered right before", markup=False)
    console.print(f"features  {features}{more}", markup=False)
    table = Table(box=None, pad_edge=False)
    for title in ("", "strength", "forget right", "controls right", "CE added", "KL"):
        table.add_column(title, no_wrap=True)
    treatments = [curve for curve in result.curves if not curve.baseline]
    baselines = [curve for curve in result.curves if curve.baseline]
    for curve in (*treatments, *baselines):
        if baselines and curve is baselines[0]:
            table.add_row("baselines")
        for number, point in enumerate(curve.points):
            mark = " ←" if curve.name == result.picked.treatment and point.strength == result.picked.strength else ""
            own = point.scores
            table.add_row(
                "" if number else label(curve.name), f"{strength_of(curve.name, point.strength)}{mark}",
                _share(own.forget), _share(own.controls), _nats(own.ce_added), _nats(own.kl),
            )  # fmt: skip
    console.print(table)
    if result.saebench is not None:
        console.print(f"SAEBench  {result.saebench.score:.3f} by its own grid of features and strengths", markup=False)
    picked = result.picked
    bound = f"{result.config.bound:.0%} of the controls{spared(controls, result.config.bound)}"
    why = f"forgets most of those that keep {bound}" if picked.keeps_controls else f"gains most; none keeps {bound}"
    console.print(f"picked    {treated(picked.treatment, picked.strength)} (←): {why}", markup=False)
    console.print(
        f"saved     interventions {result.id}: saebench steer PROMPT --interventions {result.id}", markup=False
    )
    console.print(f"unlearned {result.id}: look at it with `saebench serve --workspace {workspace}`", markup=False)


def _share(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.0%}"
    return f"{estimate.value:.0%} ({estimate.low:.0%}–{estimate.high:.0%})".replace("%–", "–")


def _nats(estimate: Estimate | None) -> str:
    return "–" if estimate is None else f"{estimate.value:.4f}"


def command(
    recipe: RecipeFile = None,
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    sae: Annotated[str | None, typer.Option(help="SAE whose features are treated; default: the only one.")] = None,
    forget: Annotated[
        list[str],
        typer.Option(metavar="NAME[=PATTERN,…]", help="Documents to forget, by name, e.g. tkinter."),
    ] = [],  # noqa: B006
    retain: Annotated[list[str], typer.Option(metavar="NAME[=PATTERN,…]", help="Documents to keep, by name.")] = [],  # noqa: B006
    choose: Annotated[
        str | None, typer.Option(help="Features by frequency, squares, attribution, or list:NAME of the workspace.")
    ] = None,
    id: Annotated[str | None, typer.Option(help="Name of the result; default: <topics>.<method>.")] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace a run or interventions of this id that are others.")
    ] = False,
    set: Overrides = [],  # noqa: B006
) -> None:
    """Unlearn topics: choose features, intervene at several strengths, and score what is forgotten and what breaks."""
    overrides = [*set]
    for side, topics in (("forget", forget), ("retain", retain)):
        if topics:
            named = dict(map(parse_topic, topics))
            overrides.append(f"unlearn.{side}={ {name: list(patterns) for name, patterns in named.items()} }")
    if choose is not None:
        method, _, name = choose.partition(":")
        overrides.append(f"unlearn.choose.method={method}")
        if name:
            overrides.append(f"unlearn.choose.list={name}")
    show(run(workspace, sae, read_recipe(recipe, overrides).unlearn, id, replace), workspace)
