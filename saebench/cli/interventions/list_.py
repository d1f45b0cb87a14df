"""`saebench interventions list`: the saved sets of a workspace."""

from rich.table import Table
from rich.text import Text

from saebench.cli.options import DEFAULT_WORKSPACE, WorkspaceDir
from saebench.cli.progress import console
from saebench.errors import UserError
from saebench.interventions import read_interventions
from saebench.interventions.sets import set_ids


def command(workspace: WorkspaceDir = DEFAULT_WORKSPACE) -> None:
    """List saved interventions: how many of which kinds, on which SAEs."""
    ids = set_ids(workspace)
    if not ids:
        how = "saebench steer PROMPT --feature 12 --add 2 --save NAME"
        console.print(f"no interventions are saved in {workspace} yet; save some with: {how}", markup=False)
        return
    table = Table("interventions", "kinds", "features", "SAEs", "notes", box=None)
    table.columns[0].no_wrap = True  # an id is there to be typed
    damaged = []
    for set_id in ids:
        try:
            found = read_interventions(workspace, set_id)
        except UserError as error:
            damaged.append(str(error))
            continue
        features = {(one.sae, feature) for one in found.interventions for feature in one.features}
        kinds = ", ".join(dict.fromkeys(one.label for one in found.interventions))
        saes = ", ".join(dict.fromkeys(used.id for used in found.saes.values()))
        table.add_row(*map(Text, (set_id, kinds, f"{len(features):,}", saes, found.notes)))
    if table.row_count:
        console.print(table)
    for problem in damaged:
        console.print(problem, markup=False)
