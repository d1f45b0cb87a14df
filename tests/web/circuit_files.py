"""Circuits, a set and a task for the workspace that pages are tested on."""

from pathlib import Path

import hostile
import synthetic
import synthetic_circuit

from saebench.circuits.files import write_circuit
from saebench.circuits.sets import keep_set
from saebench.circuits.tasks import Pair, Task, write_task
from saebench.circuits.tasks.files import task_path


def add_circuits(folder: Path) -> None:
    """A circuit on the synthetic SAE, one that keeps positions, one whose texts are hostile; a set and a task."""
    sites = synthetic_circuit.build().saes
    saes = dict.fromkeys(sites, synthetic.SAE)
    write_circuit(folder, synthetic_circuit.build(saes=saes))
    by_position = {"positions": True, "n_nodes": 400, "n_edges": 1500, "seed": 3}
    write_circuit(folder, synthetic_circuit.build("by-position", saes=saes, **by_position))
    write_circuit(folder, synthetic_circuit.build("hostile", text=hostile.SCRIPT, seed=5))
    keep_set(folder, "demo.all-sites", {"name": "demo", "sha256": "0" * 64}, saes)
    pair = Pair(clean="x = [1, 2", patch="x = (1, 2", answer="]", wrong=")")
    write_task(task_path(folder, "close-bracket"), Task(name="close-bracket", pairs=(pair,)))
