"""`saebench circuit list`: the circuits of a workspace."""

from rich.table import Column, Table
from rich.text import Text

from saebench.circuits.files import circuit_ids, read_circuit
from saebench.cli.options import DEFAULT_WORKSPACE, WorkspaceDir
from saebench.cli.progress import console


def command(workspace: WorkspaceDir = DEFAULT_WORKSPACE) -> None:
    """List circuits: what they explain, how large they are, how faithful, with how many nodes at which threshold."""
    numbers = [Column(name, justify="right") for name in ("nodes", "edges", "faithfulness", "with nodes", "threshold")]
    table = Table(Column("circuit", no_wrap=True), "task", "method", *numbers, box=None)  # an id is there to be typed
    ids = circuit_ids(workspace)
    for circuit_id in ids:
        found = read_circuit(workspace, circuit_id)
        point = found.judged
        proven = ["–"] * 3
        if point is not None:
            proven = [f"{point.faithfulness:.2f}", f"{point.n_nodes:,}", f"{point.threshold:.3g}"]
        row = (found.id, found.task, found.method, f"{len(found.nodes):,}", f"{len(found.edges):,}", *proven)
        table.add_row(*map(Text, row))
    if ids:
        console.print(table)
    else:
        console.print(f"no circuit in {workspace} yet; find one with: saebench circuit find TASK --id ID", markup=False)
