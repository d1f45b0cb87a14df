"""`saebench circuit list`: the circuits of a workspace."""

from rich.table import Column

from saebench.circuits.files import circuit_ids, read_circuit
from saebench.cli.listing import print_kept
from saebench.cli.options import DEFAULT_WORKSPACE, WorkspaceDir


def command(workspace: WorkspaceDir = DEFAULT_WORKSPACE) -> None:
    """List circuits: what they explain, how large they are, how faithful, with how many nodes at which threshold."""

    def row(circuit_id: str) -> tuple[str, ...]:
        found = read_circuit(workspace, circuit_id)
        point = found.judged
        proven = ["–"] * 3
        if point is not None:
            proven = [f"{point.faithfulness:.2f}", f"{point.n_nodes:,}", f"{point.threshold:.3g}"]
        return found.id, found.task, found.method, f"{len(found.nodes):,}", f"{len(found.edges):,}", *proven

    numbers = [Column(name, justify="right") for name in ("nodes", "edges", "faithfulness", "with nodes", "threshold")]
    nothing = f"no circuit in {workspace} yet; find one with: saebench circuit find TASK --id ID"
    print_kept(("circuit", "task", "method", *numbers), circuit_ids(workspace), row, nothing)
