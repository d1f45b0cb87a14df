"""`saebench circuit import`: an attribution graph of another tool as a circuit of the workspace."""

from pathlib import Path
from typing import Annotated

import typer

from saebench.circuits.exchange import import_circuit, read_graph
from saebench.circuits.files import circuit_path, write_circuit
from saebench.cli.options import DEFAULT_WORKSPACE, WorkspaceDir
from saebench.cli.progress import console
from saebench.errors import UserError


def command(
    file: Annotated[Path, typer.Argument(help="An attribution-graph JSON, as circuit-tracer or Neuronpedia write it.")],
    id: Annotated[str, typer.Option(help="Id that the circuit gets.")],
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a circuit of that id.")] = False,
) -> None:
    """Keep an attribution graph as a circuit, with its names, supernodes and pinned nodes."""
    if circuit_path(workspace, id).exists() and not replace:
        raise UserError(f"workspace {workspace} has a circuit {id!r}; choose another --id, or add --replace")
    circuit = import_circuit(read_graph(file), id)
    write_circuit(workspace, circuit)
    console.print(f"circuit   {len(circuit.nodes):,} nodes and {len(circuit.edges):,} edges as {id}", markup=False)
    left_out = circuit.provenance.get("imported", {}).get("links_left_out", 0)
    if left_out:
        console.print(f"note      {left_out:,} links are left out: their ids name two nodes each", markup=False)
