"""`saebench circuit export`: a circuit as a file for other tools."""

from pathlib import Path
from typing import Annotated

import typer

from saebench.circuits.exchange import export_circuit, graph_json
from saebench.circuits.files import read_circuit
from saebench.circuits.prune import by_influence
from saebench.cli.options import DEFAULT_WORKSPACE, WorkspaceDir
from saebench.cli.progress import console
from saebench.errors import UserError
from saebench.files import atomic_write


def command(
    circuit: Annotated[str, typer.Argument(metavar="ID", help="A circuit of the workspace.")],
    file: Annotated[Path, typer.Argument(help="Where to write the attribution-graph JSON.")],
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    influence: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Keep only the nodes that carry this share of the influence on the output."),
    ] = None,
) -> None:
    """Write a circuit as the attribution-graph JSON that circuit-tracer and Neuronpedia read."""
    found = read_circuit(workspace, circuit)
    if influence is not None:
        try:
            found = by_influence(found, influence)
        except ValueError as error:
            raise UserError(f"circuit {circuit} cannot be pruned: {error}") from None
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(file) as out:
        out.write(graph_json(export_circuit(found)))
    console.print(f"circuit   {len(found.nodes):,} nodes and {len(found.edges):,} edges in {file}", markup=False)
