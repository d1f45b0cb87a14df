"""`saebench interventions delete`: take a saved set out of a workspace."""

from typing import Annotated

import typer

from saebench.cli.options import DEFAULT_WORKSPACE, WorkspaceDir
from saebench.cli.progress import console
from saebench.errors import UserError
from saebench.interventions import delete_interventions
from saebench.interventions.sets import set_ids
from saebench.interventions.unlearning import result_ids


def command(
    interventions: Annotated[str, typer.Argument(metavar="ID", help="A set of the workspace.")],
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
) -> None:
    """Delete a set of interventions for good; SAEs and features stay."""
    if interventions in set_ids(workspace) and interventions in result_ids(workspace):
        raise UserError(
            f"interventions {interventions!r} are what the unlearning run of that name found; delete the run first: "
            f"saebench unlearn delete {interventions}"
        )
    delete_interventions(workspace, interventions)
    console.print(f"deleted   {interventions}", markup=False)
