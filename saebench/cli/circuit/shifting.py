"""What `saebench circuit shift` does once its names are known: rank features, or ablate those that were chosen."""

from pathlib import Path

from rich.table import Column, Table

from saebench.circuits.sets import find_set
from saebench.circuits.sets_open import open_saes, with_model
from saebench.circuits.shift import choose
from saebench.circuits.shift.files import existing_data, made_data
from saebench.circuits.shift.result import Method, ShiftResult, write_shift
from saebench.circuits.shift.run import Shift
from saebench.circuits.shift.sheet import examples_of, write_sheet
from saebench.cli.progress import console, track
from saebench.errors import UserError
from store import Annotations
from store.workspace import check_id


def shift(
    workspace: Path, data: str, probe_at: str, set_id: str | None, listed: str | None, features: Path | None,
    auto: bool, ranked_out: Path | None, top: int, method: Method, seed: int, shift_id: str | None,
) -> None:  # fmt: skip
    """Rank features into a sheet, and ablate those of a list, of a sheet, or those that a rule chooses.

    Raises:
        UserError: what does not fit together, as far as possible before the model is opened.
        StoreError: an id that cannot be used.
    """
    chosen = find_set(workspace, set_id)
    examples = existing_data(workspace, data)
    opened_saes, sha256s = open_saes(workspace, chosen)
    known = choose.Known.of(chosen.id, chosen.saes, opened_saes, probe_at)
    if listed is not None:
        by, picks = f"list-{listed}", choose.from_list(workspace, listed, known)
    elif features is not None:
        by, picks = f"file-{features.stem}", choose.from_file(features, known)
    else:
        by, picks = "auto", []
    name = check_id(shift_id or f"{examples.name if examples else data}.{chosen.id}.{by}")
    opened = with_model(chosen, opened_saes, sha256s)
    run = Shift(
        opened.lm, examples or made_data(workspace, data), opened.saes, chosen.saes, probe_at, method,
        seed=seed, set_id=chosen.id, track=track,
    )  # fmt: skip
    if ranked_out is not None:
        _write_ranked(run, workspace, ranked_out, top)
    if auto:
        picks = run.automatic(top)
        if not picks:
            raise UserError(f"none of the {top} strongest features tells more of the confound than of the label")
    if listed is None and features is None and not auto:
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
