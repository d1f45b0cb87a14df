"""An edge of a circuit tested by intervening: what it predicts against what happens."""

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

from saebench.circuits.tasks.files import find_task
from saebench.errors import UserError
from web.live.models import CannotOpenError, Live

if TYPE_CHECKING:
    from pathlib import Path

    from saebench.circuits import Circuit
    from saebench.circuits.tasks import Task
    from saebench.lm import LanguageModel
    from saebench.saes import SAE

_TESTING = "saebench.circuits.testing"


class EdgeTest(Protocol):
    """An edge's effect, in the metric's units."""

    @property
    def predicted(self) -> float:
        """As the edge has it."""

    @property
    def measured(self) -> float:
        """As the model does it with the source away."""

    @property
    def n(self) -> int:
        """Over so many examples."""


class EdgeTester(Protocol):
    """What intervenes: `saebench.circuits.testing.test_edge`."""

    def __call__(
        self,
        opened: "Mapping[str, SAE]",
        lm: "LanguageModel",
        task: "Task",
        circuit: "Circuit",
        source_id: str,
        target_id: str,
        n: int,
    ) -> EdgeTest:
        """Run the model with and without the edge's source on `n` examples."""


def live_edge_test(
    live: Live, workspace: "Path", circuit: "Circuit", source: str, target: str, n_examples: int
) -> EdgeTest:
    """Test an edge of a circuit on the first examples of its task.

    Raises:
        UserError: model, SAEs or task cannot be opened or do not fit.
        BusyError: too many wait for the model.
    """
    if not circuit.saes:
        raise UserError(f"circuit {circuit.id} has no SAEs in this workspace, so that nothing can be intervened on")
    tester = edge_tester()
    task = find_task(workspace, circuit.task)
    with live.using(*dict.fromkeys(circuit.saes.values())) as use:
        opened = {hook_point: use.saes[sae].sae for hook_point, sae in circuit.saes.items()}
        return tester(opened, use.lm, task, circuit, source, target, n_examples)


def edge_tester() -> EdgeTester:
    """The function that tests edges. It needs torch, so that it is imported when it is asked for."""
    if find_spec(_TESTING) is None:
        raise CannotOpenError("this installation cannot intervene on edges; install a newer saebench")
    return import_module(_TESTING).test_edge
