"""A circuit that is asked for, as far as that can be looked into without torch, which takes seconds to load: names,
settings, and whether it has been found already.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saebench.circuits.config import CircuitConfig
from saebench.circuits.files import circuit_ids, read_circuit
from saebench.circuits.graph import Circuit
from saebench.circuits.order import in_order
from saebench.circuits.sets import SAESet, find_set
from saebench.circuits.tasks.named import named_task
from saebench.circuits.tasks.pairs import Task
from saebench.circuits.tasks.registry import TASKS
from saebench.errors import UserError
from saebench.files import file_sha256
from store.workspace import check_id


@dataclass(frozen=True)
class Wanted:
    """What is to be found.

    Attributes:
        workspace: where.
        name: of the task, as it was asked for.
        task: the task; None where it has to be made for the model.
        chosen: the set of SAEs.
        config: how.
        id: that the circuit gets.
        replace: whether a circuit of that id may be replaced by another one.
    """

    workspace: Path
    name: str
    task: Task | None
    chosen: SAESet
    config: CircuitConfig
    id: str
    replace: bool = False

    def provenance(self, sha256s: Mapping[str, str]) -> dict[str, Any]:
        """What the circuit is made from beside task and settings; `sha256s` are of the SAEs, by hook point."""
        saes = {point: [self.chosen.saes[point], sha256] for point, sha256 in sha256s.items()}
        return {"set": self.chosen.id, "saes": saes}

    def found(self, task: Task, sha256s: Mapping[str, str]) -> Circuit | None:
        """The circuit of this id, if it is made from just these.

        Raises:
            UserError: it is made from others, and not to be replaced.
        """
        if self.id not in circuit_ids(self.workspace):
            return None
        about = {"task": {"name": task.name, "sha256": task.sha256}, "settings": self.config.model_dump()}
        made_from, known = about | self.provenance(sha256s), read_circuit(self.workspace, self.id)
        if {key: known.provenance.get(key) for key in made_from} == made_from:
            return known
        if not self.replace:
            raise UserError(
                f"workspace {self.workspace} has a circuit {self.id!r} already, made of other settings, SAEs or "
                "examples; choose another --id, or add --replace"
            )
        return None

    def found_already(self) -> Circuit | None:
        """The same before anything is opened; None, too, where the task is not made yet or an SAE is gone.

        Raises:
            UserError: as `found`.
        """
        files = {point: self.workspace / "saes" / sae / "sae.safetensors" for point, sae in self.chosen.saes.items()}
        if self.task is None or self.id not in circuit_ids(self.workspace):
            return None
        if not all(file.exists() for file in files.values()):
            return None
        return self.found(self.task, {point: file_sha256(file) for point, file in files.items()})


def wanted(
    workspace: Path,
    task_name: str,
    config: CircuitConfig,
    set_id: str | None = None,
    circuit_id: str | None = None,
    replace: bool = False,
) -> Wanted:
    """What a command line asks for.

    Args:
        workspace: where.
        task_name: as `named_task` reads it.
        config: how.
        set_id: the set of SAEs; None takes the workspace's only one.
        circuit_id: that the circuit gets; None makes one of task, set and method.
        replace: whether another circuit of that id may be replaced.

    Raises:
        UserError: no such set or task, a site that circuits cannot use, settings that do not fit the task.
        StoreError: an id that cannot be used.
    """
    chosen = find_set(workspace, set_id)
    in_order(chosen.saes)
    task = named_task(workspace, task_name)
    if task is None:
        label, templated, patched = task_name, TASKS[task_name].templated, True
    else:
        label, templated, patched = task.name, task.templated, task.pairs[0].patch is not None
    config.check_fits(label, templated=templated, patched=patched)
    identifier = check_id(circuit_id or f"{label}.{chosen.id}.{config.method}")
    return Wanted(workspace, task_name, task, chosen, config, identifier, replace)
