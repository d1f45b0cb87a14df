"""`saebench circuit delete`: take a circuit out of a workspace."""

from typing import Annotated

import typer

from saebench.circuits.files import delete_circuit
from saebench.cli.options import DEFAULT_WORKSPACE, WorkspaceDir
from saebench.cli.progress import console


def command(
    circuit: Annotated[str, typer.Argument(metavar="ID", help="A circuit of the workspace.")],
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
) -> None:
    """Delete a circuit, with its supernodes, for good; its task and its SAEs stay."""
    delete_circuit(workspace, circuit)
    console.print(f"deleted   {circuit}", markup=False)
