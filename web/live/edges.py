"""An edge of a circuit tested by intervening: what it predicts against what happens."""

from typing import TYPE_CHECKING

from saebench.circuits.tasks.files import find_task
from saebench.errors import UserError
from web.live.models import Live

if TYPE_CHECKING:
    from pathlib import Path

    from saebench.circuits import Circuit
    from saebench.circuits.testing import EdgeTest


def live_edge_test(
    live: Live, workspace: "Path", circuit: "Circuit", source: str, target: str, n_examples: int
) -> "EdgeTest":
    """Test an edge of a circuit on the first examples of its task.

    Raises:
        UserError: model, SAEs or task cannot be opened or do not fit.
        BusyError: too many wait for the model.
    """
    if not circuit.saes:
        raise UserError(f"circuit {circuit.id} has no SAEs in this workspace, so that nothing can be intervened on")
    task = find_task(workspace, circuit.task)
    from saebench.circuits.testing import cut_edge  # needs torch, which the pages do not

    with live.using(*dict.fromkeys(circuit.saes.values())) as use:
        saes = {hook_point: use.saes[sae].sae for hook_point, sae in circuit.saes.items()}
        return cut_edge(use.lm, saes, task, circuit, source, target, n_examples)
