"""`saebench unlearn list`: the unlearning runs of a workspace."""

from rich.table import Table
from rich.text import Text

from saebench.cli.options import DEFAULT_WORKSPACE, WorkspaceDir
from saebench.cli.progress import console
from saebench.errors import UserError
from saebench.interventions.unlearning import read_result, result_ids
from saebench.wording import treated


def command(workspace: WorkspaceDir = DEFAULT_WORKSPACE) -> None:
    """List unlearning runs: what was to be forgotten, how, and what came of it."""
    ids = result_ids(workspace)
    if not ids:
        console.print(f"nothing is unlearned in {workspace} yet; begin with: saebench unlearn run", markup=False)
        return
    table = Table("run", "forget", "treatment", "forget right", "controls right", box=None)
    table.columns[0].no_wrap = True  # an id is there to be typed
    damaged = []
    for result_id in ids:
        try:
            found = read_result(workspace, result_id)
        except UserError as error:
            damaged.append(str(error))
            continue
        picked = found.picked
        shares = (f"{picked.scores.forget.value:.1%}", f"{picked.scores.controls.value:.1%}")
        picked_in_words = treated(picked.treatment, picked.strength)
        table.add_row(*map(Text, (found.id, ", ".join(found.config.forget), picked_in_words, *shares)))
    if table.row_count:
        console.print(table)
    for problem in damaged:
        console.print(problem, markup=False)
