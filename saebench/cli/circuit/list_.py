"""`saebench circuit list`: the circuits of a workspace."""

from rich.table import Table
from rich.text import Text

from saebench.circuits.files import circuit_ids, read_circuit
from saebench.cli.options import DEFAULT_WORKSPACE, WorkspaceDir
from saebench.cli.progress import console


def command(workspace: WorkspaceDir = DEFAULT_WORKSPACE) -> None:
    """List circuits: what they explain, how large they are, how faithful."""
    table = Table("circuit", "task", "method", "nodes", "edges", "faithfulness", box=None)
    table.columns[0].no_wrap = True  # an id is there to be typed
    ids = circuit_ids(workspace)
    for circuit_id in ids:
        found = read_circuit(workspace, circuit_id)
        faithfulness = found.faithfulness
        shown = "–" if faithfulness is None else f"{faithfulness:.2f}"
        row = (found.id, found.task, found.method, f"{len(found.nodes):,}", f"{len(found.edges):,}", shown)
        table.add_row(*map(Text, row))
    if ids:
        console.print(table)
    else:
        console.print(f"no circuit in {workspace} yet; find one with: saebench circuit find TASK --id ID", markup=False)
