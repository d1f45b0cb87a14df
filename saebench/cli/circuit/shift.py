"""`saebench circuit shift`: take from a classifier what it should not look at."""

from pathlib import Path
from typing import Annotated, get_args

import typer

from saebench.circuits.order import in_order
from saebench.circuits.sets import find_set
from saebench.circuits.shift.files import existing_data
from saebench.circuits.shift.result import Method
from saebench.cli.options import DEFAULT_WORKSPACE, WorkspaceDir
from saebench.errors import UserError
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
    in_order([*find_set(workspace, saes).saes, probe_at])
    existing_data(workspace, data)
    if id is not None:
        check_id(id)

    from saebench.cli.circuit.shifting import shift  # torch takes seconds: a misspelt name need not wait for it

    shift(workspace, data, probe_at, saes, list, features, auto, ranked_out, top, method, seed, id)  # type: ignore[arg-type]
