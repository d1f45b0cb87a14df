"""`saebench unlearn delete`: take an unlearning run out of a workspace."""

from typing import Annotated

import typer

from saebench.cli.options import DEFAULT_WORKSPACE, WorkspaceDir
from saebench.cli.progress import console
from saebench.errors import UserError
from saebench.interventions.sets import set_ids
from saebench.interventions.unlearning import delete_result, result_ids
from saebench.interventions.unlearning.result import work_folder


def command(
    run: Annotated[str, typer.Argument(metavar="ID", help="An unlearning run of the workspace.")],
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
) -> None:
    """Delete an unlearning run for good; the interventions that it saved stay."""
    if run not in result_ids(workspace) and work_folder(workspace, run).exists():
        raise UserError(
            f"unlearning run {run!r} is not finished; run it again to go on, or remove what it has done so far with "
            "`saebench store gc --yes`"
        )
    delete_result(workspace, run)
    console.print(f"deleted   {run}", markup=False)
    if run in set_ids(workspace):
        console.print(f"its interventions stay: `saebench interventions delete {run}` deletes them", markup=False)
