"""`saebench circuit shift`: take from a classifier what it should not look at."""

from pathlib import Path
from typing import Annotated, get_args

import typer
from rich.table import Column, Table

from saebench.circuits.sets import find_set
from saebench.circuits.sets_open import open_saes, with_model
from saebench.circuits.shift import choose
from saebench.circuits.shift.effects import Method
from saebench.circuits.shift.files import existing_data, made_data
from saebench.circuits.shift.result import ShiftResult, write_shift
from saebench.circuits.shift.run import Shift
from saebench.circuits.shift.sheet import examples_of, write_sheet
from saebench.cli.options import DEFAULT_WORKSPACE, WorkspaceDir
from saebench.cli.progress import console, track
from saebench.errors import UserError
from store import Annotations
from store.workspace import check_id


def command(
    data: Annotated[str, typer.Argument(help="A JSONL file of confounded texts; or topic-self, topic-form.")],
    probe_at: Annotated[str, typer.Option(help="Hook point that the classifier reads.")],
    saes: Annotated[str | None, typer.Option(help="SAE set; default: the workspace's only one.")] = None,
    list: Annotated[str | None, typer.Option(help="Ablate the features of this list of the workspace.")] = None,
    features: Annotated[Path | None, typer.Option(help="Ablate the features that this CSV file marks.")] = None,
    auto: Annotated[bool, typer.Option("--auto", help="Ablate by a rule that knows the confound: a baseline.")] = False,
    ranked_out: Annotated[Path | None, typer.Option(help="Write the strongest features here, to be judged.")] = None,
    top: Annotated[int, typer.Option(min=1, help="So many features are ranked.")] = 60,
    method: Annotated[str, typer.Option(help="Effects by attrib (one gradient) or ig (ten on the way).")] = "attrib",
    seed: Annotated[int, typer.Option(min=0, help="Decides on random features and which examples balance.")] = 0,
    id: Annotated[str | None, typer.Option(help="Name of the result; default: <data>.<set>.<who chose>.")] = None,
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
) -> None:
    """Train a classifier on confounded texts, rank features by their effect on it, ablate those judged irrelevant."""
    ways = [list is not None, features is not None, auto]
    if sum(ways) > 1 or not (any(ways) or ranked_out):
        raise UserError("choose features by one of --list, --features and --auto, or rank them first with --ranked-out")
    if method not in get_args(Method):
        raise UserError(f"there is no method {method!r}; there are: {', '.join(get_args(Method))}")
    chosen = find_set(workspace, saes)
    examples = existing_data(workspace, data)
    opened_saes, sha256s = open_saes(workspace, chosen)
    known = choose.Known.of(chosen.id, chosen.saes, opened_saes, probe_at)
    if list is not None:
        by, picks = f"list-{list}", choose.from_list(workspace, list, known)
    elif features is not None:
        by, picks = f"file-{features.stem}", choose.from_file(features, known)
    else:
        by, picks = "auto", []
    name = check_id(id or f"{examples.name if examples else data}.{chosen.id}.{by}")
    opened = with_model(chosen, opened_saes, sha256s)
    run = Shift(
        opened.lm, examples or made_data(workspace, data), opened.saes, chosen.saes, probe_at, method,  # type: ignore[arg-type]
        seed=seed, set_id=chosen.id, track=track,
    )  # fmt: skip
    if ranked_out is not None:
        _write_ranked(run, workspace, ranked_out, top)
    if auto:
        picks = run.automatic(top)
        if not picks:
            raise UserError(f"none of the {top} strongest features tells more of the confound than of the label")
    if not any(ways):
        return
    about = {"saes": {name: [chosen.saes[name], sha] for name, sha in opened.sha256s.items()}}
    found = run.result(name, picks, by, top, about)
    path = write_shift(workspace, found)
    show(found)
    console.print(f"kept      {path}", markup=False)


def _write_ranked(run: Shift, workspace: Path, path: Path, top: int) -> None:
    picks = run.ranked(top)
    with track("texts", len(run.ambiguous.batches)) as done:
        firing = examples_of(run.lm, run.ambiguous.batches, run.sites, picks, done)
    annotations = Annotations(workspace)
    labels = {name: annotations.labels(run.sae_ids[name]) for name in {name for name, _ in picks}}
    names = {pick: labels[pick[0]][pick[1]].text for pick in picks if pick[1] in labels[pick[0]]}
    write_sheet(path, run.lm, run.sites, picks, run.effects, run.data.labels, run.sae_ids, names, firing)
    console.print(f"ranked    {path}: mark features in its first column, then: --features {path}", markup=False)


def show(result: ShiftResult) -> None:
    """Print how the classifier did, in percent."""
    numbers = ("features", "label", "confound", "worst group", "label, retrained", "confound", "worst group")
    table = Table("ablated", *(Column(name, justify="right") for name in numbers), box=None, pad_edge=False)
    for row in result.rows:
        shares = [row.score.label, row.score.confound, row.score.worst]
        if row.retrained is not None:
            shares += [row.retrained.label, row.retrained.confound, row.retrained.worst]
        cells = [f"{share:.1%}" for share in shares]
        table.add_row(row.name, str(row.n_features), *cells, *["–"] * (6 - len(cells)))
    console.print(table)
    n = result.examples
    console.print(
        f"probe at {result.probe_at}, {n['ambiguous']} ambiguous training examples ({n['oracle']} for the oracle), "
        f"{n['test']} balanced test examples; confound: how often the probe says it, 50% is not looking"
    )
